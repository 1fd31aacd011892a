import random

import anyio
import pytest

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import FACES, serve_engine
from tests.support.fake_clock import FakeClock
from tests.support.raw_http import ask
from tests.support.simulated import an_engine, json_of
from tests.support.transcripts import Asked

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", FACES)
async def test_every_kind_of_engine_serves_at_its_url(kind: str) -> None:
    async with an_engine(engine=kind) as it:
        assert (await it.get("/health")).status == 200


async def test_an_engine_can_be_had_without_saying_anything() -> None:
    async with serve_engine() as engine:
        answered = await anyio.to_thread.run_sync(ask, engine.url, Asked("GET", "/health"), 5)
    assert answered.status == 200
    assert engine.options == EngineOptions()


async def test_several_engines_live_side_by_side() -> None:
    async with an_engine(seed=1) as one, an_engine(seed=2) as two:
        texts = {(await it.chat(max_tokens=30)).body for it in (one, two)}
    assert len(texts) == 2


async def test_the_clock_and_the_dice_are_the_caller_s() -> None:
    options = EngineOptions(inter_token_s=0, prefill_s_per_token=0)
    async with serve_engine(options, clock=FakeClock(7), rng=random.Random(1)) as engine:
        answered = await anyio.to_thread.run_sync(ask, engine.url, Asked("GET", "/v1/models"), 5)
    assert json_of(answered)["data"][0]["created"] == 1_700_000_007


async def test_a_port_that_is_taken_is_an_error() -> None:
    async with serve_engine() as engine:
        port = int(engine.url.rpartition(":")[2])
        with pytest.raises(ExceptionGroup) as failed:
            async with serve_engine(port=port):
                pass
    assert failed.group_contains(OSError)
