"""Before the test: does the endpoint answer, to which model, and how long is a word?

Two small questions find a wrong key, an unknown model or a field that is not accepted before any
load is sent, and measure the scale of synthetic prompts from the usage that comes back.
"""

import random
from dataclasses import dataclass, replace

import msgspec

from gateway.loadtest.requests import Asking
from gateway.loadtest.synthetic import Scale, scale_of, words
from gateway.remote.answer import Answer
from gateway.remote.endpoint import AskFailed, Endpoint
from gateway.remote.failure import Failure
from gateway.remote.prompt_file import a_prompt
from gateway.remote.wrong_input import WrongInput

_FEW, _MANY = 16, 144
_SHOWN_MODELS = 12


class NotReady(Exception):
    """The endpoint gave no answer that a test could be made of; the message says why."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known now. `notes`: what had to be changed to be answered."""

    asking: Asking
    scale: Scale
    notes: tuple[str, ...] = ()


async def only_model(endpoint: Endpoint) -> str:
    """The model of an endpoint that serves one. Raises WrongInput for several, NotReady."""
    try:
        listed = msgspec.json.decode(await endpoint.whole("GET", "/models"), type=_Models)
    except AskFailed as exc:
        raise NotReady(_words_for(exc.failure, "GET /v1/models")) from exc
    except msgspec.DecodeError as exc:
        raise NotReady("GET /v1/models brought no list of models: name one with --model") from exc
    names = [model.id for model in listed.data]
    if len(names) != 1:
        shown = ", ".join(names[:_SHOWN_MODELS]) + (" ..." if len(names) > _SHOWN_MODELS else "")
        raise WrongInput(f"name a model with --model; the endpoint has {shown or 'none'}")
    return names[0]


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
            raise NotReady(_words_for(answer.failure, "a first question"))
    if few.usage is None or many.usage is None:
        notes.append("the endpoint gives no usage: tokens are counted as events with content")
        return Prepared(asking, Scale(), tuple(notes))
    scale = scale_of((_FEW, few.usage.prompt_tokens), (_MANY, many.usage.prompt_tokens))
    return Prepared(asking, scale, tuple(notes))


async def _answer(endpoint: Endpoint, asking: Asking, text: str) -> Answer:
    return await endpoint.stream(asking.question(a_prompt(text), 1))


def _words_for(failure: Failure, what: str) -> str:
    advice = {
        401: " (give the key with --api-key-env NAME)",
        403: " (may this key use the model?)",
        404: " (check the URL and --model)",
    }.get(failure.status, "")
    said = f"{failure.label}: {failure.message}" if failure.message else failure.label
    return f"{what} failed: {said}{advice}"
