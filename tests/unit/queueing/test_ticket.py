import pytest

from gateway.errors import (
    ClientGone,
    DeadlineExceeded,
    EngineFault,
    EngineRefused,
    GatewayError,
    StreamBroken,
)
from gateway.queueing.counters import Tally, cost
from gateway.queueing.ticket import Ticket
from gateway.wire.usage import Usage


def a_ticket() -> tuple[Ticket, Tally]:
    tally = Tally(1)
    tally.charge(500)
    return Ticket(tally, 500, 40, 10.0), tally


def test_what_the_engine_counted_is_charged() -> None:
    ticket, tally = a_ticket()
    ticket.settle(Usage(30, 10), 99, None, 14.0)
    assert tally.served == cost(30, 10)


@pytest.mark.parametrize("failure", [None, StreamBroken("x"), ClientGone("x")])
def test_without_its_count_ours_is(failure: GatewayError | None) -> None:
    ticket, tally = a_ticket()
    ticket.settle(None, 7, failure, 14.0)
    assert tally.served == cost(40, 7)


@pytest.mark.parametrize("failure", [EngineFault("x"), EngineRefused("x")])
def test_a_failure_before_anything_was_there_is_free(failure: GatewayError) -> None:
    ticket, tally = a_ticket()
    ticket.settle(None, 0, failure, 14.0)
    assert tally.served == 0


@pytest.mark.parametrize("failure", [ClientGone("x"), DeadlineExceeded("x")])
def test_a_call_that_was_cut_off_is_not(failure: GatewayError) -> None:
    """Else a caller with short deadlines takes the places of all others and never pays."""
    ticket, tally = a_ticket()
    ticket.settle(None, 0, failure, 14.0)
    assert tally.served == 500


def test_it_is_settled_once() -> None:
    ticket, tally = a_ticket()
    ticket.refund()
    ticket.refund()
    ticket.settle(Usage(30, 10), 0, None, 14.0)
    assert tally.served == 0
    ticket, tally = a_ticket()
    ticket.settle(Usage(30, 10), 0, None, 14.0)
    ticket.settle(Usage(30, 10), 0, None, 14.0)
    ticket.refund()
    assert tally.served == cost(30, 10)


def test_how_long_it_took_is_remembered() -> None:
    for failure in (None, DeadlineExceeded("x")):
        ticket, tally = a_ticket()
        ticket.settle(Usage(30, 10), 0, failure, 14.0)
        assert tally.needs_s == 8  # no more than a guess, after one
    ticket, tally = a_ticket()
    ticket.settle(None, 0, EngineFault("x"), 14.0)
    assert tally.needs_s is None
