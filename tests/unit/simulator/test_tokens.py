import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.tokens import Detokenizer, decode, encode, encode_bytes, token_bytes


@given(st.text())
def test_text_comes_back_from_its_tokens(text: str) -> None:
    assert decode(encode(text)) == text


@given(st.binary())
def test_bytes_come_back_from_their_tokens(raw: bytes) -> None:
    assert b"".join(map(token_bytes, encode_bytes(raw))) == raw


def test_half_a_surrogate_pair_counts_as_a_question_mark() -> None:
    assert decode(encode("a\ud800b")) == "a?b"


@pytest.mark.parametrize("token", [-5, 0, 7, 2**70])
def test_an_id_that_is_none_has_no_bytes(token: int) -> None:
    assert token_bytes(token) == b""


@given(st.text(alphabet="aé日🚀 ", max_size=30))
def test_characters_are_shown_only_whole_and_none_is_lost(text: str) -> None:
    detokenizer = Detokenizer()
    shown = [detokenizer.feed(token) for token in encode(text)]
    assert "".join(shown) == text


def test_a_character_that_never_became_whole_is_shown_as_broken_at_the_end() -> None:
    detokenizer = Detokenizer()
    first, _ = encode("🚀")
    assert detokenizer.feed(first, last=True) == "\N{REPLACEMENT CHARACTER}"


@given(st.text(alphabet="ab ", max_size=40), st.text(alphabet="ab", min_size=1, max_size=4))
def test_nothing_of_a_stop_string_is_ever_shown(text: str, stop: str) -> None:
    detokenizer = Detokenizer((stop,))
    shown = ""
    tokens = encode(text)
    for number, token in enumerate(tokens, start=1):
        shown += detokenizer.feed(token, last=number == len(tokens))
        if detokenizer.hit is not None:
            break
    before, found, _ = text.partition(stop)
    assert shown == before
    assert detokenizer.hit == (stop if found else None)


def test_of_several_stop_strings_the_one_found_is_named() -> None:
    detokenizer = Detokenizer(("xyz", "ok"))
    assert detokenizer.feed(*encode("book")) == "bo"
    assert detokenizer.hit == "ok"
