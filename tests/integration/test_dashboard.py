"""The page at `/dashboard` in real Chromium, in front of real sockets."""

import json
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.admin import KEY
from tests.support.browser import a_browser, a_page
from tests.support.child import a_child
from tests.support.leaks import PROMPT
from tests.support.ports import free_port
from tests.support.running import FAST, Running, running
from tests.support.served import PATH, served

pytestmark = pytest.mark.timeout(180)

ENVIRON = {"GATEWAY_ADMIN_KEY": KEY}
SECRET = "sk-caller"
# a name that would do harm as HTML, and a message that would in a shell
NAME = "<img/src=x/onerror=alert(1)>"
MESSAGE = "It's $HOME `id` <b>bold</b>"
PHONE: Mapping[str, Any] = {
    "viewport": {"width": 360, "height": 740},
    "is_mobile": True,
    "has_touch": True,
}
SLOW = EngineOptions(models=("sim",), inter_token_s=0.05, inter_token_s_per_running=0.0)
_WITHIN_MS = 20_000


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with a_browser() as one:
        yield one


def a_document(*urls: str, **more: Any) -> dict[str, Any]:
    """Model `m` with the variant `fp8` on these engines, and a key with limits."""
    variant = {
        "quantization": "fp8",
        "engine": "vllm",
        "served_model": "sim",
        "replicas": [{"url": url, "name": f"r{number}"} for number, url in enumerate(urls)],
    }
    plan = {"name": "default", "requests_per_minute": 60}
    key = {"name": NAME, "plan": "default", "secret": {"value": SECRET}}
    return {"models": [{"name": "m", "variants": [variant]}], "plans": [plan], "keys": [key]} | more


@asynccontextmanager
async def a_fleet(options: EngineOptions = FAST, replicas: int = 2) -> AsyncIterator[Running]:
    async with AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(serve_engine(options)) for _ in range(replicas)]
        document = a_document(*(engine.url for engine in engines))
        yield await stack.enter_async_context(running(document, engines, environ=ENVIRON))


async def sign_in(page: Page, url: str) -> None:
    await page.goto(f"{url}/dashboard")
    await page.get_by_label("Admin key").fill(KEY)
    await page.get_by_role("button", name="Watch").click()
    await expect(page.get_by_role("heading", name="Models")).to_be_visible(timeout=_WITHIN_MS)


