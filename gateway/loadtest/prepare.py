"""Before the test: does the endpoint answer, to which model, and how long is a word?

Two small questions find a wrong key, an unknown model or a field that is not accepted before any
load is sent, and measure the scale of synthetic prompts from the usage that comes back.
"""

import random
from dataclasses import dataclass, replace

from gateway.loadtest.requests import Asking
from gateway.loadtest.synthetic import Scale, scale_of, words
from gateway.remote.answer import Answer
from gateway.remote.endpoint import Endpoint
from gateway.remote.models import NotReady, failure_words
from gateway.remote.prompt_file import a_prompt

_FEW, _MANY = 16, 144


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known now. `notes`: what had to be changed to be answered."""

    asking: Asking
    scale: Scale
    notes: tuple[str, ...] = ()


async def prepare(endpoint: Endpoint, asking: Asking, rng: random.Random) -> Prepared:
    """Ask twice. Raises NotReady."""
    notes: list[str] = []
    few = await _answer(endpoint, asking, words(_FEW, rng))
    if asking.ignores_end and few.failure is not None and few.failure.status in (400, 422):
        asking = replace(asking, ignores_end=False)
        notes.append("ignore_eos is not accepted here: answers may end before their length")
        few = await _answer(endpoint, asking, words(_FEW, rng))
    many = few if few.failure else await _answer(endpoint, asking, words(_MANY, rng))
    for answer in (few, many):
        if answer.failure is not None:
            raise NotReady(failure_words(answer.failure, "a first question"))
    if few.usage is None or many.usage is None:
        notes.append("the endpoint gives no usage: tokens are counted as events with content")
        return Prepared(asking, Scale(), tuple(notes))
    scale = scale_of((_FEW, few.usage.prompt_tokens), (_MANY, many.usage.prompt_tokens))
    return Prepared(asking, scale, tuple(notes))


async def _answer(endpoint: Endpoint, asking: Asking, text: str) -> Answer:
    return await endpoint.stream(asking.question(a_prompt(text), 1))
