"""Take the pictures of docs/dashboard.md: `python -m tests.docs.screenshots [FOLDER]`.

They show a gateway with simulated engines under load, one of which fails, in real Chromium.
"""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from playwright.async_api import Page

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.browser import a_browser, a_page
from tests.support.running import running

FOLDER = Path(__file__).parents[2] / "docs" / "images"
_KEY = "sk-admin"
_LOAD_S = 24.0
_WIDE: Mapping[str, Any] = {"viewport": {"width": 1280, "height": 900}}
_PHONE: Mapping[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
# by the name of their variant
_ENGINES = {
    "llama-3.1-70b:fp8": [
        EngineOptions(models=("llama",), inter_token_s=0.018, kv_cache_tokens=9_000),
        EngineOptions(models=("llama",), inter_token_s=0.018, kv_cache_tokens=9_000),
        EngineOptions(models=("llama",), inter_token_s=0.018, kv_cache_tokens=9_000),
    ],
    "llama-3.1-70b:awq-int4": [
        EngineOptions(engine="tgi", models=("llama",), inter_token_s=0.012, max_num_seqs=2)
    ],
    "qwen-2.5-7b:q4_k_m": [
        EngineOptions(engine="llamacpp", models=("qwen",), inter_token_s=0.006, max_num_seqs=4)
    ],
}
_KEYS = {"team-search": 0.6, "batch-eval": 0.3, "notebook": 0.1}


@asynccontextmanager
async def a_scene() -> AsyncIterator[str]:
    """The address of a gateway that is busy; one replica is away."""
    async with AsyncExitStack() as stack:
        models: dict[str, dict[str, Any]] = {}
        for name, options in _ENGINES.items():
            engines = [await stack.enter_async_context(serve_engine(one)) for one in options]
            if options[0].engine == "llamacpp":
                engines[0].inject("status=500", count=None, for_s=None, probability=0.05)
            model, _, tag = name.partition(":")
            replicas = [
                {"url": engine.url, "name": f"{options[0].engine}-{number}"}
                for number, engine in enumerate(engines)
            ]
            if tag == "fp8":
                replicas[2]["url"] = "http://127.0.0.1:9"
            variant = {
                "quantization": tag,
                "engine": options[0].engine,
                "served_model": options[0].models[0],
                "replicas": replicas,
            }
            models.setdefault(model, {"name": model, "variants": []})["variants"].append(variant)
        document = {
            "models": list(models.values()),
            "plans": [
                {
                    "name": "default",
                    "requests_per_minute": 600,
                    "tokens_per_minute": 20_000,
                    "concurrent_requests": 32,
                },
                {"name": "small", "requests_per_minute": 20, "tokens_per_hour": 40_000},
            ],
            "keys": [
                {
                    "name": name,
                    "plan": "small" if name == "notebook" else "default",
                    "secret": {"value": f"sk-{name}"},
                }
                for name in _KEYS
            ],
        }
        environ = {"GATEWAY_ADMIN_KEY": _KEY}
        it = await stack.enter_async_context(running(document, environ=environ))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_load, it.url)
            yield it.url
            tasks.cancel_scope.cancel()


async def _load(url: str) -> None:
    rng = random.Random(7)
    names = [*_ENGINES, "llama-3.1-70b", "llama-3.1-70b"]
    async with httpx.AsyncClient(timeout=60) as client, anyio.create_task_group() as tasks:
        while True:
            await anyio.sleep(rng.expovariate(9.0))
            tasks.start_soon(_call, client, url, rng, rng.choice(names))


async def _call(client: httpx.AsyncClient, url: str, rng: random.Random, model: str) -> None:
    key = rng.choices(list(_KEYS), list(_KEYS.values()))[0]
    headers = {"authorization": f"Bearer sk-{key}"}
    if rng.random() < 0.02:
        model = "llama-3.1-7b"  # no such model
    words = " ".join(["word"] * rng.randint(20, 400))
    body = {
        "model": model,
        "messages": [{"role": "user", "content": words}],
        "max_tokens": rng.randint(20, 140),
        "stream": True,
    }
    try:
        async with client.stream(
            "POST", f"{url}/v1/chat/completions", json=body, headers=headers
        ) as answer:
            async for _ in answer.aiter_bytes():
                pass
    except httpx.HTTPError:
        return


async def sign_in(page: Page, url: str, key: str = _KEY) -> None:
    await page.goto(f"{url}/dashboard")
    await page.get_by_label("Admin key").fill(key)
    await page.get_by_role("button", name="Watch").click()
    await page.get_by_role("heading", name="Models").wait_for()


async def take(folder: Path) -> None:
    """All pictures, in half a minute."""
    async with a_scene() as url, a_browser() as browser, AsyncExitStack() as stack:

        async def open_page(scheme: str, **context: Any) -> Page:
            page = await stack.enter_async_context(
                a_page(browser, color_scheme=scheme, reduced_motion="reduce", **context)
            )
            await sign_in(page, url)
            return page

        light, dark = await open_page("light", **_WIDE), await open_page("dark", **_WIDE)
        phone = await open_page("light", **_PHONE)
        phone_dark = await open_page("dark", **_PHONE)
        talking = await open_page("light", **_WIDE)
        await _talk(phone_dark)
        await _talk(talking)
        await talking.screenshot(path=folder / "playground-light.png")
        await anyio.sleep(_LOAD_S)
        await light.screenshot(path=folder / "dashboard-light.png")
        await dark.screenshot(path=folder / "dashboard-dark.png")
        await phone.screenshot(path=folder / "dashboard-phone.png")
        await phone_dark.screenshot(path=folder / "playground-phone.png")


async def _talk(page: Page) -> None:
    await page.get_by_role("link", name="Playground").click()
    await page.get_by_label("Model", exact=True).select_option("llama-3.1-70b:fp8")
    await page.get_by_label("API key").fill("sk-team-search")
    await page.get_by_label("Max tokens").fill("60")
    await page.get_by_label("Message").fill("What does a sluice gate do?")
    await page.get_by_role("button", name="Send").click()
    await page.locator("#measured").get_by_text("Ended by").wait_for()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    target.mkdir(parents=True, exist_ok=True)
    asyncio.run(take(target))
