"""Keys that are made at run time: two gateways on one Redis, and whoever operates them."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.admin import KEY, Admin
from tests.support.leaks import PROMPT
from tests.support.redis_servers import RedisServer, a_redis
from tests.support.running import FAST, Running, running
from tests.support.served import SLOW, served

pytestmark = [pytest.mark.redis, pytest.mark.timeout(60)]

PLANS = [{"name": "small", "requests_per_minute": 3, "concurrent_requests": 2}]
FILED = [{"name": "filed", "secret": {"value": "sk-filed"}}]


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with a_redis() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    shared.client().flushall()
    return shared


def limits(server: RedisServer) -> dict[str, Any]:
    return {"store": "redis", "redis_url": {"value": server.url}, "store_timeout_s": 1}


def a_document(url: str, server: RedisServer, **more: Any) -> dict[str, Any]:
    model = {"name": "m", "engine": "vllm", "url": url, "served_model": "sim"}
    document = {"models": [model], "plans": PLANS, "keys": FILED, "limits": limits(server)}
    return {name: given for name, given in (document | more).items() if given is not None}


@asynccontextmanager
async def a_gateway(
    url: str, server: RedisServer, file: Path | None = None, **more: Any
) -> AsyncIterator[Running]:
    document = a_document(url, server, **more)
    if file is not None:
        await anyio.Path(file).write_text(json.dumps(document))
    environ = {"GATEWAY_ADMIN_KEY": KEY}
    async with running(document, environ=environ, config_path=file) as it:
        yield it


@asynccontextmanager
async def two_gateways(
    server: RedisServer, options: EngineOptions = FAST, **more: Any
) -> AsyncIterator[tuple[Admin, Admin]]:
    async with (
        serve_engine(options) as engine,
        a_gateway(engine.url, server, **more) as one,
        a_gateway(engine.url, server, **more) as other,
    ):
        yield Admin(one), Admin(other)


async def soon(at: Admin, secret: str, status: int) -> httpx.Response:
    """A call with this secret, once it is answered so; within a second."""
    answer = await at.call(secret)
    try:
        with anyio.fail_after(1):
            while answer.status_code != status:
                await anyio.sleep(0.02)
                answer = await at.call(secret)
    except TimeoutError as late:
        raise AssertionError(f"{status} is wanted, it is {answer.status_code}") from late
    return answer


def code(answer: httpx.Response) -> str | None:
    found: str | None = answer.json()["error"]["code"]
    return found


# --- two gateways


async def test_a_key_made_on_one_works_on_the_other_within_a_second(server: RedisServer) -> None:
    async with two_gateways(server) as (one, other):
        for here, there in ((one, other), (other, one)):
            secret = await here.create("first" if here is one else "second")
            assert (await here.call(secret)).status_code == 200, "where it was made: at once"
            await soon(there, secret, 200)
        for admin in (one, other):
            listed = (await admin.ask("GET", "/keys")).json()["keys"]
            assert [key["name"] for key in listed] == ["filed", "first", "second"]
        assert (await one.call("sk-filed")).status_code == 200
        assert (await one.call("sk-nobody")).status_code == 401


async def test_whoever_looks_elsewhere_sees_what_was_just_made(server: RedisServer) -> None:
    async with two_gateways(server) as (one, other):
        for number in range(5):
            await one.create(f"k{number}")
            assert (await other.ask("GET", f"/keys/k{number}")).status_code == 200


async def test_a_rotation_has_a_grace_in_which_both_secrets_are_good(server: RedisServer) -> None:
    async with two_gateways(server) as (one, other):
        old = await one.create("team")
        rotated = await one.ask("POST", "/keys/team/rotate", json={"grace_s": 1.5})
        new = rotated.json()["secret"]
        await soon(other, new, 200)
        assert [(await at.call(old)).status_code for at in (one, other)] == [200, 200]
        await anyio.sleep(1.5)
        for at in (one, other):
            assert code(await at.call(old)) == "invalid_api_key"
            assert (await at.call(new)).status_code == 200


async def test_a_disabled_key_is_refused_everywhere_until_it_is_enabled(
    server: RedisServer,
) -> None:
    async with two_gateways(server) as (one, other):
        secret = await one.create("team")
        await soon(other, secret, 200)
        await one.ask("POST", "/keys/team/disable")
        for at in (one, other):
            refused = await soon(at, secret, 401)
            assert refused.json()["error"]["message"] == "this API key is disabled"
        await other.ask("POST", "/keys/team/enable")
        await soon(one, secret, 200)


async def test_a_deleted_key_is_refused_everywhere(server: RedisServer) -> None:
    async with two_gateways(server) as (one, other):
        secret = await one.create("team")
        await soon(other, secret, 200)
        deleted = await other.ask("DELETE", "/keys/team")
        assert deleted.status_code == 200
        assert "secret" not in deleted.json()
        assert (await other.call(secret)).status_code == 401
        await soon(one, secret, 401)


async def test_of_two_that_make_the_same_name_one_is_told(server: RedisServer) -> None:
    answers: list[int] = []

    async def make(at: Admin) -> None:
        answers.append((await at.ask("POST", "/keys", json={"name": "team"})).status_code)

    async with two_gateways(server) as (one, other), anyio.create_task_group() as group:
        for at in (one, other, one, other):
            group.start_soon(make, at)
    assert sorted(answers) == [201, 409, 409, 409]


# --- who may call


async def test_with_an_empty_list_of_keys_only_issued_ones_may_call(server: RedisServer) -> None:
    async with two_gateways(server, keys=[]) as (one, _):
        secret = await one.create("team")
        assert (await one.call(secret)).status_code == 200
        assert (await one.call(None)).status_code == 401
        assert (await one.call("sk-any")).status_code == 401


async def test_without_a_list_of_keys_an_issued_one_is_still_itself(server: RedisServer) -> None:
    async with serve_engine(FAST) as engine, a_gateway(engine.url, server, keys=None) as it:
        at = Admin(it)
        secret = await at.create("team", plan="small")
        for given in (secret, None, "sk-any"):
            assert (await at.call(given)).status_code == 200
        await it.settled()
        callers = [line["caller"] for line in it.log.requests]
    assert callers == ["team", "anonymous", "anonymous"]


async def test_an_issued_key_has_the_limits_of_its_plan_and_its_own(server: RedisServer) -> None:
    async with two_gateways(server) as (one, _):
        small = await one.create("small", plan="small")
        own = await one.create("own", plan="small", limits={"requests_per_minute": 1})
        statuses = [(await one.call(secret)).status_code for secret in [small] * 4 + [own] * 2]
    assert statuses == [200, 200, 200, 429, 200, 429]


async def test_with_limits_in_memory_no_key_can_be_made() -> None:
    model = {"name": "m", "engine": "vllm", "url": "http://127.0.0.1:9"}
    environ = {"GATEWAY_ADMIN_KEY": KEY}
    async with running({"models": [model], "keys": FILED}, environ=environ) as it:
        refused = await Admin(it).ask("POST", "/keys", json={"name": "team"})
        listed = await Admin(it).ask("GET", "/keys")
        unknown = await Admin(it).call("sk-any")
    assert refused.status_code == 409
    assert "limits.store: redis" in refused.json()["error"]["message"]
    assert [key["name"] for key in listed.json()["keys"]] == ["filed"]
    assert unknown.status_code == 401


# --- reload


async def test_a_reload_keeps_issued_keys_and_means_their_plans_anew(
    server: RedisServer, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.yaml"
    async with serve_engine(FAST) as engine, a_gateway(engine.url, server, file) as it:
        at = Admin(it)

        def reload(**more: Any) -> None:
            file.write_text(json.dumps(a_document(engine.url, server, **more)))
            it.gateway.reloader.reload()

        secret = await at.create("team", plan="small")
        reload(plans=[{"name": "other"}])
        refused = await at.call(secret)
        assert (refused.status_code, code(refused)) == (403, "plan_not_found")
        assert 'the plan "small"' in refused.json()["error"]["message"]
        assert (await at.ask("GET", "/keys/team")).json()["state"] == "plan_not_found"
        reload(plans=[PLANS[0] | {"requests_per_minute": 50}])
        assert (await at.call(secret)).headers["x-ratelimit-limit-requests"] == "50"
        reload(keys=[{"name": "team", "secret": {"value": "sk-of-the-file"}}])
        assert (await at.call(secret)).status_code == 401
        assert (await at.call("sk-of-the-file")).status_code == 200
        assert (await at.ask("POST", "/keys/team/rotate")).status_code == 409


# --- without Redis


async def test_known_keys_work_on_while_redis_is_away_and_after_it_came_back_empty() -> None:
    with a_redis() as server:
        async with two_gateways(server) as (one, other):
            secret = await one.create("team")
            await soon(other, secret, 200)
            server.kill()
            for at in (one, other):
                assert (await at.call(secret)).status_code == 200
                assert (await at.call("sk-any")).status_code == 401, "it is known that it is none"
                refused = await at.ask("POST", "/keys", json={"name": "more"})
                assert (refused.status_code, code(refused)) == (503, "keys_unavailable")
                listed = (await at.ask("GET", "/keys")).json()["keys"]
                assert [key["name"] for key in listed] == ["filed", "team"]
            server.start()
            await anyio.sleep(1)
            for at in (one, other):
                assert (await at.call(secret)).status_code == 200
            more = await other.create("more")
            await soon(one, more, 200)
            assert [(await at.call(secret)).status_code for at in (one, other)] == [200, 200]


async def test_until_keys_are_known_an_unknown_one_may_try_again() -> None:
    with a_redis() as server:
        async with two_gateways(server) as (one, _):
            secret = await one.create("team")
        kept = server.client().dump("sluicegate:{keys}:records")
        server.kill()
        async with serve_engine(FAST) as engine, a_gateway(engine.url, server) as it:
            at = Admin(it)
            refused = await at.call(secret)
            assert (refused.status_code, code(refused)) == (503, "keys_unavailable")
            assert refused.headers["retry-after"] == "1"
            assert (await at.call("sk-filed")).status_code == 200
            server.start()
            assert isinstance(kept, bytes)
            server.client().restore("sluicegate:{keys}:records", 0, kept)
            await soon(at, secret, 200)
            assert (await at.call("sk-any")).status_code == 401


# --- limits and usage


async def test_levels_and_holds_are_seen_from_everywhere(server: RedisServer) -> None:
    async with two_gateways(server, SLOW) as (one, other):
        secret = await one.create("team", plan="small")
        headers = {"authorization": f"Bearer {secret}"}
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": 1000,
            "stream": True,
        }
        url = f"{one.url}/v1/chat/completions"
        async with httpx.AsyncClient(timeout=20) as client:
            async with client.stream("POST", url, json=body, headers=headers) as answer:
                assert answer.status_code == 200
                shown = (await other.ask("GET", "/limits/team")).json()
            with anyio.fail_after(5):
                while (await other.ask("GET", "/limits/team")).json()["slots_in_use"]:  # noqa: ASYNC110
                    await anyio.sleep(0.02)
        filed = (await other.ask("GET", "/limits/filed")).json()
    assert shown["store_state"] == "ok"
    assert shown["slots_in_use"] == 1
    assert 0 < shown["holds"][0]["lease_s"] <= 15
    levels = {level["rule"]: level["left"] for level in shown["limits"]}
    assert levels == {"requests_per_minute": 2, "concurrent_requests": 1}
    assert (filed["key"], filed["limits"]) == ("filed", [])


async def test_usage_is_of_all_gateways(server: RedisServer) -> None:
    async with two_gateways(server) as (one, other):
        secret = await one.create("team")
        await soon(other, secret, 200)
        assert (await one.call(secret)).status_code == 200
        with anyio.fail_after(5):
            while True:
                told = (await one.ask("GET", "/usage?key=team")).json()
                if told["total"]["requests"] == 2:
                    break
                await anyio.sleep(0.02)
        await one.ask("DELETE", "/keys/team")
        csv = (await other.ask("GET", "/usage?format=csv")).text.splitlines()
    (entry,) = told["usage"]
    assert (entry["key"], entry["model"], entry["errors"]) == ("team", "m", 0)
    assert entry["output_tokens"] == 2 * 4
    assert csv[0].startswith("day,key,model,input_tokens")
    assert csv[1].split(",")[1:3] == ["team", "m"], "also when the key is gone"


# --- processes of their own


async def test_no_secret_is_in_a_log_an_answer_or_redis(
    server: RedisServer, tmp_path: Path
) -> None:
    environ = {"GATEWAY_ADMIN_KEY": KEY, "GATEWAY_LOG_LEVEL": "debug"}
    more: dict[str, Any] = {"keys": FILED, "limits": limits(server)}
    async with served(tmp_path, "--workers", "2", environ=environ, **more) as it:
        at = Admin(it.url)
        secrets = [await at.create("team")]
        rotated = await at.ask("POST", "/keys/team/rotate", json={"grace_s": 60})
        secrets.append(rotated.json()["secret"])
        await anyio.sleep(1)
        for _ in range(20):  # whichever worker takes the connection
            statuses = [(await at.call(secret)).status_code for secret in secrets]
            assert statuses == [200, 200]
        answers = [
            (await at.ask("GET", path)).text
            for path in ("/keys", "/keys/team", "/audit", "/limits/team", "/usage")
        ]
        answers += [(await at.ask("POST", "/keys/team/disable")).text]
        answers += [(await at.ask("DELETE", "/keys/team")).text]
        await anyio.sleep(1)
        assert [(await at.call(secrets[1])).status_code for _ in range(20)] == [401] * 20
        it.child.signal(signal.SIGTERM)  # workers that lived on would tell Redis their keys
        assert await it.child.ended() == 0
        logs = it.child.said + it.child.out.decode()
    kept = "".join(_everything_in(server))
    assert logs.count('"event":"audit"') == 4
    assert '"action":"rotate"' in logs
    for secret in secrets:
        for text in (*answers, logs, kept):
            assert secret not in text
            assert secret.removeprefix("sk-") not in text


def _everything_in(server: RedisServer) -> Iterator[str]:
    client = server.client()
    for key in client.scan_iter():
        yield key
        match client.type(key):
            case "hash":
                yield str(client.hgetall(key))
            case "stream":
                yield str(client.xrange(key))
            case "string":
                yield str(client.get(key))
            case "zset":
                yield str(client.zrange(key, 0, -1))
            case other:
                raise AssertionError(other)


async def test_the_command_does_all_of_it(server: RedisServer) -> None:
    async with two_gateways(server) as (one, other):

        async def keys(*arguments: str) -> str:
            environ = os.environ | {"GATEWAY_ADMIN_KEY": KEY, "GATEWAY_URL": one.url}
            environ |= {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
            command = [sys.executable, "-m", "gateway", "keys", *arguments]
            ended = await anyio.run_process(command, env=environ, check=False)
            assert ended.returncode == 0, ended.stderr
            return ended.stdout.decode()

        made = json.loads(await keys("create", "team", "--plan", "small", "--json"))
        await soon(other, made["secret"], 200)
        assert "requests_per_minute" in await keys("limits", "team")
        rotated = json.loads(await keys("rotate", "team", "--grace-s", "0", "--json"))
        await soon(other, rotated["secret"], 200)
        await soon(other, made["secret"], 401)
        await keys("disable", "team")
        await soon(other, rotated["secret"], 401)
        await keys("delete", "team", "--url", other.url)
        listed = json.loads(await keys("list", "--json"))
        audit = json.loads(await keys("audit", "--json"))
    assert [key["name"] for key in listed["keys"]] == ["filed"]
    actions = [entry["action"] for entry in audit["entries"]]
    assert actions == ["delete", "disable", "rotate", "create"]
