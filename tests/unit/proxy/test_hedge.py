import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.models import Hedging
from gateway.proxy.hedge import Pace, is_short
from gateway.wire.ask import Ask, Operation, read_ask

RULES = Hedging()


def an_ask(operation: Operation = Operation.CHAT, **more: Any) -> Ask:
    content: dict[str, Any] = (
        {"input": "x"} if operation is Operation.EMBEDDINGS else {"messages": []}
    )
    return read_ask(json.dumps({"model": "m"} | content | more).encode(), operation)


def a_pace(*durations_s: float) -> Pace:
    pace = Pace(0.0)
    for took_s in durations_s:
        pace.answered(took_s)
    return pace


@pytest.mark.parametrize(
    ("ask", "short"),
    [
        (an_ask(max_tokens=256), True),
        (an_ask(max_tokens=257), False),
        (an_ask(), False),
        (an_ask(max_tokens=100, n=3), False),
        (an_ask(max_tokens=10, stream=True), False),
        (an_ask(Operation.EMBEDDINGS), True),
    ],
)
def test_short_is_what_is_whole_and_small(ask: Ask, short: bool) -> None:
    assert is_short(ask, RULES) is short


def test_nobody_is_late_before_enough_calls_were_seen() -> None:
    assert a_pace().begin(0.0, RULES) is None
    assert a_pace(*[1.0] * 31).begin(0.0, RULES) is None
    assert a_pace(*[1.0] * 32).begin(0.0, RULES) == 1.0


@given(percentile=st.floats(50, 99.9), seed=st.integers())
def test_late_is_slower_than_that_share_of_calls(percentile: float, seed: int) -> None:
    took_s = [number / 100 for number in range(1, 101)]
    random.Random(seed).shuffle(took_s)
    late_s = a_pace(*took_s[:96]).begin(0.0, Hedging(after_percentile=percentile))
    assert late_s is not None
    slower = sum(one > late_s for one in took_s[:96])
    assert slower / 96 <= 1 - percentile / 100 + 1e-9


def test_the_pace_follows_the_last_calls() -> None:
    pace = a_pace(*[1.0] * 256)
    for _ in range(256):
        pace.answered(3.0)
    assert pace.begin(0.0, RULES) == 3.0


def test_at_most_a_twentieth_of_the_calls_is_hedged() -> None:
    pace = a_pace()
    hedged = 0
    for number in range(2000):
        now_s = number / 50
        pace.begin(now_s, RULES)
        if pace.may_hedge(now_s, RULES):
            pace.hedged(now_s)
            hedged += 1
    assert 90 <= hedged <= 100


def test_a_model_with_few_calls_is_not_hedged() -> None:
    pace = a_pace()
    for _ in range(19):
        pace.begin(0.0, RULES)
    assert not pace.may_hedge(0.0, RULES)
    pace.begin(0.0, RULES)
    assert pace.may_hedge(0.0, RULES)
