"""Prompts of a wanted length, made of words that most tokenizers know as one token. No I/O.

No tokenizer is at hand, and none is needed: two questions before the test tell how many tokens
the endpoint counts for so many words (`Scale`), and each answer's usage tells how long its prompt
really was. Prompts differ from their first word on, so that no prefix cache can shorten the
work, unless a shared beginning is asked for.
"""

import random
from dataclasses import dataclass

_TEXT = """
the of and to in is that it was for on are as with they at be this have from or one had by word
but not what all were we when your can said there use an each which she do how their if will up
other about out many then them these so some her would make like him into time has look two more
write go see number no way could people my than first water been call who oil now find long down
day did get come made may part over new sound take only little work know place year live me back
give most very after thing our just name good man think say great where help through much before
line right too mean old any same tell boy follow came want show also around form three small set
put end does another well large must big even such because turn here why ask went men read need
land different home us move try kind hand picture again change off play spell air away animal
house point page letter mother answer found study still learn should world high every near add
food between own below country plant last school father keep tree never start city earth eye light
thought head under story saw left few while along might close something seem next hard open
example begin life always those both paper together got group often run important until children
side feet car mile night walk white sea began grow took river four carry state once book hear stop
without second later miss idea enough eat face watch far really almost let above girl sometimes
mountain cut young talk soon list song being leave family
"""
_WORDS = tuple(_TEXT.split())


@dataclass(frozen=True, slots=True)
class Scale:
    """Tokens of a prompt of w words: `overhead_tokens` + w * `tokens_per_word`."""

    tokens_per_word: float = 1.0
    overhead_tokens: float = 0.0
    is_measured: bool = False

    def words_for(self, tokens: int) -> int:
        """How many words make a prompt of about so many tokens; at least one."""
        return max(1, round((tokens - self.overhead_tokens) / self.tokens_per_word))


def scale_of(few: tuple[int, int], many: tuple[int, int]) -> Scale:
    """From two prompts, each as (words, tokens counted). Of what makes no sense: one a word."""
    words, tokens = many[0] - few[0], many[1] - few[1]
    if words <= 0 or tokens <= 0:
        return Scale()
    per_word = tokens / words
    return Scale(per_word, max(0.0, few[1] - few[0] * per_word), is_measured=True)


def words(count: int, rng: random.Random) -> str:
    """So many words, drawn."""
    return " ".join(rng.choices(_WORDS, k=count))
