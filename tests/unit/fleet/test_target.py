import pytest

from gateway.engines.adapter import Load
from gateway.fleet.catalog import UNLIMITED
from gateway.fleet.gradient import START, Signal
from gateway.fleet.target import Basis, Target

FULL = Load(running=10, waiting=30)


@pytest.mark.parametrize(
    ("configured", "processes", "most"), [(64, 1, 64), (64, 4, 16), (10, 4, 2), (2, 4, 1)]
)
def test_each_process_keeps_to_its_part_of_the_configured(
    configured: int, processes: int, most: int
) -> None:
    target = Target(configured, processes)
    assert (target.most, target.basis) == (most, Basis.CONFIGURED)


def test_nothing_changes_what_is_configured() -> None:
    target = Target(8, 1)
    for _ in range(3):
        target.probed(FULL, 40, was_reached=True)
        target.measured(Signal.FIRST_TOKEN, 1, 8, 0)
        target.refused(3, 0.0)
    assert target.most == 8


def test_without_bounds_there_are_none() -> None:
    target = Target(UNLIMITED, 8)
    assert (target.most, target.basis) == (UNLIMITED, Basis.UNLIMITED)
    assert target.gradient is None


def test_an_engine_that_tells_is_believed() -> None:
    target = Target(None, 4)
    assert (target.most, target.basis) == (START, Basis.ADAPTIVE)
    for _ in range(2):
        target.probed(FULL, 40, was_reached=False)
    assert (target.most, target.basis) == (11, Basis.LEARNED)
    assert target.gradient is None
    target.probed(Load(), 11, was_reached=True)
    target.measured(Signal.FIRST_TOKEN, 1, 11, 0)
    assert target.most == 11


def test_one_that_tells_nothing_is_timed() -> None:
    target = Target(None, 1)
    target.probed(Load(running=1), 1, was_reached=True)
    for number in range(20):
        target.measured(Signal.FIRST_TOKEN, 0.1, START, number)
    assert target.most > START


def test_many_refusals_at_once_count_as_one() -> None:
    timed, told = Target(None, 1), Target(None, 1)
    told.probed(Load(running=1, waiting=0), 1, was_reached=False)
    for target in (timed, told):
        for _ in range(10):
            target.refused(40, 5.0)
        assert target.most == 36
        target.refused(36, 6.5)
        assert target.most == 32


def test_a_changed_configuration_is_noticed() -> None:
    target = Target(8, 1)
    assert target.is_for(8, 1)
    assert not target.is_for(None, 1)
    assert not target.is_for(8, 2)
