import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.wire.sse import (
    DONE,
    EventSplitter,
    EventTooLarge,
    data_event,
    event_data,
    is_keep_alive,
)

LARGE = 1 << 20
MARK = b"\xef\xbb\xbf"

# streams made of what matters, so that line ends meet in every way
_PARTS = [b"\r", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"data: x", b"a", b":", MARK, b"\xef", b""]
streams = st.one_of(
    st.lists(st.sampled_from(_PARTS), max_size=30).map(b"".join),
    st.binary(max_size=60),
)
cuts = st.lists(st.integers(0, 100), max_size=12)


def split(*pieces: bytes, bound: int = LARGE) -> tuple[list[bytes], bytes]:
    """Every event, and what was left over."""
    splitter = EventSplitter(bound)
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return events, splitter.rest()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place for place in places if place < len(stream))})
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


@given(streams, cuts)
@example(b"data: x\n\nab", [9, 10])
@example(b"a\n\na\n\n\n", [3])
@example(b"a\r\r\n", [3])
@example(b"a\r\n\r\nb", [4])
@example(b"a\n\r\nb", [3])
@example(MARK + b"a\n\n", [1, 2])
def test_where_a_stream_is_cut_changes_nothing(stream: bytes, places: list[int]) -> None:
    assert split(*cut(stream, places)) == split(stream)


@given(streams)
def test_byte_by_byte_is_the_same_as_at_once(stream: bytes) -> None:
    assert split(*(stream[at : at + 1] for at in range(len(stream)))) == split(stream)


@given(streams, cuts)
def test_events_and_rest_are_the_very_stream(stream: bytes, places: list[int]) -> None:
    events, rest = split(*cut(stream, places))
    assert b"".join(events) + rest == stream.removeprefix(MARK)


@given(streams, cuts)
def test_no_event_is_empty_and_each_ends_with_a_line_end(stream: bytes, places: list[int]) -> None:
    events, _ = split(*cut(stream, places))
    assert all(len(event) >= 2 and event.endswith((b"\r", b"\n")) for event in events)


@given(streams)
def test_what_two_line_feeds_close_is_never_held_back(stream: bytes) -> None:
    splitter = EventSplitter(LARGE)
    splitter.feed(b"data: first\n\n")
    splitter.feed(stream.replace(b"\r", b""))
    assert b"\n\n" not in splitter.rest()


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n", b"\r\n\n"])
def test_an_event_is_complete_with_its_blank_line(end: bytes) -> None:
    splitter = EventSplitter(LARGE)
    for _ in range(3):
        assert splitter.feed(b"data: x" + end) == [b"data: x" + end]
    assert splitter.rest() == b""


def test_events_that_arrive_together_come_out_one_by_one() -> None:
    splitter = EventSplitter(LARGE)
    for _ in range(2):
        assert splitter.feed(b"data: a\n\ndata: b\n\n") == [b"data: a\n\n", b"data: b\n\n"]


def test_part_of_an_event_waits_for_the_rest() -> None:
    splitter = EventSplitter(LARGE)
    assert splitter.feed(b"data: a\n\ndata: ") == [b"data: a\n\n"]
    assert splitter.rest() == b"data: "
    assert splitter.feed(b"b\n") == []
    assert splitter.feed(b"\n") == [b"data: b\n\n"]


def test_a_single_byte_between_events_is_not_an_event() -> None:
    """A piece of one byte was taken for a whole event, since 'not found' is -1 and so is 1 - 2."""
    splitter = EventSplitter(LARGE)
    splitter.feed(b"data: a\n\n")
    assert splitter.feed(b"d") == []
    assert splitter.feed(b"ata: b\n\n") == [b"data: b\n\n"]


def test_a_blank_line_cut_between_cr_and_lf_stays_one() -> None:
    """The event went out without its last LF, which then began the next event."""
    splitter = EventSplitter(LARGE)
    assert splitter.feed(b"data: a\r\n\r") == []
    assert splitter.feed(b"\ndata: b\r\n\r\n") == [b"data: a\r\n\r\n", b"data: b\r\n\r\n"]


def test_a_mark_is_taken_off_the_start_only() -> None:
    assert split(MARK + b"data: a\n\n", MARK + b"\n\n") == ([b"data: a\n\n", MARK + b"\n\n"], b"")


def test_a_stream_that_ends_inside_its_mark_keeps_it() -> None:
    assert split(b"", b"\xef", b"\xbb") == ([], b"\xef\xbb")


def test_what_is_held_back_is_bounded() -> None:
    splitter = EventSplitter(10)
    assert splitter.feed(b"x" * 10) == []
    with pytest.raises(EventTooLarge):
        splitter.feed(b"x")


def test_whole_events_may_exceed_the_bound_together() -> None:
    events, rest = split(b"data: abc\n\n" * 5, bound=10)
    assert (len(events), rest) == (5, b"")


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\r\n\r\n", b"a"),
        (b"data:  a\r\r", b" a"),
        (b"data\n\n", b""),
        (b"data:\n\n", b""),
        (b"event: x\ndata: a\nid: 1\ndata: b\n\n", b"a\nb"),
        (b": ping\n\n", None),
        (b"event: x\n\n", None),
        (b"database: a\n\n", None),
        (b" data: a\n\n", None),
        (b"\ndata: a\n\n", b"a"),
        (DONE, b"[DONE]"),
    ],
)
def test_data_is_read_as_the_standard_says(event: bytes, data: bytes | None) -> None:
    assert event_data(event) == data


@given(st.binary(max_size=50).filter(lambda data: b"\r" not in data and b"\n" not in data))
def test_data_that_is_written_is_read_back(data: bytes) -> None:
    assert event_data(data_event(data)) == data
    assert split(data_event(data)) == ([data_event(data)], b"")


@pytest.mark.parametrize("piece", [b"", b"\n", b": ping\n\n", b":\r\n\r\n", b": a\n: b\n\n: c"])
def test_comments_and_blank_lines_say_nothing(piece: bytes) -> None:
    assert is_keep_alive(piece)


@pytest.mark.parametrize(
    "piece", [b"data", b"data: x\n\n", b": ping\n\ndata: x", b"event: x\n", b"x"]
)
def test_everything_else_says_something(piece: bytes) -> None:
    assert not is_keep_alive(piece)
