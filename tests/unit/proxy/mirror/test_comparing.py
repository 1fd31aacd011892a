import json
from typing import Any

import msgspec
import pytest

from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.proxy.account import Account, Hedge
from gateway.proxy.mirror.comparing import Heard, Pair, compared, is_greedy
from gateway.proxy.mirror.comparison import MAX_CHARACTERS
from gateway.proxy.story import Story
from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.usage import Usage
from tests.support.configs import a_catalog
from tests.support.fake_clock import FakeClock


def an_ask(operation: Operation = Operation.CHAT, **fields: Any) -> Ask:
    given = {"model": "m", "messages": [], "input": "x", "prompt": "x"} | fields
    return read_ask(json.dumps(given).encode(), operation)


def heard(text: str = "hi", **more: Any) -> Heard:
    body = json.dumps({"choices": [{"index": 0, "message": {"content": text}}]}).encode()
    known = Heard(body, "m", "r0", "stop", 3, None, 0.5)
    return known._replace(**more)


def a_pair(client: Heard, shadow: Heard, ask: Ask | None = None, **more: Any) -> Pair:
    return Pair("id", ask or an_ask(temperature=0), "m", "s", client, shadow, False)._replace(
        **more
    )


def test_texts_ends_lengths_and_times_are_told_of_both() -> None:
    shadow = heard("ho", variant="s", finish_reason="length", completion_tokens=4, duration_s=1.0)
    one = compared(a_pair(heard(), shadow), 12.0)
    assert one is not None
    assert (one.greedy, one.same, one.first_difference, one.common_prefix_ratio) == (
        True,
        False,
        1,
        0.5,
    )
    assert msgspec.to_builtins(one.answers) == {
        "client": {
            "variant": "m",
            "replica": "r0",
            "finish_reason": "stop",
            "completion_tokens": 3,
            "duration_ms": 500,
        },
        "shadow": {
            "variant": "s",
            "replica": "r0",
            "finish_reason": "length",
            "completion_tokens": 4,
            "duration_ms": 1000,
        },
    }


def test_content_is_kept_only_where_it_may_be_and_cut() -> None:
    one = compared(a_pair(heard("x" * 10_000), heard("y"), keeps_text=True), 1.0)
    assert one is not None
    assert one.answers["client"].text == "x" * MAX_CHARACTERS
    assert one.answers["shadow"].text == "y"


def test_embeddings_are_compared_by_their_angle() -> None:
    ask = an_ask(Operation.EMBEDDINGS)
    same = heard(body=b'{"data":[{"embedding":[1,0]}]}')
    other = heard(body=b'{"data":[{"embedding":[0,1]}]}')
    one = compared(a_pair(same, other, ask), 1.0)
    assert one is not None
    assert (one.cosine, one.common_prefix_ratio, one.same, one.greedy) == (0.0, None, False, True)
    assert compared(a_pair(same, heard(body=b"{}"), ask), 1.0) is None
    assert compared(a_pair(heard(body=b"{}"), same, ask), 1.0) is None


@pytest.mark.parametrize("broken", [(b"{}", None), (None, b"{}")])
def test_an_answer_that_cannot_be_read_is_not_compared(broken: tuple[bytes | None, ...]) -> None:
    ours, theirs = (heard() if body is None else heard(body=body) for body in broken)
    assert compared(a_pair(ours, theirs), 1.0) is None


@pytest.mark.parametrize(
    ("given", "greedy"),
    [
        ({"temperature": 0}, True),
        ({"temperature": 0.0}, True),
        ({"temperature": 1}, False),
        ({"temperature": None}, False),
        ({}, False),
    ],
)
def test_greedy_is_what_has_the_temperature_zero(given: dict[str, Any], greedy: bool) -> None:
    assert is_greedy(an_ask(**given)) is greedy


def an_account(clock: FakeClock) -> Account:
    (state,) = FleetState(a_catalog())
    account = Account(None, lambda *_: None, Story(clock.now_s(), clock.now_s))  # type: ignore[arg-type]  # nobody asks for the call
    account.attempt(Lease(state))
    return account


def test_times_count_from_the_only_try() -> None:
    clock = FakeClock()
    account = an_account(clock)
    account.stream, account.usage = True, Usage(5, 7, 0)
    account.finish_reason = "stop"
    account.first_content_s = clock.now_s() + 0.25
    found = Heard.of(account, b"x", clock.now_s() + 1.0)
    assert found == Heard(b"x", "m", "r0", "stop", 7, 0.25, 1.0)
    account.stream = False
    assert Heard.of(account, b"x", clock.now_s()).ttft_s is None


def test_several_tries_have_no_time_of_one_engine() -> None:
    clock = FakeClock()
    account = an_account(clock)
    account.hedge = Hedge.LOST
    found = Heard.of(account, b"x", clock.now_s())
    assert (found.duration_s, found.ttft_s, found.completion_tokens) == (None, None, None)
