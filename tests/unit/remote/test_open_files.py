import resource

import pytest

from gateway.remote.open_files import allow_open_files


def with_limits(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> list[tuple[int, int]]:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))
    return set_to


def test_the_soft_limit_is_raised_to_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to = with_limits(monkeypatch, 1024, 4096)
    assert allow_open_files() == 4032
    assert set_to == [(4096, 4096)]


def test_no_more_than_anybody_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to = with_limits(monkeypatch, 1024, resource.RLIM_INFINITY)
    assert allow_open_files() == 65536
    assert set_to == [(65600, resource.RLIM_INFINITY)]


def test_a_limit_that_is_high_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to = with_limits(monkeypatch, resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    assert allow_open_files() == 65536
    assert set_to == []


def test_there_is_always_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with_limits(monkeypatch, 10, 10)
    assert allow_open_files() == 1
