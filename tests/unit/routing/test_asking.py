import random
from typing import Any

import pytest

from gateway.auth.keys import Plan
from gateway.config.choice import Sticky
from gateway.routing.asking import Asking
from tests.support.queues import an_ask


def key(
    sticky: Sticky,
    caller: str = "team",
    session: bytes | None = None,
    what: str = "m",
    **fields: Any,
) -> int | None:
    ask = an_ask(**fields)
    return Asking(Plan("p", ("*",)), random.Random(0), caller, 0, ask, session).key(sticky, what)


def test_a_caller_has_one_key_and_others_have_others() -> None:
    assert key("caller") == key("caller", session=b"s", user="u")
    assert key("caller") != key("caller", "other")


def test_what_is_chosen_counts_so_that_nobody_always_gets_the_new() -> None:
    assert key("caller", what="m") != key("caller", what="n")


@pytest.mark.parametrize(
    ("sticky", "given", "other"),
    [
        ("session", {"session": b"a"}, {"session": b"b"}),
        ("session", {"prompt_cache_key": "a"}, {"prompt_cache_key": "b"}),
        ("user", {"user": "a"}, {"user": "b"}),
    ],
)
def test_a_session_or_a_user_has_one_of_its_own(
    sticky: Sticky, given: dict[str, Any], other: dict[str, Any]
) -> None:
    assert key(sticky, **given) == key(sticky, **given)
    assert len({key(sticky, **given), key(sticky, **other), key("caller")}) == 3
    assert key(sticky, "other", **given) != key(sticky, **given), "names are each caller's own"


@pytest.mark.parametrize("fields", [{}, {"user": 7}])
def test_without_a_session_or_a_user_the_caller_counts(fields: dict[str, Any]) -> None:
    assert key("session", **fields) == key("user", **fields) == key("caller")


def test_a_user_is_not_taken_for_a_session_nor_a_session_for_a_user() -> None:
    assert key("user", session=b"a", prompt_cache_key="b") == key("caller")
    assert key("session", user="u") == key("caller")


def test_nobody_in_particular_has_none() -> None:
    assert key("caller", "") is None
    assert key("none") is None
    assert Asking(Plan("p", ("*",)), random.Random(0), "team").key("user", "m") == key("caller")
    assert key("session", "", session=b"a") is not None
