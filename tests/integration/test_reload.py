"""A changed configuration file: a valid one serves at once, an invalid one changes nothing."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.leaks import PROMPT
from tests.support.running import FAST, Running, running

PATH = "/v1/chat/completions"
SLOW = EngineOptions(models=("sim",), inter_token_s=0.03, inter_token_s_per_running=0.0)


@dataclass(frozen=True, slots=True)
class Followed:
    """A gateway, the file that it follows, and a client."""

    it: Running
    file: Path
    client: httpx.AsyncClient

    def write(self, document: object) -> None:
        """Replace the file as editors do: a new one under the old name."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(document if isinstance(document, str) else json.dumps(document))
        fresh.rename(self.file)

    async def ask(self, model: str = "m", key: str | None = None) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.client.post(self.it.url + PATH, json=chat(model), headers=headers)

    async def ready(self) -> dict[str, Any]:
        detail: dict[str, Any] = (await self.client.get(self.it.url + "/ready")).json()
        return detail

    async def until_ready_shows(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        with anyio.fail_after(15):
            while not is_so(detail := await self.ready()):  # noqa: ASYNC110  # told by HTTP alone
                await anyio.sleep(0.02)
        return detail

    async def metric(self, line: str) -> bool:
        """Whether `GET /metrics` has this line."""
        return line in (await self.client.get(self.it.url + "/metrics")).text.splitlines()


def chat(model: str = "m", **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 4,
    } | more


def a_model(name: str, *urls: str, **more: Any) -> dict[str, Any]:
    replicas = [{"url": url} for url in urls]
    variant = {"engine": "vllm", "served_model": "sim", "replicas": replicas}
    return {"name": name, "variants": [variant]} | more


def models(*given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"models": list(given)} | more


@asynccontextmanager
async def followed(
    folder: Path,
    *options: EngineOptions,
    document: Callable[[Sequence[str]], dict[str, Any]] | None = None,
) -> AsyncIterator[Followed]:
    """Serve a file: by default the model `m` on all engines (one fast vLLM)."""
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(serve_engine(one)) for one in (options or (FAST,))
        ]
        urls = [engine.url for engine in engines]
        first = document(urls) if document else models(a_model("m", *urls))
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(first))
        it = await stack.enter_async_context(running(first, engines, config_path=file))
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=20))
        yield Followed(it, file, client)


