from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from gateway.simulator.kv_cache import BLOCK_TOKENS
from gateway.simulator.options import EngineOptions
from gateway.simulator.scheduler import Scheduler, Work

OPTIONS = EngineOptions(
    max_num_seqs=3,
    kv_cache_tokens=12 * BLOCK_TOKENS,
    prefill_s_per_token=0.01,
    inter_token_s=1.0,
    inter_token_s_per_running=0.1,
)


def a_work(tokens: int = 10, max_tokens: int = 100, first: int = 0) -> Work:
    return Work(tuple(range(first, first + tokens)), max_tokens)


def step(scheduler: Scheduler) -> list[Work]:
    scheduler.start_step()
    return scheduler.finish_step()


class SchedulerUnderLoad(RuleBasedStateMachine):
    """Requests come and go while steps pass."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(replace(OPTIONS, max_queued=4))
        self.alive: list[Work] = []  # in the order they came

    @rule(tokens=st.integers(1, 40), max_tokens=st.integers(1, 30), first=st.integers(0, 1))
    def add(self, tokens: int, max_tokens: int, first: int) -> None:
        work = a_work(tokens, max_tokens, first)
        if self.scheduler.add(work):
            self.alive.append(work)

    @rule()
    def step(self) -> None:
        takes_s = self.scheduler.start_step()
        served = self.scheduler.finish_step()
        assert (takes_s is None) == (not self.alive)
        assert takes_s is None or served
        assert len(served) == len({id(work) for work in served})
        for work in served:
            if work.produced >= work.max_tokens:
                self.scheduler.remove(work)
                self.alive.remove(work)

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        work = self.alive.pop(data.draw(st.integers(0, len(self.alive) - 1)))
        self.scheduler.remove(work)
        self.scheduler.remove(work)

    @invariant()
    def never_more_run_than_may(self) -> None:
        assert len(self.scheduler.running) <= OPTIONS.max_num_seqs

    @invariant()
    def whoever_came_first_runs_first(self) -> None:
        running = {id(work) for work in self.scheduler.running}
        runs = [id(work) in running for work in self.alive]
        assert runs == sorted(runs, reverse=True)
        waiting = [id(work) for work in self.scheduler.waiting]
        assert waiting == [id(work) for work in self.alive if id(work) not in running]

    @invariant()
    def exactly_the_running_hold_blocks(self) -> None:
        assert all(work.holding is not None for work in self.scheduler.running)
        assert all(work.holding is None for work in self.scheduler.waiting)

    @override
    def teardown(self) -> None:
        for work in self.alive:
            self.scheduler.remove(work)
        assert self.scheduler.cache.used == 0


TestSchedulerUnderLoad = SchedulerUnderLoad.TestCase


def test_an_idle_engine_has_nothing_to_do() -> None:
    assert Scheduler(OPTIONS).start_step() is None


def test_a_step_takes_the_prefill_and_the_time_between_tokens_at_this_batch_size() -> None:
    scheduler = Scheduler(OPTIONS)
    scheduler.add(a_work(10))
    scheduler.add(a_work(10, first=500))
    assert scheduler.start_step() == pytest.approx(20 * 0.01 + 1.0 + 2 * 0.1)
    scheduler.finish_step()
    assert scheduler.start_step() == pytest.approx(1.0 + 2 * 0.1)


def test_cached_tokens_need_no_prefill() -> None:
    scheduler = Scheduler(OPTIONS)
    scheduler.add(a_work(33))
    step(scheduler)
    again = a_work(33)
    scheduler.add(again)
    assert scheduler.start_step() == pytest.approx(0.01 + 1.0 + 2 * 0.1)
    assert again.cached_tokens == 32
    assert (scheduler.cache_hits, scheduler.cache_queries) == (32, 66)


def test_every_running_request_gets_one_token_a_step() -> None:
    scheduler = Scheduler(OPTIONS)
    one, two = a_work(), a_work()
    scheduler.add(one)
    scheduler.add(two)
    assert step(scheduler) == [one, two]
    assert (one.produced, two.produced) == (1, 1)


@pytest.mark.parametrize("bound", [0, 1, 3])
def test_a_queue_takes_what_can_run_and_as_many_as_may_wait(bound: int) -> None:
    """Before, any number was taken until a step had filled the engine."""
    scheduler = Scheduler(replace(OPTIONS, max_queued=bound))
    taken = [scheduler.add(a_work()) for _ in range(10)]
    assert sum(taken) == OPTIONS.max_num_seqs + bound
    step(scheduler)
    assert len(scheduler.waiting) == bound
    assert not scheduler.add(a_work())


def test_a_queue_that_waits_for_memory_is_bounded_too() -> None:
    scheduler = Scheduler(replace(OPTIONS, max_queued=1))
    scheduler.add(a_work(11 * BLOCK_TOKENS))
    scheduler.add(a_work(11 * BLOCK_TOKENS, first=5000))
    step(scheduler)
    assert not scheduler.add(a_work())


def test_the_youngest_makes_room_and_is_computed_again() -> None:
    scheduler = Scheduler(replace(OPTIONS, kv_cache_tokens=2 * BLOCK_TOKENS))
    old, young = a_work(BLOCK_TOKENS), a_work(BLOCK_TOKENS - 1, first=500)
    scheduler.add(old)
    scheduler.add(young)
    assert step(scheduler) == [old]
    assert young.preemptions == scheduler.preemptions == 1
    assert list(scheduler.waiting) == [young]


def test_one_that_is_taken_back_holds_room_for_all_it_has_produced() -> None:
    """Before, only its prompt was counted, so that the cache seemed emptier than it was."""
    scheduler = Scheduler(OPTIONS)
    work = a_work(BLOCK_TOKENS)
    scheduler.add(work)
    for _ in range(BLOCK_TOKENS + 1):
        step(scheduler)
    scheduler._send_back(work)
    assert scheduler.start_step() == pytest.approx((BLOCK_TOKENS + 2) * 0.01 + 1.1)
    assert scheduler.cache.used == 3


def test_one_alone_is_let_finish_though_it_outgrows_the_cache() -> None:
    scheduler = Scheduler(replace(OPTIONS, kv_cache_tokens=BLOCK_TOKENS))
    work = a_work(BLOCK_TOKENS)
    scheduler.add(work)
    assert step(scheduler) == [work]
    assert work.preemptions == 0


def test_one_that_must_make_room_for_itself_is_not_served_in_that_step() -> None:
    scheduler = Scheduler(replace(OPTIONS, kv_cache_tokens=2 * BLOCK_TOKENS))
    old, young = a_work(BLOCK_TOKENS - 1), a_work(BLOCK_TOKENS, first=500)
    scheduler.add(old)
    scheduler.add(young)
    assert step(scheduler) == [old]
    assert list(scheduler.waiting) == [young]


def test_a_long_prompt_is_computed_over_several_steps_while_others_get_their_tokens() -> None:
    scheduler = Scheduler(replace(OPTIONS, kv_cache_tokens=4096, max_num_batched_tokens=100))
    short, long = a_work(10), a_work(250, first=1000)
    scheduler.add(short)
    step(scheduler)
    scheduler.add(long)
    seconds = []
    for expected in ([short], [short], [short, long]):
        seconds.append(scheduler.start_step() or 0.0)
        assert scheduler.finish_step() == expected
    assert seconds == pytest.approx([2.2, 2.2, 1.7])
    assert (short.produced, long.produced) == (4, 1)


def test_no_more_prompts_are_computed_in_a_step_than_it_has_room_for() -> None:
    scheduler = Scheduler(replace(OPTIONS, kv_cache_tokens=4096, max_num_batched_tokens=100))
    works = [a_work(100, first=1000 * n) for n in range(3)]
    for work in works:
        scheduler.add(work)
    assert step(scheduler) == [works[0]]
    assert step(scheduler) == [works[0], works[1]]
    assert step(scheduler) == works
