from gateway.queueing.counters import Tally, cost
from gateway.queueing.flow import Flow
from gateway.queueing.ticket import Ticket
from gateway.wire.usage import Usage


def a_ticket() -> tuple[Ticket, Tally, Flow]:
    tally, flow = Tally(1), Flow()
    tally.charge(500)
    return Ticket(tally, flow, 500, 40, 10.0), tally, flow


def test_what_the_engine_counted_is_charged() -> None:
    ticket, tally, flow = a_ticket()
    ticket.settle(Usage(30, 10), 99, 14.0, is_whole=True)
    assert tally.served == cost(30, 10)
    assert flow.usual_s == 4


def test_without_its_count_ours_is() -> None:
    ticket, tally, _ = a_ticket()
    ticket.settle(None, 7, 14.0, is_whole=False)
    assert tally.served == cost(40, 7)


def test_a_failure_before_anything_was_there_is_free() -> None:
    ticket, tally, flow = a_ticket()
    ticket.settle(None, 0, 14.0, is_whole=False)
    assert (tally.served, flow.usual_s) == (0, 0)


def test_it_is_settled_once() -> None:
    ticket, tally, _ = a_ticket()
    ticket.refund()
    ticket.refund()
    ticket.settle(Usage(30, 10), 0, 14.0, is_whole=True)
    assert tally.served == 0
    ticket, tally, _ = a_ticket()
    ticket.settle(Usage(30, 10), 0, 14.0, is_whole=True)
    ticket.settle(Usage(30, 10), 0, 14.0, is_whole=True)
    ticket.refund()
    assert tally.served == cost(30, 10)
