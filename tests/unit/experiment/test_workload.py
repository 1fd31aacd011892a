from itertools import pairwise

import pytest

from gateway.experiment.workload import WORKLOADS, Session


def sessions(
    name: str, replicas: int = 4, seed: int = 1, duration_s: float = 60.0
) -> list[Session]:
    return WORKLOADS[name].sessions(replicas=replicas, duration_s=duration_s, seed=seed)


def cached_ratio(name: str) -> float:
    """How much of the prompts an endless cache would have known."""
    seen: set[tuple[int, ...]] = set()
    known = asked = 0
    for session in sessions(name):
        for turn in session.turns:
            prompt: tuple[int, ...] = ()
            for passage in turn.prompt:
                prompt += (hash(passage.tokens),)
                known += len(passage.tokens) * (prompt in seen)
                asked += len(passage.tokens)
                seen.add(prompt)
    return known / asked


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_same_seed_asks_the_same_and_another_something_else(name: str) -> None:
    assert sessions(name) == sessions(name)
    assert sessions(name) != sessions(name, seed=2)


@pytest.mark.parametrize("name", WORKLOADS)
def test_sessions_begin_in_order_within_the_duration_and_as_often_as_said(name: str) -> None:
    found = sessions(name, replicas=16, duration_s=200.0)
    starts = [session.starts_s for session in found]
    assert starts == sorted(starts)
    assert 0 <= starts[0] <= starts[-1] < 200
    wanted = WORKLOADS[name].sessions_per_s * 16 * 200
    assert wanted * 0.8 < len(found) < wanted * 1.2


@pytest.mark.parametrize("name", ["chat", "agents"])
def test_each_call_of_a_session_begins_with_the_one_before(name: str) -> None:
    for session in sessions(name):
        assert session.turns[0].pause_s == 0
        for before, after in pairwise(session.turns):
            assert after.prompt[: len(before.prompt)] == before.prompt
            assert after.prompt_tokens > before.prompt_tokens


@pytest.mark.parametrize("name", WORKLOADS)
def test_prompts_have_as_much_in_common_as_is_said(name: str) -> None:
    if WORKLOADS[name].has_reuse:
        assert cached_ratio(name) > 0.55
    else:
        assert cached_ratio(name) < 0.15


def test_bursts_are_bursts() -> None:
    def spread(name: str) -> float:
        found = sessions(name, duration_s=400.0)
        gaps = [b.starts_s - a.starts_s for a, b in pairwise(found)]
        mean = sum(gaps) / len(gaps)
        return sum((gap - mean) ** 2 for gap in gaps) / len(gaps) / mean**2

    assert spread("shared") < 1.5
    assert spread("bursty") > 4
