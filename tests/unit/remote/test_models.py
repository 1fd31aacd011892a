from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gateway.remote.address import headers_of, origin_of
from gateway.remote.endpoint import Endpoint
from gateway.remote.failure import Failure
from gateway.remote.models import NotReady, failure_words, only_model
from gateway.remote.wrong_input import WrongInput
from tests.support.scripted_server import Peer, serving
from tests.support.simulated import Simulated, an_engine

pytestmark = pytest.mark.integration


@asynccontextmanager
async def reaching(engine: Simulated) -> AsyncIterator[Endpoint]:
    async with Endpoint(origin_of(engine.engine.url), headers_of(None), timeout_s=5) as endpoint:
        yield endpoint


async def test_the_only_model_needs_no_name() -> None:
    async with an_engine() as engine, reaching(engine) as endpoint:
        assert await only_model(endpoint) == "sim"


async def test_of_several_one_must_be_named() -> None:
    async with an_engine(models=("a", "b")) as engine, reaching(engine) as endpoint:
        with pytest.raises(WrongInput, match="the endpoint has a, b"):
            await only_model(endpoint)


async def test_models_that_cannot_be_listed_are_told() -> None:
    async with an_engine(api_key="sesame") as engine, reaching(engine) as endpoint:
        with pytest.raises(NotReady, match="GET /v1/models failed: 401"):
            await only_model(endpoint)


async def test_a_list_that_is_none_is_told() -> None:
    async def odd(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]")

    async with serving(odd) as server, Endpoint(server.origin, ()) as endpoint:
        with pytest.raises(NotReady, match="no list of models"):
            await only_model(endpoint)


def test_a_failure_without_words_has_its_label() -> None:
    assert failure_words(Failure("502", "", 502), "it") == "it failed: 502"
    assert failure_words(Failure("403 x", "no", 403), "it").endswith(
        "(may this key use the model?)"
    )
