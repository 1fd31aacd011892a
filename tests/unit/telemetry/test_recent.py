import mmap

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.recent import ENTRY_BYTES, Recent
from gateway.telemetry.request_line import RequestLine
from gateway.telemetry.told_story import StoryTold, TryTold


def a_line(request_id: str = "id", **more: object) -> RequestLine:
    line = RequestLine(
        1.0, "info", "request", request_id, "chat", False, 1, "ok", 200, 12.5, 100, "team", "m"
    )
    return msgspec.structs.replace(line, **more)


def a_story(tries: int = 1, error: str | None = None) -> StoryTold:
    return StoryTold([TryTold(f"r{n}", "m", "first", 1.0, 2.0, error=error) for n in range(tries)])


def add(recent: Recent, request_id: str = "id", **more: object) -> None:
    line = a_line(request_id, **more)
    recent.add(line, msgspec.json.encode(line), a_story())


def told(recent: Recent, request_id: str) -> StoryTold:
    (kept,) = recent.find(request_id)
    return msgspec.json.decode(kept.told, type=StoryTold)


def test_a_call_is_found_by_its_id() -> None:
    recent = Recent.alone(10)
    add(recent, "one")
    add(recent, "another")
    (kept,) = recent.find("one")
    assert msgspec.json.decode(kept.line)["request_id"] == "one"
    assert told(recent, "one") == a_story()
    assert recent.find("on") == []
    assert recent.find("none") == []


def test_only_the_last_ones_are_kept() -> None:
    recent = Recent.alone(4)
    for number in range(11):
        add(recent, f"r{number}")
    kept = {msgspec.json.decode(one.line)["request_id"] for one in recent}
    assert kept == {"r7", "r8", "r9", "r10"}
    assert recent.find("r6") == []


def test_an_id_that_came_twice_is_there_twice() -> None:
    recent = Recent.alone(4)
    add(recent, "same", status=500)
    add(recent, "same")
    statuses = {msgspec.json.decode(one.line)["status"] for one in recent.find("same")}
    assert statuses == {200, 500}


def test_what_somebody_wrote_into_another_field_is_no_id() -> None:
    recent = Recent.alone(4)
    add(recent, "real", error_cause='"request_id":"forged"')
    assert recent.find("forged") == []


def test_workers_find_each_others_calls_and_take_each_others_places() -> None:
    memory = mmap.mmap(-1, 2 * 3 * ENTRY_BYTES)
    one, other = Recent(memory, 0, 2), Recent(memory, 1, 2)
    for number in range(4):
        add(one, f"one-{number}")
    add(other, "other-0")
    assert len(one.find("other-0")) == len(other.find("one-3")) == 1
    successor = Recent(memory, 0, 2)
    add(successor, "later")
    kept = {msgspec.json.decode(each.line)["request_id"] for each in other}
    assert kept == {"one-2", "one-3", "later", "other-0"}


def test_an_entry_that_is_being_written_is_passed_over() -> None:
    recent = Recent.alone(1)
    add(recent, "id")
    recent._memory[0:8] = bytes(8)
    assert recent.find("id") == []
    assert list(recent) == []


def test_what_is_too_long_is_shortened() -> None:
    recent = Recent.alone(2)
    line = a_line(error_cause="x" * 5000)
    recent.add(line, msgspec.json.encode(line), a_story(tries=40, error="y" * 500))
    (kept,) = recent.find("id")
    assert msgspec.json.decode(kept.line)["error_cause"] == "x" * 200
    story = told(recent, "id")
    assert [one.replica for one in story.tries] == ["r0", "r1", "r38", "r39"]
    assert story.left_out == 36


def test_what_cannot_be_shortened_enough_is_not_kept() -> None:
    recent = Recent.alone(2)
    line = a_line(variant="v" * 3000)
    recent.add(line, msgspec.json.encode(line), a_story())
    assert list(recent) == []
    add(recent, "next")
    assert len(list(recent)) == 1


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 7))
def test_whatever_is_written_whole_entries_are_read(tries: list[int], size: int) -> None:
    recent = Recent.alone(size)
    for number, count in enumerate(tries):
        line = a_line(f"r{number}")
        recent.add(line, msgspec.json.encode(line), a_story(count))
    assert len(list(recent)) == min(size, len(tries))
    for number in range(max(0, len(tries) - size), len(tries)):
        story = told(recent, f"r{number}")
        assert len(story.tries) + story.left_out == tries[number]


@pytest.mark.parametrize("entries", [1, 1000])
def test_memory_is_bounded(entries: int) -> None:
    assert len(Recent.alone(entries)._memory) == entries * ENTRY_BYTES
