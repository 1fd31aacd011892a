import asyncio
import contextlib

import anyio
import anyio.lowlevel
import pytest

from gateway.errors import DeadlineExceeded, EngineFault
from gateway.proxy.call import Call
from gateway.proxy.deadline import Deadline, allowed_s
from gateway.proxy.dialect import OpenAiDialect
from gateway.wire.ask import Operation
from tests.support.configs import a_catalog, a_model


async def forever() -> None:
    with anyio.fail_after(5):
        await asyncio.get_running_loop().create_future()


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def test_what_ends_in_time_is_left_alone() -> None:
    with Deadline(5) as deadline:
        await anyio.lowlevel.checkpoint()
    assert deadline._timer.cancelled()


async def test_what_takes_too_long_is_cut_off_and_named() -> None:
    with pytest.raises(DeadlineExceeded) as raised, Deadline(0.01):
        await forever()
    assert isinstance(raised.value.__cause__, asyncio.CancelledError)
    assert cancelling() == 0


async def test_a_failure_goes_on_as_itself() -> None:
    with pytest.raises(EngineFault), Deadline(5):
        raise EngineFault("ours")


async def test_a_failure_while_being_cut_off_goes_on_as_itself() -> None:
    async def fail_when_cancelled() -> None:
        try:
            await forever()
        finally:
            raise EngineFault("ours")

    with pytest.raises(EngineFault), Deadline(0.01):
        await fail_when_cancelled()
    assert cancelling() == 0


async def test_what_ends_in_spite_of_being_cut_off_counts_as_done() -> None:
    async def end_when_cancelled() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await forever()

    with Deadline(0.01):
        await end_when_cancelled()
    assert cancelling() == 0


async def test_somebody_else_s_cancellation_is_not_a_deadline() -> None:
    with anyio.move_on_after(0.01) as scope:
        with Deadline(5):
            await forever()
    assert scope.cancelled_caught


async def test_somebody_else_s_cancellation_in_the_same_moment_wins() -> None:
    task = asyncio.current_task()
    assert task is not None

    async def be_cancelled_twice() -> None:
        with Deadline(5) as deadline:
            deadline._expire()
            task.cancel()
            await forever()

    with pytest.raises(asyncio.CancelledError):
        await be_cancelled_twice()
    assert task.uncancel() == 0


async def test_a_cancellation_that_was_swallowed_before_does_not_hide_the_deadline() -> None:
    """A count left over from before the deadline made its own cancellation look like another's."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await anyio.lowlevel.checkpoint()
    with pytest.raises(DeadlineExceeded), Deadline(0.01):
        await forever()
    assert task.uncancel() == 0


async def test_the_sooner_of_two_deadlines_is_the_one_that_speaks() -> None:
    async def run_both(outer_s: float, inner_s: float) -> str:
        try:
            with Deadline(outer_s):
                try:
                    with Deadline(inner_s):
                        await forever()
                except DeadlineExceeded:
                    return "inner"
        except DeadlineExceeded:
            return "outer"
        return "none"

    assert await run_both(5, 0.01) == "inner"
    assert await run_both(0.01, 5) == "outer"
    assert cancelling() == 0


def test_a_deadline_outside_of_a_task_is_a_mistake() -> None:
    async def run_outside() -> None:
        failures: list[BaseException] = []

        def enter() -> None:
            try:
                Deadline(1).__enter__()
            except RuntimeError as exc:
                failures.append(exc)

        asyncio.get_running_loop().call_soon(enter)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        assert "needs a task" in str(failures[0])

    anyio.run(run_outside)


@pytest.mark.parametrize(("says_s", "allowed"), [(None, 60.0), (5.0, 5.0), (600.0, 60.0)])
def test_a_client_may_ask_for_less_time_than_the_model_has(
    says_s: float | None, allowed: float
) -> None:
    catalog = a_catalog(a_model("m", timeouts={"total_s": 60}))
    call = Call(Operation.CHAT, OpenAiDialect(), b"{}", "id-1", 0.0, timeout_s=says_s)
    assert allowed_s(call, catalog.models["m"].variants[0]) == allowed
