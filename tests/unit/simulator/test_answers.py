from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.answers import Speaker
from gateway.simulator.tokens import decode, encode, token_bytes

PROMPTS = st.text(max_size=40)


def said(prompt: tuple[int, ...], count: int, *, seed: int = 0, unicode: bool = False) -> list[int]:
    return list(islice(Speaker(prompt, seed=seed, unicode=unicode), count))


@given(PROMPTS, st.booleans())
def test_the_same_prompt_is_answered_with_the_same_words(prompt: str, unicode: bool) -> None:
    ids = encode(prompt)
    assert said(ids, 20, unicode=unicode) == said(ids, 20, unicode=unicode)


@given(PROMPTS, st.integers(0, 40), st.booleans())
def test_an_answer_continued_from_its_tokens_goes_on_with_the_very_same_tokens(
    prompt: str, kept: int, unicode: bool
) -> None:
    """Before, a word of several tokens that was cut in two went on with another word.

    The rest of a word was kept aside; now it follows from the bytes before it, as all else does.
    """
    ids = encode(prompt)
    whole = said(ids, 60, unicode=unicode)
    continued = said(ids + tuple(whole[:kept]), 60 - kept, unicode=unicode)
    assert whole[:kept] + continued == whole


@given(PROMPTS, st.integers(0, 40))
def test_an_answer_continued_from_its_text_goes_on_with_the_very_same_text(
    prompt: str, kept: int
) -> None:
    whole = said(encode(prompt), 60)
    text = decode(whole[:kept])
    assert decode(whole).startswith(text + decode(said(encode(prompt + text), 10)))


def test_another_seed_says_other_things() -> None:
    assert said(encode("Hello"), 20, seed=1) != said(encode("Hello"), 20, seed=2)


def test_only_words_of_ascii_are_said_unless_more_is_wanted() -> None:
    assert decode(said(encode("Hello"), 300)).isascii()


def test_characters_of_several_bytes_are_split_over_tokens_when_wanted() -> None:
    tokens = said(encode("Hello"), 300, unicode=True)
    assert "🚀" in decode(tokens)
    assert any(not _is_text(token_bytes(token)) for token in tokens)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
