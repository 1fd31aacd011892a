import math
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from gateway.clock import SystemClock
from gateway.wakeup import Signal


async def test_a_signal_that_was_set_is_not_waited_for() -> None:
    signal = Signal()
    signal.set()
    with anyio.fail_after(1):
        await signal.wait(math.inf, SystemClock())


@pytest.mark.parametrize("wake", [Signal.set, Signal.nudge])
async def test_a_signal_wakes_who_waits_and_nothing_else(wake: Callable[[Signal], None]) -> None:
    signal, clock = Signal(), SystemClock()
    signal.nudge()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(signal.wait, clock.now_s() + 5, clock)
        await anyio.lowlevel.checkpoint()
        wake(signal)
        wake(signal)
    assert signal._waiter is None


async def test_a_signal_lets_go_at_its_deadline() -> None:
    signal, clock = Signal(), SystemClock()
    with anyio.fail_after(1):
        await signal.wait(clock.now_s() - 1, clock)
    signal.set()
    signal.clear()
    with anyio.fail_after(1):
        await signal.wait(clock.now_s(), clock)
