import pytest

from gateway.engines.kept import MAX_KEPT_BYTES, Kept, Why


def an_answer(*pieces: tuple[str, bytes], hold: int = 0) -> Kept:
    """An answer to a prompt of two tokens, in these pieces of text and their ids."""
    kept = Kept(with_ids=True, hides_ids=True, hold=hold)
    kept.read_prompt(b"[7, 8]")
    for text, ids in pieces:
        kept.add(text.encode(), ids)
    return kept


def test_ids_and_text_are_kept_as_they_come() -> None:
    kept = an_answer(("hé", b"1"), ("llo", b"2"))
    assert (kept.text.decode(), kept.end, kept.tokens) == ("héllo", 5, 2)
    assert kept.prompt_tokens == 2
    assert kept.is_at_place
    assert kept.go_on_from_ids() == b"7,8,1,2"


def test_ids_that_nothing_was_shown_of_are_forgotten() -> None:
    kept = an_answer(("a", b"1"), ("", b"2"), ("", b"3"))
    assert kept.is_at_place
    assert kept.go_on_from_ids() == b"7,8,1"
    assert kept.tokens == 1


def test_nothing_said_is_a_place_too() -> None:
    assert an_answer(("", b"1")).go_on_from_ids() == b"7,8"


@pytest.mark.parametrize("piece", [("ab", b"2,3"), ("b�", b"2")])
def test_where_a_character_may_be_half_said_is_no_place(piece: tuple[str, bytes]) -> None:
    kept = an_answer(("a", b"1"), piece)
    assert not kept.is_at_place
    assert kept.place.tokens == 1
    assert kept.said_after(kept.place) == piece[0].encode()


def test_what_is_held_back_for_a_stop_string_moves_the_place_back() -> None:
    kept = an_answer(("", b"1"), ("ab", b"2"), ("cd", b"3"), ("ef", b"4"), hold=3)
    # of the ids up to 3, "abcdefg" would have been the text; "abcdef" is out
    assert (kept.place.tokens, kept.place.end) == (2, 5)
    assert kept.said_after(kept.place) == b"f"


def test_a_place_is_reached_when_what_follows_was_said() -> None:
    kept = an_answer(("ab", b"1"), ("cd", b"2"), ("efgh", b"3,4"), hold=3)
    assert (kept.place.tokens, kept.place.end) == (2, 7)
    assert kept.said_after(kept.place) == b"h"


def test_what_is_said_again_is_not_kept_twice() -> None:
    kept = an_answer(("a", b"1"), ("bc", b"2,3"))
    kept.go_on_from_ids()
    kept.read_prompt(b"[7,8,1]")
    kept.add(b"b", b"2")
    assert kept.dropped_bytes == 1
    kept.add(b"cd", b"3")
    assert (bytes(kept.text), kept.dropped_bytes, kept.tokens) == (b"abcd", 1, 3)
    assert kept.is_at_place
    assert not kept.diverged


def test_an_engine_that_says_something_else_is_found_out() -> None:
    kept = an_answer(("a", b"1"), ("bc", b"2,3"))
    kept.go_on_from_ids()
    kept.read_prompt(b"[7,8,1]")
    kept.add(b"bx", b"9")
    assert kept.diverged
    kept.add(b"more", b"9")
    kept.add_reasoning(b"more", b"9")
    assert bytes(kept.text) == b"abc"


def test_an_engine_that_read_another_prompt_is_found_out() -> None:
    kept = an_answer(("a", b"1"))
    kept.go_on_from_ids()
    kept.read_prompt(b"[7,8]")
    assert kept.diverged


def test_an_engine_that_does_not_say_what_it_read_is_not_trusted() -> None:
    kept = an_answer(("a", b"1"))
    kept.go_on_from_ids()
    kept.add(b"a", b"1")
    assert kept.diverged
    assert bytes(kept.text) == b"a"


def test_spaces_may_come_again_or_not() -> None:
    kept = an_answer(("a \n", b"1"))
    assert kept.go_on_from_text(2, is_strict=False) == b"a"
    kept.add(b" b", b"")
    assert bytes(kept.text) == b"a \nb"
    assert not kept.diverged


def test_reasoning_is_a_place_but_no_text() -> None:
    kept = an_answer()
    kept.add_reasoning(b"hm", b"1")
    kept.add_reasoning(b"", b"2")
    assert (kept.tokens, bytes(kept.text), kept.has_reasoning) == (2, b"", True)
    assert kept.is_at_place
    assert kept.place.tokens == 1
    kept.add_reasoning(b"so it", b"3,4")
    assert not kept.is_at_place


@pytest.mark.parametrize("way", ["text", "ids", "reasoning", "prompt"])
def test_what_is_kept_is_bounded(way: str) -> None:
    kept = an_answer()
    much = b"1" * (MAX_KEPT_BYTES + 1)
    match way:
        case "text":
            kept.add(much, b"")
        case "ids":
            kept.add(b"", much)
        case "reasoning":
            kept.add_reasoning(b"", much)
        case _:
            kept = Kept(with_ids=True)
            kept.read_prompt(much)
    assert kept.why is Why.TOO_LONG
    kept.add(b"x", b"1")
    kept.add_reasoning(b"x", b"1")
    kept.read_prompt(b"[1]")
    kept.give_up(Why.TOOLS)
    assert (bytes(kept.text), bytes(kept.ids), kept.prompt) == (b"", b"", None)
    assert kept.why is Why.TOO_LONG


def test_the_first_event_is_kept() -> None:
    kept = Kept()
    kept.begin(b"one")
    kept.begin(b"two")
    assert kept.first == b"one"
    assert kept.prompt_tokens is None


def test_reasoning_without_ids_is_only_known_of() -> None:
    kept = Kept()
    kept.add_reasoning(b"hm", b"")
    assert kept.has_reasoning
    assert kept.tokens == 0


def test_bytes_that_are_no_text_end_the_keeping() -> None:
    kept = an_answer(("a", b"1"))
    kept.add(b"\xff", b"2")
    assert kept.why is Why.UNREADABLE
