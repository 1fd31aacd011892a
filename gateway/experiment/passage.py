"""Text whose every word is one token of a simulated engine, so that both count alike. No I/O."""

import random
from dataclasses import dataclass, field

from gateway.simulator.tokens import encode

_LETTERS = "bcdfghklmnprstvz"
_VOWELS = "aeiou"
WORDS = tuple(
    f"{one}{vowel}{two}{other}"
    for one in _LETTERS
    for vowel in _VOWELS
    for two in _LETTERS
    for other in "eo"
)
_TOKENS = tuple(encode(f" {word}")[0] for word in WORDS)
# what a chat template puts around a message
_MARKS = {role: encode(f" <{role[:2]}>")[:1] for role in ("system", "user", "assistant", "tool")}


@dataclass(frozen=True, slots=True)
class Passage:
    """One message. `tokens` are those of its text, and one for its role."""

    role: str
    text: str = field(repr=False)
    tokens: tuple[int, ...] = field(repr=False)


def passage(rng: random.Random, role: str, words: int) -> Passage:
    """A message of so many words, unlike any other."""
    drawn = rng.choices(range(len(WORDS)), k=words)
    text = " ".join([WORDS[number] for number in drawn])
    return Passage(role, text, (*_MARKS[role], *[_TOKENS[number] for number in drawn]))
