import json
from typing import Any

import pytest

from gateway.errors import ClientGone, EngineFault, GatewayError, InvalidRequest, NoReplica
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.proxy.account import Account, Bookkeeper, Hedge
from gateway.proxy.call import Call
from gateway.proxy.dialect import OpenAiDialect
from gateway.telemetry.instruments import Count
from gateway.telemetry.logs import RequestLog
from gateway.telemetry.metrics import Metrics
from gateway.wire.ask import Operation
from gateway.wire.usage import Usage
from tests.support.configs import a_catalog
from tests.support.counted import counted
from tests.support.fake_clock import FakeClock

ROUTE = ("m", "m", "m.test:8000")


class Books:
    """A bookkeeper, and what it has written."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.lines = bytearray()
        fleet = FleetState(a_catalog())
        self.keeper = Bookkeeper(self.metrics, RequestLog(self), self.clock, fleet)
        (self.state,) = fleet

    def write(self, line: bytearray, /) -> None:
        self.lines += line

    def open(self, **more: Any) -> Account:
        known: dict[str, Any] = {
            "request_id": "id",
            "received_s": self.clock.now_s(),
            "body": b"{}",
        }
        return self.keeper.open(Call(Operation.CHAT, OpenAiDialect(), **(known | more)))

    @property
    def line(self) -> dict[str, Any]:
        (line,) = (json.loads(line) for line in self.lines.splitlines())
        assert isinstance(line, dict)
        return line

    def counted(self, outcome: str) -> float:
        return counted(self.metrics, "gateway_requests", "outcome")[outcome]


def test_an_account_that_is_closed_twice_counts_once() -> None:
    books = Books()
    account = books.open()
    assert books.keeper.open_calls == 1
    account.close()
    account.close()
    assert books.keeper.open_calls == 0
    assert books.counted("ok") == 1
    assert books.line["outcome"] == "ok"


def test_a_lease_is_held_for_a_try_and_released_once() -> None:
    books = Books()
    account = books.open()
    account.attempt(Lease(books.state))
    assert books.state.in_flight == 1
    account.release()
    account.release()
    assert books.state.in_flight == 0
    account.attempt(Lease(books.state))
    account.close()
    assert books.state.in_flight == 0
    assert books.line["attempts"] == 2


def test_where_a_call_went_is_told() -> None:
    books = Books()
    account = books.open()
    account.caller = "team"
    account.attempt(Lease(books.state))
    account.close()
    line = books.line
    assert (line["caller"], line["model"], line["variant"]) == ("team", "m", "m")
    assert line["replica"] == books.state.name
    assert "error_code" not in line


def test_times_are_measured_on_the_gateways_clock() -> None:
    books = Books()
    account = books.open()
    account.stream = True
    books.clock.pass_s(0.25)
    account.first_content_s = books.clock.now_s()
    books.clock.pass_s(0.5)
    account.close()
    assert (books.line["ttft_ms"], books.line["duration_ms"]) == (250.0, 750.0)


@pytest.mark.parametrize(
    ("failure", "outcome", "status"),
    [
        (None, "ok", 200),
        (InvalidRequest("x"), "client_error", 400),
        (ClientGone("x"), "client_gone", 499),
        (EngineFault("x"), "engine_error", 502),
        (NoReplica("x"), "gateway_error", 503),
    ],
)
def test_an_outcome_says_whose_fault_it_was(
    failure: GatewayError | None, outcome: str, status: int
) -> None:
    books = Books()
    account = books.open()
    account.failure = failure
    account.close()
    assert books.counted(outcome) == 1
    assert (books.line["outcome"], books.line["status"]) == (outcome, status)
    if failure is not None:
        assert (books.line["error_cause"], books.line["error_source"]) == ("x", failure.source)


def _tokens(books: Books) -> tuple[Count, Count, Count]:
    cells = books.metrics.route(("m", "m", books.state.name))
    return cells.input, cells.output, cells.cached


def test_tokens_are_those_that_the_engine_counted() -> None:
    books = Books()
    account = books.open()
    account.attempt(Lease(books.state))
    account.output_tokens = 99
    account.usage = Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2)
    account.close()
    assert [cell.value for cell in _tokens(books)] == [7, 3, 2]
    line = books.line
    assert (line["prompt_tokens"], line["completion_tokens"], line["cached_tokens"]) == (7, 3, 2)


@pytest.mark.parametrize("events", [0, 5])
def test_without_a_count_the_events_stand_in_for_tokens(events: int) -> None:
    books = Books()
    account = books.open()
    account.attempt(Lease(books.state))
    account.output_tokens = events
    account.close()
    assert [cell.value for cell in _tokens(books)] == [0, events, 0]
    assert books.line.get("completion_tokens") == (events or None)
    assert "prompt_tokens" not in books.line


def test_a_try_that_failed_is_counted_by_its_code() -> None:
    books = Books()
    account = books.open()
    account.attempt(Lease(books.state))
    books.keeper.failed_attempt(account, EngineFault("x"))
    nameless = GatewayError("x")
    books.keeper.failed_attempt(account, nameless)
    assert counted(books.metrics, "gateway_attempts", "outcome") == {"engine_error": 1, "error": 1}


def test_what_the_client_said_of_itself_is_kept() -> None:
    books = Books()
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    books.open(traceparent=trace, sdk_retry=b"2").close()
    assert books.line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert books.line["sdk_retry"] == "2"


def test_the_fleet_learns_how_every_try_ended() -> None:
    books = Books()
    account = books.open()
    for failure in (EngineFault("x"), InvalidRequest("x")):
        account.attempt(Lease(books.state))
        account.release()
        books.keeper.failed_attempt(account, failure)
    assert (books.state.record.failures, books.state.record.failed) == (1, 1)
    account.attempt(Lease(books.state))
    account.close()
    assert (books.state.record.failures, books.state.record.succeeded) == (0, 1)


def test_a_call_that_failed_for_itself_says_nothing_of_the_last_replica() -> None:
    books = Books()
    account = books.open()
    account.attempt(Lease(books.state))
    account.failure = ClientGone("x")
    account.close()
    assert books.state.record.attempts == 0


@pytest.mark.parametrize(("failure", "failures"), [(EngineFault("x"), 1), (None, 0)])
def test_the_loser_of_two_tries_counts_against_its_replica_only_where_it_failed(
    failure: GatewayError | None, failures: int
) -> None:
    books = Books()
    account, loser = books.open(), books.open()
    account.attempt(Lease(books.state))
    loser.tried = Lease(books.state)
    loser.route = account.route
    books.keeper.hedged(account, Hedge.WON, loser, failure)
    assert books.state.record.failures == failures


def test_whose_answer_is_adopted_has_answered() -> None:
    books = Books()
    account, winner = books.open(), books.open()
    account.attempt(Lease(books.state))
    winner.tried = Lease(books.state)
    account.adopt(winner)
    assert account.tried is winner.tried


def test_the_wait_for_engines_that_were_away_is_no_part_of_how_engines_serve() -> None:
    books = Books()
    account = books.open()
    account.queued_s = account.held_s = 40.0
    books.keeper.waited(account, books.state.variant, "interactive")
    account.attempt(Lease(books.state))
    account.stream = True
    books.clock.pass_s(40.5)
    account.first_content_s = books.clock.now_s()
    account.close()
    text = books.metrics.render().decode()
    assert "gateway_queue_wait_seconds_count" not in text
    assert 'gateway_wake_wait_seconds_sum{model="m",variant="m"} 40.0' in text
    (first,) = [line for line in text.splitlines() if "first_token_seconds_sum{" in line]
    assert float(first.rpartition(" ")[2]) == pytest.approx(0.5)
    assert books.line["ttft_ms"] == 40_500
    assert books.line["queue_ms"] == 40_000


def test_a_wait_for_a_busy_engine_after_that_counts_as_one() -> None:
    books = Books()
    account = books.open()
    account.queued_s, account.held_s = 42.0, 40.0
    books.keeper.waited(account, books.state.variant, "interactive")
    account.close()
    text = books.metrics.render().decode()
    assert 'gateway_queue_wait_seconds_sum{model="m",priority="interactive",variant="m"} 2.0' in (
        text
    )
