import json

import httpx
import pytest
import respx

from tests.support.command import run_command

TOLD = {
    "model": "m",
    "reason": "spilled",
    "variants": [
        {"variant": "m:bf16", "usable": True, "in_line": 4, "ttft_s": 3.25, "excess": 1.625},
        {"variant": "m:fp8", "usable": True, "in_line": 0, "ttft_s": None, "excess": 0},
        {"variant": "m:int4", "usable": False},
    ],
    "prompt_blocks": 3,
    "choices": [
        {
            "variant": "m:fp8",
            "policy": "prefix-affinity",
            "replica": "r1",
            "url": "http://b:8000",
            "usable": True,
            "cost": 1.5,
            "parts": {"uncached": 1.0, "requests": 0.5, "home": 0.0},
        }
    ],
}


@pytest.fixture(autouse=True)
def _admin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_KEY", "admin")


@respx.mock
def test_a_table_shows_what_each_replica_costs_and_why() -> None:
    route = respx.get("http://gw/admin/route").mock(httpx.Response(200, json=TOLD))
    outcome = run_command("explain", "m", "--url", "http://gw", "--session", "s")
    assert outcome.code == 0
    assert dict(route.calls.last.request.url.params) == {"model": "m", "session": "s"}
    for text in (
        "because: spilled",
        "m:bf16",
        "3.25",
        "1.625",
        "m:int4",
        "m:fp8",
        "r1 http://b:8000",
        "1.5",
        "uncached 1, requests 0.5",
    ):
        assert text in outcome.out
    assert "home" not in outcome.out


@respx.mock
def test_a_prompt_is_sent_along_and_the_answer_shown_as_data() -> None:
    route = respx.post("http://gw/admin/route").mock(httpx.Response(200, json=TOLD))
    outcome = run_command("explain", "m", "--url", "http://gw", "--prompt", "hi", "--json")
    assert json.loads(outcome.out) == TOLD
    sent = json.loads(route.calls.last.request.content)
    assert sent == {"messages": [{"role": "user", "content": "hi"}]}


@respx.mock
def test_what_the_gateway_says_against_it_is_told() -> None:
    error = {"error": {"message": 'model "m" is not served here'}}
    respx.get("http://gw/admin/route").mock(httpx.Response(404, json=error))
    outcome = run_command("explain", "m", "--url", "http://gw")
    assert outcome.code == 1
    assert "not served here" in outcome.err