async def test_a_changed_file_serves_without_being_asked(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.write(models(a_model("other", here.it.engine.url)))
        detail = await here.until_ready_shows(lambda shown: "other" in shown["models"])
        gone, new = await here.ask("m"), await here.ask("other")
        counted = await here.metric('gateway_config_reloads_total{result="served"} 1.0')
    assert list(detail["models"]) == ["other"]
    assert gone.status_code == 404
    assert new.status_code == 200
    assert counted


async def test_an_invalid_file_changes_nothing_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(tmp_path) as here:
        before = here.it.gateway.inference.exchange.fleet.catalog
        here.write("models: [{name: m, engine: vlm}]\nretry: {}")
        detail = await here.until_ready_shows(lambda shown: bool(shown["config_problems"]))
        answer = await here.ask()
        counted = await here.metric('gateway_config_reloads_total{result="refused"} 1.0')
        invalid = await here.metric("gateway_config_valid 0.0")
        assert here.it.gateway.inference.exchange.fleet.catalog is before
    assert answer.status_code == 200
    assert detail["ready"] is True
    assert len(detail["config_problems"]) > 1
    assert any(problem.startswith("retry: unknown key") for problem in detail["config_problems"])
    assert counted
    assert invalid
    (told,) = [record for record in caplog.records if record.getMessage() == "config_refused"]
    assert told.levelname == "ERROR"
    assert vars(told)["problems"] == detail["config_problems"]
    assert told.exc_info is None


async def test_a_mended_file_serves_and_the_problems_are_gone(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.write("models: []")
        await here.until_ready_shows(lambda shown: bool(shown["config_problems"]))
        here.write(models(a_model("other", here.it.engine.url)))
        detail = await here.until_ready_shows(lambda shown: "other" in shown["models"])
        valid = await here.metric("gateway_config_valid 1.0")
    assert detail["config_problems"] == []
    assert valid


async def test_a_reload_by_hand_does_not_wait_for_the_watch(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.write(models(a_model("other", here.it.engine.url)))
        here.it.gateway.reloader.reload()
        answer = await here.ask("other")
    assert answer.status_code == 200


async def test_a_stream_on_a_replica_that_was_removed_finishes(tmp_path: Path) -> None:
    async with followed(tmp_path, SLOW, FAST) as here:
        slow, fast = here.it.engines
        here.write(models(a_model("m", slow.url)))
        here.it.gateway.reloader.reload()
        body = chat(stream=True, max_tokens=30)
        async with here.client.stream("POST", here.it.url + PATH, json=body) as answer:
            pieces = answer.aiter_bytes()
            begin = await anext(pieces)
            here.write(models(a_model("m", fast.url)))
            here.it.gateway.reloader.reload()
            elsewhere = await here.ask()
            whole = begin + b"".join([piece async for piece in pieces])
        await here.it.settled()
        lines = here.it.log.requests
    assert whole.endswith(b"data: [DONE]\n\n")
    assert whole.count(b'"delta"') >= 30
    assert elsewhere.status_code == 200
    by_outcome = {line["completion_tokens"]: line["outcome"] for line in lines}
    assert by_outcome == {30: "ok", 4: "ok"}
    assert [seen.outcome for seen in slow.requests if seen.path == PATH] == ["answered"]
    assert [seen.outcome for seen in fast.requests if seen.path == PATH] == ["answered"]


async def test_a_replica_that_stays_keeps_its_numbers(tmp_path: Path) -> None:
    async with followed(tmp_path, SLOW, FAST) as here:
        slow, fast = here.it.engines
        here.write(models(a_model("m", slow.url)))
        here.it.gateway.reloader.reload()
        body = chat(stream=True, max_tokens=30)
        async with here.client.stream("POST", here.it.url + PATH, json=body) as answer:
            pieces = answer.aiter_bytes()
            await anext(pieces)
            here.write(models(a_model("m", slow.url, fast.url)))
            here.it.gateway.reloader.reload()
            busy = {
                state.replica.url: state.in_flight
                for state in here.it.gateway.inference.exchange.fleet
            }
            async for _ in pieces:
                pass
        await here.it.settled()
    assert busy == {slow.url: 1, fast.url: 0}


def _with_key(secret: str) -> Callable[[Sequence[str]], dict[str, Any]]:
    return lambda urls: models(
        a_model("m", *urls), keys=[{"name": "team", "secret": {"value": secret}}]
    )


async def test_changed_keys_take_effect(tmp_path: Path) -> None:
    async with followed(tmp_path, document=_with_key("sk-old")) as here:
        before = [(await here.ask(key=key)).status_code for key in ("sk-old", "sk-new")]
        here.write(_with_key("sk-new")([here.it.engine.url]))
        here.it.gateway.reloader.reload()
        after = [(await here.ask(key=key)).status_code for key in ("sk-old", "sk-new")]
    assert before == [200, 401]
    assert after == [401, 200]


async def test_changed_retries_take_effect(tmp_path: Path) -> None:
    async with followed(tmp_path, FAST, FAST) as here:
        for engine in here.it.engines:
            engine.inject("status=500")
        await here.ask()
        urls = [engine.url for engine in here.it.engines]
        here.write(models(a_model("m", *urls), retries={"max_attempts": 1}))
        here.it.gateway.reloader.reload()
        await here.ask()
        await here.it.settled()
        attempts = [line["attempts"] for line in here.it.log.requests]
    assert attempts == [2, 1]


async def test_calls_go_on_while_the_file_changes_again_and_again(tmp_path: Path) -> None:
    async with followed(tmp_path, FAST, FAST) as here:
        one, other = (engine.url for engine in here.it.engines)
        answers: list[int] = []

        async def ask() -> None:
            answers.extend([(await here.ask()).status_code for _ in range(10)])

        async with anyio.create_task_group() as calls:
            for _ in range(4):
                calls.start_soon(ask)
            for turn in range(20):
                here.write(models(a_model("m", *((one,), (other,), (one, other))[turn % 3])))
                here.it.gateway.reloader.reload()
                await anyio.sleep(0.01)
        await here.it.settled()
    assert answers == [200] * 40
