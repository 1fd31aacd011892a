import logging
import threading
from collections.abc import Callable

import pytest

from gateway.telemetry.metrics import Metrics
from gateway.telemetry.trace_export import SendFailed, SpanCounts, TraceExport
from tests.support.counted import counted


class FakeSender:
    """Takes requests, after the failures it was given. `gate`: waits before each."""

    def __init__(self, *failures: SendFailed, refused: int = 0) -> None:
        self.sent: list[bytes] = []
        self.tries = 0
        self.is_closed = False
        self.gate = threading.Event()
        self.gate.set()
        self._failures = list(failures)
        self._refused = refused

    def send(self, request: bytes) -> int:
        assert self.gate.wait(10)
        self.tries += 1
        if self._failures:
            raise self._failures.pop(0)
        self.sent.append(request)
        return self._refused

    def close(self) -> None:
        self.is_closed = True


class Bench:
    def __init__(self, open_sender: Callable[[], FakeSender], max_bytes: int = 10_000) -> None:
        self.metrics = Metrics()
        cells = (self.metrics.spans.cell(one) for one in ("sent", "failed", "dropped"))
        self.export = TraceExport(
            open_sender, (b"", b""), SpanCounts(*cells), every_s=0.01, max_waiting_bytes=max_bytes
        )

    @property
    def counted(self) -> dict[str, float]:
        return counted(self.metrics, "gateway_trace_spans", "result")


def test_what_was_added_is_sent_together_and_counted() -> None:
    sender = FakeSender()
    bench = Bench(lambda: sender)
    bench.export.add(b"one", 2)
    bench.export.add(b"two", 3)
    bench.export.start()
    bench.export.close()
    (request,) = sender.sent
    assert b"onetwo" in request
    assert bench.counted == {"sent": 5}
    assert sender.is_closed


def test_what_the_collector_did_not_take_has_failed() -> None:
    sender = FakeSender(refused=1)
    bench = Bench(lambda: sender)
    bench.export.add(b"x", 3)
    bench.export.start()
    bench.export.close()
    assert bench.counted == {"sent": 2, "failed": 1}


def test_a_failure_for_good_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sender = FakeSender(SendFailed("status 400"))
    bench = Bench(lambda: sender)
    bench.export.add(b"x", 3)
    bench.export.start()
    bench.export.close()
    assert (sender.tries, sender.sent) == (1, [])
    assert bench.counted == {"failed": 3}
    (record,) = (one for one in caplog.records if one.message == "trace_export_state")
    assert (record.__dict__["state"], record.__dict__["reason"]) == ("away", "status 400")


def test_too_much_is_dropped_and_never_waits() -> None:
    sender = FakeSender()
    sender.gate.clear()
    bench = Bench(lambda: sender, max_bytes=100)
    bench.export.start()
    for _ in range(50):
        bench.export.add(b"x" * 10, 1)
    assert bench.counted == {"dropped": 40}
    sender.gate.set()
    bench.export.close()
    assert bench.counted == {"sent": 10, "dropped": 40}
    bench.export.add(b"x" * 10, 1)  # there is room again
    assert bench.counted["dropped"] == 40


def test_closing_does_not_wait_for_a_collector_that_is_away() -> None:
    sender = FakeSender(*[SendFailed("unreachable", 0.0)] * 10)
    bench = Bench(lambda: sender)
    bench.export.add(b"x", 1)
    bench.export.start()
    bench.export.close()
    assert bench.counted == {"failed": 1}


def test_a_certificate_that_cannot_be_used_loses_spans_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def no_sender() -> FakeSender:
        raise OSError("no such certificate")

    bench = Bench(no_sender, max_bytes=5)
    bench.export.start()
    bench.export.close()
    bench.export.add(b"xxxx", 1)
    bench.export.add(b"xxxx", 1)
    assert bench.counted == {"dropped": 1}
    assert "trace_export_state" in caplog.text


def test_an_export_that_was_never_started_closes() -> None:
    Bench(FakeSender).export.close()


def test_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.telemetry.trace_export.MAX_BATCH_BYTES", 20)
    sender = FakeSender()
    bench = Bench(lambda: sender)
    for _ in range(10):
        bench.export.add(b"x" * 10, 1)
    bench.export.start()
    bench.export.close()
    assert len(sender.sent) == 5
    assert bench.counted == {"sent": 10}