async def call(url: str, times: int = 1, secret: str = SECRET, **more: Any) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 4} | more
    headers = {"authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(timeout=20) as client:
        for _ in range(times):
            await client.post(url + PATH, json=body | {"stream": True}, headers=headers)


async def test_the_admin_key_opens_it_and_stays_in_the_tab(browser: Browser) -> None:
    async with a_fleet() as it, a_page(browser) as page:
        asked: list[str] = []
        page.on("request", lambda one: asked.append(one.url))
        await page.goto(f"{it.url}/dashboard")
        await page.get_by_label("Admin key").fill("wrong")
        await page.keyboard.press("Enter")
        problem = page.locator("#door-problem")
        await expect(problem).to_contain_text("admin key", timeout=_WITHIN_MS)
        await expect(page.get_by_role("heading", name="Models")).to_be_hidden()

        await page.get_by_label("Admin key").fill(KEY)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Models")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("heading", name="Models")).to_be_visible()
        assert not [url for url in asked if KEY in url]
        assert not await page.context.cookies()
        assert await page.evaluate("localStorage.length") == 0

        await page.get_by_role("button", name="Sign out").click()
        await page.reload()
        await expect(page.get_by_label("Admin key")).to_be_visible()
        await expect(page.get_by_role("heading", name="Models")).to_be_hidden()
        assert await page.evaluate("sessionStorage.length") == 0


async def test_calls_show_up_with_their_failures_and_limits(browser: Browser) -> None:
    async with a_fleet() as it, a_page(browser) as page:
        await sign_in(page, it.url)
        await call(it.url, 20)
        await call(it.url, model="nobody")
        figure = page.locator(".figure", has_text="Requests per second").locator("dd.number")
        await expect(figure).to_have_text(re.compile("[1-9]"), timeout=_WITHIN_MS)
        model = page.locator("article.model")
        await expect(model.locator(".facts")).to_contain_text(re.compile(r"TTFT \d"))
        await expect(model.locator("tbody tr")).to_have_count(2)
        await expect(model.locator("tbody tr").first).to_contain_text("ready")
        failure = page.locator("article.failure")
        await expect(failure).to_contain_text("404 model_not_found")
        await expect(failure.locator("code")).to_have_text(it.log.requests[-1]["request_id"])
        await page.get_by_label("without the clients' own").check()
        await expect(failure).to_have_count(0, timeout=_WITHIN_MS)
        await page.get_by_label("without the clients' own").uncheck()
        await expect(failure).to_have_count(1, timeout=_WITHIN_MS)
        key = page.locator("article.key")
        await expect(key).to_contain_text(re.compile(r"[345]\d of 60 left"), timeout=_WITHIN_MS)
        await expect(key).to_contain_text(NAME)  # as text
        assert await page.locator("img").count() == 0


async def test_a_killed_engine_is_told_and_so_is_its_return(browser: Browser) -> None:
    port = str(free_port())
    command = ("simulate", "--engine", "vllm", "--model", "sim", "--port", port)
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(serve_engine(FAST))
        dying = await stack.enter_async_context(a_child(*command))
        await dying.says(port)
        document = a_document(engine.url, f"http://127.0.0.1:{port}")
        it = await stack.enter_async_context(running(document, environ=ENVIRON))
        page = await stack.enter_async_context(a_page(browser))
        await sign_in(page, it.url)
        row = page.locator("tbody tr", has_text="r1")
        await expect(row.locator(".health")).to_have_text("ready")
        await expect(page.locator(".share")).to_have_text("2 replicas")

        dying.signal(signal.SIGKILL)
        await expect(row.locator(".health")).to_have_text("unhealthy", timeout=_WITHIN_MS)
        await expect(row).to_contain_text("probe failed")
        await expect(page.locator(".share")).to_have_text("1 of 2 replicas serving")
        news = page.get_by_role("status").filter(has_text="r1 of m:fp8 is unhealthy")
        await expect(news).to_have_count(1)
        await call(it.url)  # the other one serves

        back = await stack.enter_async_context(a_child(*command))
        await back.says(port)
        await expect(row.locator(".health")).to_have_text("ready", timeout=_WITHIN_MS)


async def test_the_playground_streams_measures_and_gives_the_curl(browser: Browser) -> None:
    async with a_fleet() as it, a_page(browser) as page:
        await sign_in(page, it.url)
        await page.get_by_role("link", name="Playground").click()
        assert await page.locator("#model option").all_text_contents() == ["m", "m:fp8"]
        await page.get_by_label("Model", exact=True).select_option("m:fp8")
        await page.get_by_label("API key").fill(SECRET)
        await page.get_by_label("System prompt").fill("Be brief.")
        await page.get_by_label("Max tokens").fill("12")
        await page.get_by_label("Message").fill(MESSAGE)
        await page.keyboard.press("Enter")
        measured = page.locator("#measured")
        await expect(measured).to_contain_text("Ended by", timeout=_WITHIN_MS)
        for name in ("Time to first token", "Tokens per second", "12 out", "length"):
            await expect(measured).to_contain_text(name)
        await expect(measured).to_contain_text(it.log.requests[-1]["request_id"])
        said = page.locator(".message .said")
        await expect(said.first).to_have_text(MESSAGE)
        answer = await said.last.text_content()
        assert answer

        curl = await page.locator("#curl").text_content()
        assert curl
        assert SECRET not in curl
        run = await anyio.run_process(
            ["bash", "-c", curl], env={**os.environ, "OPENAI_API_KEY": SECRET}, check=True
        )
        assert run.stdout.rstrip().endswith(b"data: [DONE]")
        by_page, by_curl = it.log.requests[-2:]
        same = ("variant", "prompt_tokens", "completion_tokens", "stream", "status")
        assert [by_page[name] for name in same] == [by_curl[name] for name in same]

        # the conversation goes on with what was said
        await page.get_by_label("Message").fill("And?")
        await page.keyboard.press("Enter")
        await expect(said).to_have_count(4)
        body = json.loads(re.search(r"-d '(.*)'$", await _curl(page), re.DOTALL)[1])  # type: ignore[index]
        assert [one["role"] for one in body["messages"]] == ["system", "user", "assistant", "user"]


async def _curl(page: Page) -> str:
    return (await page.locator("#curl").text_content() or "").replace("'\\''", "'")


async def test_the_playground_tells_failures_and_can_be_stopped(browser: Browser) -> None:
    async with a_fleet(SLOW) as it, a_page(browser) as page:
        await sign_in(page, it.url)
        await page.get_by_role("link", name="Playground").click()
        await page.get_by_label("API key").fill("sk-wrong")
        await page.get_by_label("Message").fill("Hi")
        await page.get_by_role("button", name="Send").click()
        alert = page.locator("#messages").get_by_role("alert")
        await expect(alert).to_contain_text("incorrect API key", timeout=_WITHIN_MS)

        await page.get_by_label("API key").fill(SECRET)
        await page.get_by_label("Message").fill("Hi")
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator(".said").last).to_have_text(re.compile(r"\w+ \w+"))
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator(".message").last).to_contain_text("Stopped.")
        await it.settled()
        assert it.log.requests[-1]["outcome"] == "client_gone"
        await expect(page.get_by_role("button", name="Send")).to_be_visible()


