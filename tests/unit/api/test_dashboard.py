import re

import pytest

from gateway.api.dashboard import dashboard_router
from tests.support.asked_app import ask

FILES = ("style.css", "theme.js", "app.js", "mark.svg")


async def test_the_page_needs_no_key_and_holds_no_data() -> None:
    answer = await ask(dashboard_router(), path="/dashboard")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!doctype html>")


@pytest.mark.parametrize("path", ["/dashboard", *(f"/dashboard/{name}" for name in FILES)])
async def test_nothing_inline_nothing_from_elsewhere_and_no_frame(path: str) -> None:
    answer = await ask(dashboard_router(), path=path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy
    for rule in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert rule in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    page = re.sub(r'xmlns="[^"]*"|"http://www.w3.org/2000/svg"', "", answer.text)
    assert not re.search(r"https?://|style=|\son[a-z]+=|innerHTML|eval\(", page)


async def test_every_file_that_is_named_is_there() -> None:
    page = await ask(dashboard_router(), path="/dashboard")
    named = set(re.findall(r'(?:href|src)="(dashboard/[^"]+)"', page.text))
    assert named == {f"dashboard/{name}" for name in FILES}
    seen: set[str] = set()
    waiting = ["app.js"]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            module = await ask(dashboard_router(), path=f"/dashboard/{name}")
            assert module.status_code == 200, name
            assert module.headers["content-type"] == "text/javascript; charset=utf-8"
            waiting += re.findall(r'from "\./([^"]+)"', module.text)
    assert len(seen) > 5


async def test_what_a_browser_has_already_is_not_sent_again() -> None:
    first = await ask(dashboard_router(), path="/dashboard/app.js")
    again = await ask(
        dashboard_router(),
        path="/dashboard/app.js",
        headers={"if-none-match": first.headers["etag"]},
    )
    assert (again.status_code, again.content) == (304, b"")
    assert first.headers["cache-control"] == "no-cache"


async def test_a_slash_at_the_end_leads_to_the_page_whatever_is_in_front() -> None:
    answer = await ask(dashboard_router(), path="/dashboard/")
    assert (answer.status_code, answer.headers["location"]) == (308, "../dashboard")


@pytest.mark.parametrize("name", ["nope.js", "..%2fadmin.py", "__init__.py", ".."])
async def test_nothing_else_is_served(name: str) -> None:
    answer = await ask(dashboard_router(), path=f"/dashboard/{name}")
    assert answer.status_code in (404, 308)
    assert "import" not in answer.text
    head = await ask(dashboard_router(), path="/dashboard", method="HEAD")
    assert head.status_code == 200
