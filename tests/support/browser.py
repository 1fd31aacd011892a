"""Real Chromium, driven by Playwright: Debian's, or whichever is on the path, or Playwright's own.

Where none can be had the test is skipped and says so; `make chromium` installs one.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from playwright.async_api import Browser, Page, async_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_CLOSE_S = 10.0
_QUIET = (
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@asynccontextmanager
async def a_browser() -> AsyncIterator[Browser]:
    """Headless. Skips the test where there is no Chromium."""
    async with async_playwright() as playwright:
        found = next(filter(None, map(shutil.which, _NAMES)), None)
        if found is None and not os.path.exists(playwright.chromium.executable_path):  # noqa: PTH110, ASYNC240  # one look
            pytest.skip(f"no Chromium: none of {', '.join(_NAMES)}; `make chromium` installs it")
        # its own sandbox does not work for root, nor in most containers
        alone = () if os.geteuid() else ("--no-sandbox",)
        browser = await playwright.chromium.launch(
            executable_path=found, args=[*_QUIET, *alone], timeout=60_000
        )
        try:
            yield browser
        finally:
            with anyio.move_on_after(_CLOSE_S, shield=True):
                await browser.close()


@asynccontextmanager
async def a_page(browser: Browser, **context: object) -> AsyncIterator[Page]:
    """A page of its own that fails the test when anything goes wrong on it.

    That is what is logged as an error (breaches of the content security policy among it), and
    exceptions that nobody caught. `context` is Playwright's, such as `color_scheme`.
    """
    own = await browser.new_context(**context)  # type: ignore[arg-type]  # passed on as it is
    page = await own.new_page()
    page.set_default_timeout(20_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    page.on("requestfailed", lambda one: wrong.append(f"{one.url}: {one.failure}"))
    try:
        yield page
        # the browser itself logs failures that the page is told of and shows
        allowed = ("Failed to load resource", "net::ERR_ABORTED", "/admin/live", "/v1/chat/")
        assert not [one for one in wrong if not any(text in one for text in allowed)], wrong
    finally:
        with anyio.move_on_after(_CLOSE_S, shield=True):
            await own.close()
