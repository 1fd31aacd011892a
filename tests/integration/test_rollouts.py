"""Roll-outs: a canary whose callers stay, and blue to green (and back) by one line of the file."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.counted import counted
from tests.support.running import FAST, Running, running, until

PATH = "/v1/chat/completions"
STEADY = EngineOptions(models=("sim",), inter_token_s=0.02, inter_token_s_per_running=0.0)
TEAMS = [f"team-{number}" for number in range(60)]


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "assistant", "messages": [{"role": "user", "content": "Hi"}]} | more


def a_model(name: str, url: str) -> dict[str, Any]:
    return {
        "name": name,
        "engine": "vllm",
        "served_model": "sim",
        "replicas": [{"url": url, "name": name}],
    }


def shares(blue: float, green: float, **more: Any) -> list[dict[str, Any]]:
    parts = [{"to": "blue", "weight": blue}, {"to": "green", "weight": green}]
    return [{"name": "assistant", "parts": parts, **more}]


@dataclass
class Rollout:
    """Two models behind one name, the file that says how, and a client."""

    it: Running
    file: Path
    document: dict[str, Any]
    client: httpx.AsyncClient
    answers: list[httpx.Response] = field(default_factory=list)

    def edit(self, **changes: Any) -> None:
        """Change the file; it serves."""
        self.document |= changes
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(self.document))
        fresh.rename(self.file)
        self.it.gateway.reloader.reload()

    async def ask(self, team: str = "", **fields: Any) -> str:
        """Who answered."""
        headers = {"authorization": f"Bearer sk-{team}"} if team else {}
        answer = await self.client.post(PATH, json=chat(max_tokens=2) | fields, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == "assistant", "the name that was asked for"
        told: str = answer.headers["x-gateway-model"]
        return told

    async def by_team(self) -> dict[str, str]:
        return {team: await self.ask(team) for team in TEAMS}


@asynccontextmanager
async def rollout(
    folder: Path, *options: EngineOptions, splits: list[dict[str, Any]], **more: Any
) -> AsyncIterator[Rollout]:
    async with AsyncExitStack() as stack:
        engines = [
            await stack.enter_async_context(serve_engine(one)) for one in options or [FAST] * 2
        ]
        names = [
            a_model(*pair) for pair in zip(("blue", "green"), (e.url for e in engines), strict=True)
        ]
        document = {"models": names, "splits": splits} | more
        file = folder / "gateway.yaml"
        file.write_text(json.dumps(document))
        it = await stack.enter_async_context(running(document, engines, config_path=file))
        client = httpx.AsyncClient(timeout=30, base_url=it.url)
        yield Rollout(it, file, document, await stack.enter_async_context(client))
        await it.settled()


def keys(plan: str = "default") -> list[dict[str, Any]]:
    return [{"name": team, "plan": plan, "secret": {"value": f"sk-{team}"}} for team in TEAMS]


async def test_raising_a_canary_moves_only_callers_to_it_and_lowering_moves_them_back(
    tmp_path: Path,
) -> None:
    async with rollout(tmp_path, splits=shares(85, 15), keys=keys()) as here:
        few = await here.by_team()
        assert few == await here.by_team(), "who was sent there stays there"
        here.edit(splits=shares(60, 40))
        more = await here.by_team()
        here.edit(splits=shares(85, 15))
        again = await here.by_team()
        chosen = counted(here.it.gateway.books._metrics, "gateway_choices", "reason")
    moved = {team for team in TEAMS if few[team] != more[team]}
    assert moved
    assert {more[team] for team in moved} == {"green"}
    assert again == few
    assert 0 < sum(model == "green" for model in few.values()) < len(TEAMS) / 2
    assert chosen == {"split": 4 * len(TEAMS)}
    assert {line["chosen"] for line in here.it.log.requests} == {"split"}


async def test_who_may_not_use_the_canary_is_not_sent_there(tmp_path: Path) -> None:
    plans = [{"name": "stable", "models": ["blue"]}]
    async with rollout(tmp_path, splits=shares(1, 9), keys=keys("stable"), plans=plans) as here:
        assert {await here.ask(team) for team in TEAMS[:20]} == {"blue"}
        shown = await here.client.get("/v1/models", headers={"authorization": "Bearer sk-team-0"})
    assert [one["id"] for one in shown.json()["data"]] == ["blue", "assistant"]


async def test_when_the_canary_fails_its_callers_are_answered_by_the_other(tmp_path: Path) -> None:
    async with rollout(tmp_path, splits=shares(0.01, 99.99), keys=keys()) as here:
        team = next(team for team, model in (await here.by_team()).items() if model == "green")
        here.it.engines[1].inject("status=500", count=1)
        assert await here.ask(team) == "blue"
        assert here.it.log.requests[-1]["attempts"] == 2
        assert await here.ask(team) == "green", "back as soon as it answers"


async def test_one_line_moves_all_new_calls_to_green_under_load_and_back(tmp_path: Path) -> None:
    failed: list[str] = []
    told: list[str] = []
    async with rollout(tmp_path, STEADY, STEADY, splits=shares(1, 0)) as here:
        is_over = False

        async def caller() -> None:
            while not is_over:
                answer = await here.client.post(PATH, json=chat(max_tokens=3))
                told.append(answer.headers.get("x-gateway-model", ""))
                if answer.status_code != 200:
                    failed.append(answer.text)

        begun = anyio.Event()
        streams: list[str] = []

        async def long_stream() -> None:
            body = chat(stream=True, max_tokens=150, min_tokens=150)
            async with here.client.stream("POST", PATH, json=body) as answer:
                text = ""
                async for piece in answer.aiter_text():
                    begun.set()
                    text += piece
            assert text.rstrip().endswith("[DONE]")
            assert text.count('"delta"') >= 150
            streams.append(answer.headers["x-gateway-model"])

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(caller)
            await until(lambda: told.count("blue") >= 8, within_s=30)
            tasks.start_soon(long_stream)
            with anyio.fail_after(30):
                await begun.wait()
            here.edit(splits=shares(0, 1))
            assert not streams
            switched = {await here.ask() for _ in range(5)}
            await until(lambda: told[-8:].count("green") == 8, within_s=30)
            here.edit(splits=shares(1, 0))
            back = {await here.ask() for _ in range(5)}
            is_over = True
    assert switched == {"green"}
    assert back == {"blue"}
    assert streams == ["blue"], "what had begun there ended there"
    assert failed == []
    assert set(told) == {"blue", "green"}


async def test_an_alias_moves_by_one_edit_too(tmp_path: Path) -> None:
    async with rollout(tmp_path, splits=[]) as here:
        blue, green = here.document["models"]
        here.edit(models=[blue | {"aliases": ["assistant"]}, green])
        before = await here.ask()
        here.edit(models=[blue, green | {"aliases": ["assistant"]}])
        assert (before, await here.ask()) == ("blue", "green")