async def test_a_gateway_that_goes_away_is_told_and_found_again(
    browser: Browser, tmp_path: Path
) -> None:
    port = str(free_port())
    async with a_page(browser) as page:
        async with served(tmp_path, "--port", port, environ=ENVIRON) as it:
            await sign_in(page, it.url)
            link = page.locator("#link")
            await expect(link).to_have_text("Live")
            it.child.signal(signal.SIGKILL)
            await expect(link).to_contain_text("Reconnecting", timeout=_WITHIN_MS)
        async with served(tmp_path, "--port", port, environ=ENVIRON):
            await expect(link).to_have_text("Live", timeout=_WITHIN_MS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_everybody_can_use_it(browser: Browser, scheme: str) -> None:
    """What axe finds wrong: contrast, names, roles, order of headings, and more."""
    async with a_fleet() as it, a_page(browser, color_scheme=scheme) as page:
        await page.goto(f"{it.url}/dashboard")
        await _axe(page)
        await sign_in(page, it.url)
        await call(it.url, 3)
        await call(it.url, model="nobody")
        await expect(page.locator("article.failure")).to_be_visible(timeout=_WITHIN_MS)
        await _axe(page)
        await page.get_by_role("link", name="Playground").click()
        await page.get_by_label("API key").fill(SECRET)
        await page.get_by_label("Message").fill("Hi")
        await page.keyboard.press("Enter")
        await expect(page.locator("#measured")).to_contain_text("Ended by", timeout=_WITHIN_MS)
        await _axe(page)


async def _axe(page: Page) -> None:
    found = await Axe().run(page)
    wrong = [
        f"{one['id']}: {one['help']}: {[node['html'] for node in one['nodes']]}"
        for one in found.response["violations"]
    ]
    assert not wrong, "\n".join(wrong)


async def test_a_keyboard_is_enough(browser: Browser) -> None:
    async with a_fleet() as it, a_page(browser) as page:
        await page.goto(f"{it.url}/dashboard")
        await expect(page.get_by_label("Admin key")).to_be_focused()
        await page.keyboard.type(KEY)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Models")).to_be_visible(timeout=_WITHIN_MS)
        await page.reload()
        await page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        await expect(skip).to_be_focused()
        await expect(skip).to_be_in_viewport()
        await expect(page.get_by_role("heading", name="Models")).to_be_visible(timeout=_WITHIN_MS)
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Playground")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Message")).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("button", name="Theme")).to_be_focused()


async def test_a_phone_shows_all_of_it_without_scrolling_sideways(browser: Browser) -> None:
    async with a_fleet() as it, a_page(browser, **PHONE) as page:
        await sign_in(page, it.url)
        await call(it.url, 3)
        await call(it.url, model="nobody")
        await expect(page.locator("article.failure")).to_be_visible(timeout=_WITHIN_MS)
        await _fits(page)
        await expect(page.locator("tbody tr").first.get_by_role("rowheader")).to_be_visible()
        await page.get_by_role("link", name="Playground").tap()
        await expect(page.get_by_label("Message")).to_be_visible()
        await _fits(page)


async def _fits(page: Page) -> None:
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= await page.evaluate("document.documentElement.clientWidth") == 360


async def test_light_and_dark_follow_the_system_until_somebody_chooses(browser: Browser) -> None:
    async def ground() -> str:
        found: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        return found

    async with a_fleet() as it, a_page(browser, color_scheme="dark") as page:
        await page.goto(f"{it.url}/dashboard")
        dark = await ground()
        await page.emulate_media(color_scheme="light")
        light = await ground()
        assert light != dark
        theme = page.get_by_role("button", name="Theme")
        await theme.click()
        await theme.click()
        await expect(theme).to_have_text("Dark")
        assert await ground() == dark
        await page.reload()
        assert await ground() == dark
