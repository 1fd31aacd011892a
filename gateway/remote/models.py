"""Which model an endpoint serves, and what to say when it does not answer."""

import msgspec

from gateway.remote.endpoint import AskFailed, Endpoint
from gateway.remote.failure import Failure
from gateway.remote.wrong_input import WrongInput

_SHOWN_MODELS = 12


class NotReady(Exception):
    """The endpoint gave no answer that could be measured; the message says why."""


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def only_model(endpoint: Endpoint) -> str:
    """The model of an endpoint that serves one. Raises WrongInput for several, NotReady."""
    try:
        listed = msgspec.json.decode(await endpoint.whole("GET", "/models"), type=_Models)
    except AskFailed as exc:
        raise NotReady(failure_words(exc.failure, "GET /v1/models")) from exc
    except msgspec.DecodeError as exc:
        raise NotReady("GET /v1/models brought no list of models: name one with --model") from exc
    names = [model.id for model in listed.data]
    if len(names) != 1:
        shown = ", ".join(names[:_SHOWN_MODELS]) + (" ..." if len(names) > _SHOWN_MODELS else "")
        raise WrongInput(f"name a model with --model; the endpoint has {shown or 'none'}")
    return names[0]


def failure_words(failure: Failure, what: str) -> str:
    """What failed, why, and what to do about it."""
    advice = {
        401: " (give the key with --api-key-env NAME)",
        403: " (may this key use the model?)",
        404: " (check the URL and the model's name)",
    }.get(failure.status, "")
    said = f"{failure.label}: {failure.message}" if failure.message else failure.label
    return f"{what} failed: {said}{advice}"
