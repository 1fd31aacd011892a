import random
from dataclasses import replace

import pytest

from gateway.experiment.front import Front
from gateway.experiment.passage import passage
from gateway.experiment.plan import ENGINE
from gateway.experiment.rehearsal import Rehearsal
from gateway.experiment.workload import Session, Turn
from gateway.routing import POLICIES

PROMPT = (passage(random.Random(1), "user", 1199),)


def a_rehearsal(engines: int = 1, policy: str = "round-robin") -> Rehearsal:
    front = Front(POLICIES[policy](), engines, random.Random(0))
    return Rehearsal(engines, ENGINE, [front], random.Random(0))


def test_a_call_takes_what_its_prompt_and_its_tokens_take() -> None:
    (call,) = a_rehearsal().run([Session(3.0, (Turn(PROMPT, 11),))], 60.0)
    token_s = ENGINE.inter_token_s + ENGINE.inter_token_s_per_running
    assert call.sent_s == 3.0
    assert call.ttft_s == pytest.approx(1200 * ENGINE.prefill_s_per_token + token_s)
    assert call.done_s - call.first_token_s == pytest.approx(10 * token_s)
    assert call.answer_tokens == 11


def test_what_is_cached_is_not_computed_again() -> None:
    rehearsal = a_rehearsal()
    first, second = rehearsal.run(
        [Session(0.0, (Turn(PROMPT, 2),)), Session(5.0, (Turn(PROMPT, 2),))], 60.0
    )
    assert second.ttft_s < first.ttft_s / 5
    (engine,) = rehearsal.engines()
    assert engine.prompt_tokens == 2400
    assert engine.cached_tokens == 1199
    assert engine.answer_tokens == 4


def test_a_turn_waits_for_the_answer_before_it_and_its_pause() -> None:
    turns = (Turn(PROMPT, 5), Turn(PROMPT, 5, pause_s=2.0))
    first, second = a_rehearsal(4).run([Session(0.0, turns)], 60.0)
    assert second.sent_s == pytest.approx(first.done_s + 2.0)


def test_nothing_is_sent_after_the_end_and_what_was_is_answered() -> None:
    turns = tuple(Turn(PROMPT, 50, pause_s=1.0) for _ in range(50))
    calls = a_rehearsal().run([Session(0.0, turns)], 10.0)
    assert 1 < len(calls) < 50
    assert calls[-1].sent_s < 10 <= calls[-1].done_s + 1


def test_engines_that_hold_too_little_send_calls_back_and_finish_them() -> None:
    small = replace(ENGINE, kv_cache_tokens=2000)
    front = Front(POLICIES["least-loaded"](), 1, random.Random(0))
    sessions = [
        Session(0.01 * n, (Turn((passage(random.Random(n), "user", 600),), 500),)) for n in range(6)
    ]
    calls = Rehearsal(1, small, [front], random.Random(0)).run(sessions, 60.0)
    assert [call.answer_tokens for call in calls] == [500] * 6
    assert all(0 <= call.sent_s < call.first_token_s < call.done_s for call in calls)
