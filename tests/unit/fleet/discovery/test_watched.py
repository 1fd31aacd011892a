import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fleet.discovery import watched as module
from gateway.fleet.discovery.watched import Expired, Lines, WatchBroken, Watched


def an_event(kind: str, **more: Any) -> bytes:
    return json.dumps({"type": kind, "object": more}).encode()


def a_slice(name: str, version: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}, "endpoints": None}


def names(of: Watched) -> list[str]:
    return [one.metadata.name for one in of.slices]


def test_pages_are_taken_in_until_the_last() -> None:
    here = Watched()
    first = {"metadata": {"resourceVersion": "7", "continue": "x"}, "items": [a_slice("a", "1")]}
    last = {"metadata": {"resourceVersion": "7"}, "items": None}
    assert here.listed(json.dumps(first).encode()) == "x"
    assert here.listed(json.dumps(last).encode()) == ""
    assert (names(here), here.version) == (["a"], "7")


def test_events_change_what_is_known_and_how_far() -> None:
    here = Watched()
    assert here.changed(an_event("ADDED", **a_slice("a", "1")))
    assert here.changed(an_event("MODIFIED", **a_slice("b", "2")))
    assert here.changed(an_event("DELETED", **a_slice("a", "3")))
    assert here.changed(an_event("DELETED", **a_slice("never", "")))
    assert (names(here), here.version) == (["b"], "3")
    assert not here.changed(an_event("BOOKMARK", metadata={"resourceVersion": "9"}))
    assert not here.changed(an_event("NEWER"))
    assert here.version == "9"


def test_what_is_forgotten_is_told_from_what_fails() -> None:
    here = Watched()
    with pytest.raises(Expired):
        here.changed(an_event("ERROR", code=410))
    with pytest.raises(WatchBroken):
        here.changed(an_event("ERROR", code=500))
    with pytest.raises(msgspec.MsgspecError):
        here.changed(b"{")


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.integers(1, 9))
def test_lines_are_whole_wherever_they_were_cut(lines: list[bytes], size: int) -> None:
    text = b"".join(line + b"\n" for line in lines)
    splitter = Lines()
    seen = [
        line for at in range(0, len(text), size) for line in splitter.feed(text[at : at + size])
    ]
    assert seen == [line for line in lines if line.strip()]


def test_a_line_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 8)
    with pytest.raises(WatchBroken):
        Lines().feed(b"123456789")
