from typing import Any

import pytest

from gateway.engines import ENGINES
from gateway.engines.kept import Kept, Why
from gateway.engines.leg import Leg, Way
from gateway.errors import (
    ClientGone,
    DeadlineExceeded,
    Draining,
    EngineFault,
    EngineRefused,
    GatewayError,
    StreamBroken,
    StreamStalled,
)
from gateway.proxy.resume import MAX_RESUMES, decide
from gateway.wire.ask import Operation, read_ask

ASK = read_ask(b'{"model":"m","messages":[],"stream":true}', Operation.CHAT)


def an_answer() -> Kept:
    kept = Kept()
    kept.add(b"so far", b"")
    return kept


def decided(failure: GatewayError, **more: Any) -> Leg | Why:
    known: dict[str, Any] = {"kept": an_answer(), "resumes": 0, "avoided": ()} | more
    return decide(ASK, ENGINES["llamacpp"], failure=failure, **known)


@pytest.mark.parametrize("failure", [StreamBroken("x"), StreamStalled("x"), EngineFault("x")])
def test_what_an_engine_broke_goes_on(failure: GatewayError) -> None:
    leg = decided(failure)
    assert isinstance(leg, Leg)
    assert leg.way is Way.TEXT


@pytest.mark.parametrize(
    "failure", [ClientGone("x"), DeadlineExceeded("x"), Draining("x"), EngineRefused("x")]
)
def test_what_another_engine_cannot_cure_does_not(failure: GatewayError) -> None:
    assert decided(failure) is Why.FAILURE


def test_it_goes_on_twice_at_most() -> None:
    assert isinstance(decided(StreamBroken("x"), resumes=MAX_RESUMES - 1), Leg)
    assert decided(StreamBroken("x"), resumes=MAX_RESUMES) is Why.SPENT


def test_what_was_given_up_does_not_go_on() -> None:
    kept = an_answer()
    kept.give_up(Why.TOOLS)
    assert decided(StreamBroken("x"), kept=kept) is Why.TOOLS


def test_a_way_that_failed_is_not_tried_again() -> None:
    assert decided(StreamBroken("x"), avoided=[Way.TEXT]) is Why.NO_WAY
