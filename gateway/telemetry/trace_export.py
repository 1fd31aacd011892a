"""Spans on their way to the collector, on a thread of their own.

Nothing waits for the collector: what it does not take in time is given up and counted, and what
waits for it is bounded in bytes. Spans are finished bytes when they come here, so the thread
does nothing but join and send them.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry import otlp
from gateway.telemetry.instruments import Count

log = logging.getLogger(__name__)

MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
MAX_BATCH_BYTES: Final = 512 * 1024
EVERY_S: Final = 1.0
_TRIES: Final = 4
_MAX_PAUSE_S: Final = 30.0
_CLOSE_S: Final = 3.0


class SendFailed(Exception):
    """The collector did not take a batch.

    `reason` is one constant word or two, for logs. `retry_after_s`: when it may take it; None:
    never.
    """

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Sender(Protocol):
    """A way to a collector. Used by one thread alone."""

    def send(self, request: bytes) -> int:
        """Send an `ExportTraceServiceRequest`. How many of its spans were refused.

        Raises SendFailed. Returns within its own deadline.
        """
        ...

    def close(self) -> None: ...


class SpanCounts:
    """What became of spans: taken by the collector, refused or lost, or never sent."""

    def __init__(self, sent: Count, failed: Count, dropped: Count) -> None:
        self.sent = sent
        self.failed = failed
        self.dropped = dropped


class TraceExport:
    """The queue, and the thread that empties it.

    `open_sender` runs on the thread. `envelope` are resource and scope, as bytes of `otlp`.
    """

    def __init__(
        self,
        open_sender: Callable[[], Sender],
        envelope: tuple[bytes, bytes],
        counts: SpanCounts,
        *,
        every_s: float = EVERY_S,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self._open_sender = open_sender
        self._resource, self._scope = envelope
        self._counts = counts
        self._every_s = every_s
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[tuple[bytes, int]] = deque()
        # each is changed by one thread alone: bytes that ever came, and that ever left
        self._came_bytes = 0
        self._left_bytes = 0
        self._is_full_batch = threading.Event()
        self._is_closing = threading.Event()
        self._is_away = False
        self._thread = threading.Thread(target=self._run, name="trace-export", daemon=True)

    def add(self, spans: bytes, count: int) -> None:
        """Take the spans of one call. Never waits."""
        waiting_bytes = self._came_bytes - self._left_bytes
        if waiting_bytes + len(spans) > self._max_waiting_bytes:
            self._counts.dropped.add(count)
            return
        self._came_bytes += len(spans)
        self._waiting.append((spans, count))
        if waiting_bytes > MAX_BATCH_BYTES:
            self._is_full_batch.set()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Send what waits, for a few seconds at most. Blocks: not for the event loop."""
        self._is_closing.set()
        self._is_full_batch.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        try:
            sender = self._open_sender()
        except OSError:  # what waits fills the queue, and the rest is dropped and counted
            self._tell("certificate")
            return
        try:
            while not self._is_closing.is_set():
                self._is_full_batch.wait(self._every_s)
                self._is_full_batch.clear()
                self._empty(sender)
            self._empty(sender)
        finally:
            sender.close()

    def _empty(self, sender: Sender) -> None:
        while self._waiting:
            spans: list[bytes] = []
            size = count = 0
            while self._waiting and size < MAX_BATCH_BYTES:
                piece, number = self._waiting.popleft()
                spans.append(piece)
                size += len(piece)
                count += number
            self._send(sender, otlp.request(self._resource, self._scope, spans), count)
            self._left_bytes += size

    def _send(self, sender: Sender, request: bytes, count: int) -> None:
        for number in range(_TRIES):
            try:
                refused = sender.send(request)
            except SendFailed as failure:
                self._tell(failure.reason)
                after_s = failure.retry_after_s
                is_last = number + 1 == _TRIES or after_s is None or after_s > _MAX_PAUSE_S
                if is_last or self._is_closing.wait(max(after_s or 0.0, 2.0**number)):
                    break
            else:
                self._tell(None)
                self._counts.sent.add(count - refused)
                self._counts.failed.add(refused)
                return
        self._counts.failed.add(count)

    def _tell(self, reason: str | None) -> None:
        """Log once that the collector is away, and once that it is back."""
        if (reason is not None) is self._is_away:
            return
        self._is_away = reason is not None
        if reason is None:
            log.info(F.TRACE_EXPORT, extra={F.STATE: "ok"})
        else:
            log.warning(F.TRACE_EXPORT, extra={F.STATE: "away", F.REASON: reason})
