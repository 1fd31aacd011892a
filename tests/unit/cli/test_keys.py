import json
from collections.abc import Iterator
from typing import Any

import pytest
import respx

from tests.support.command import Outcome, run_command

ADMIN = "http://localhost:8080/admin"
KEY: dict[str, Any] = {
    "name": "team",
    "source": "redis",
    "plan": "p",
    "state": "active",
    "limits": {"requests_per_minute": 60, "burst": {"requests_per_minute": 5}},
    "own_limits": {},
    "created_unix_s": 1_795_600_000.0,
    "changed_unix_s": 1_795_600_000.0,
    "old_secret_ends_unix_s": None,
}
FILED = KEY | {
    "name": "filed",
    "source": "file",
    "limits": {},
    "own_limits": None,
    "created_unix_s": None,
    "changed_unix_s": None,
}
SECRET = KEY | {"secret": "sk-new"}


@pytest.fixture(autouse=True)
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[respx.MockRouter]:
    monkeypatch.setenv("GATEWAY_ADMIN_KEY", "sk-admin")
    with respx.mock(base_url=ADMIN, assert_all_called=False) as router:
        yield router


def run(*arguments: str) -> Outcome:
    outcome = run_command("keys", *arguments)
    assert outcome.code == 0, outcome.err
    return outcome


def test_the_list_is_a_table(gateway: respx.MockRouter) -> None:
    gateway.get("/keys").respond(json={"keys": [FILED, KEY]})
    shown = run("list").out
    assert [
        word for word in ("filed", "team", "redis", "2026-11-25 09:46:40") if word in shown
    ] == [
        "filed",
        "team",
        "redis",
        "2026-11-25 09:46:40",
    ]
    assert "requests_per_minute 60" in shown
    assert "burst.requests_per_minute 5" in shown


@pytest.mark.parametrize(
    ("arguments", "method", "path", "answer"),
    [
        (("list",), "GET", "/keys", {"keys": [KEY]}),
        (("show", "team"), "GET", "/keys/team", KEY),
        (("create", "team"), "POST", "/keys", SECRET),
        (("rotate", "team"), "POST", "/keys/team/rotate", SECRET),
        (("disable", "team"), "POST", "/keys/team/disable", KEY),
        (("enable", "team"), "POST", "/keys/team/enable", KEY),
        (("delete", "team"), "DELETE", "/keys/team", KEY),
        (("limits", "team"), "GET", "/limits/team", {"limits": []}),
        (("usage",), "GET", "/usage", {"usage": []}),
        (("audit",), "GET", "/audit", {"entries": []}),
    ],
)
def test_every_command_prints_data_as_it_came(
    gateway: respx.MockRouter,
    arguments: tuple[str, ...],
    method: str,
    path: str,
    answer: dict[str, Any],
) -> None:
    gateway.request(method, path).respond(json=answer)
    outcome = run(*arguments, "--json")
    assert json.loads(outcome.out) == answer
    assert outcome.err == ""


@pytest.mark.parametrize(
    ("command", "method", "path"),
    [
        ("show", "GET", "/keys/team"),
        ("disable", "POST", "/keys/team/disable"),
        ("enable", "POST", "/keys/team/enable"),
        ("delete", "DELETE", "/keys/team"),
    ],
)
def test_one_key_is_a_table_of_one(
    gateway: respx.MockRouter, command: str, method: str, path: str
) -> None:
    state = {"state": "plan_not_found", "old_secret_ends_unix_s": 1_795_600_000.0}
    gateway.request(method, path).respond(json=KEY | state)
    shown = run(command, "team").out
    assert "plan not found" in shown
    assert "old secret until 2026-11-25 09:46:40" in shown


def test_a_new_key_is_asked_for_with_its_numbers(gateway: respx.MockRouter) -> None:
    made = gateway.post("/keys").respond(201, json=SECRET)
    limits = ["tokens_per_minute=1000", "requests_per_day=none", "burst.tokens_per_minute=50"]
    outcome = run("create", "team", "--plan", "p", *(f"--limit={one}" for one in limits))
    assert json.loads(made.calls.last.request.content) == {
        "name": "team",
        "plan": "p",
        "limits": {
            "tokens_per_minute": 1000,
            "requests_per_day": None,
            "burst": {"tokens_per_minute": 50},
        },
    }
    assert "secret: sk-new\n" in outcome.out
    assert "shown this once" in outcome.err


@pytest.mark.parametrize("limit", ["tokens_per_minute", "tokens_per_minute=many", "x=-1", "x=²"])
def test_a_number_has_to_be_one(gateway: respx.MockRouter, limit: str) -> None:
    outcome = run_command("keys", "create", "team", "--limit", limit)
    assert outcome.code == 2
    assert "RULE=NUMBER" in outcome.err
    assert not gateway.calls


def test_a_rotation_says_how_long_the_old_secret_is_good(gateway: respx.MockRouter) -> None:
    rotated = gateway.post("/keys/team/rotate").respond(json=SECRET)
    outcome = run("rotate", "team", "--grace-s", "60")
    assert json.loads(rotated.calls.last.request.content) == {"grace_s": 60}
    assert "secret: sk-new\n" in outcome.out


def test_limits_show_levels_and_holds(gateway: respx.MockRouter) -> None:
    told = {
        "key": "team",
        "plan": "p",
        "store_state": "ok",
        "limits": [
            {"rule": "tokens_per_minute", "limit": 900, "burst": 90, "left": 7, "reset_s": 1.25},
            {"rule": "concurrent_requests", "limit": 3, "burst": 3, "left": 1, "reset_s": None},
        ],
        "slots_in_use": 2,
        "holds": [
            {"process": "ab12", "hold": "7", "lease_s": 14.46},
            {"process": "ab12", "hold": "8", "lease_s": None},
        ],
    }
    gateway.get("/limits/team").respond(json=told)
    outcome = run("limits", "team")
    for shown in ("tokens_per_minute", "900", "90", "1.25 s", "ab12", "14.5 s"):
        assert shown in outcome.out
    assert outcome.err == ""


@pytest.mark.parametrize("holds", [None, []])
def test_levels_that_are_one_process_own_are_told(
    gateway: respx.MockRouter, holds: list[object] | None
) -> None:
    told = {"store_state": "local", "limits": [], "holds": holds}
    gateway.get("/limits/team").respond(json=told)
    outcome = run("limits", "team")
    assert outcome.err == "Redis is away (local): this is one process's view\n"
    assert "process" not in outcome.out


USED = {"input_tokens": 10, "output_tokens": 5, "cached_tokens": 2, "requests": 3, "errors": 1}


def test_usage_is_a_table_with_its_sums(gateway: respx.MockRouter) -> None:
    entry = {"day": "2026-11-25", "key": "team", "model": "org/m"} | USED
    total = {name: 100 * amount for name, amount in USED.items()}
    asked = gateway.get("/usage").respond(json={"usage": [entry], "total": total})
    shown = run("usage", "team", "--from", "2026-11-01", "--to", "2026-11-25").out
    for word in ("2026-11-25", "org/m", "input tokens", "10", "total", "1000"):
        assert word in shown
    query = dict(asked.calls.last.request.url.params)
    assert query == {"from": "2026-11-01", "to": "2026-11-25", "key": "team"}


def test_usage_is_csv_where_it_is_asked_for(gateway: respx.MockRouter) -> None:
    asked = gateway.get("/usage").respond(text="day,key\r\n2026-11-25,team\r\n")
    assert run("usage", "--csv").out == "day,key\n2026-11-25,team\n"
    assert dict(asked.calls.last.request.url.params) == {"format": "csv"}


def test_usage_is_one_thing_at_a_time() -> None:
    outcome = run_command("keys", "usage", "--csv", "--json")
    assert outcome.code == 2
    assert "one of --csv, --json" in outcome.err


def test_the_audit_log_is_a_table(gateway: respx.MockRouter) -> None:
    entry = {
        "id": "1-0",
        "time_unix_s": 1_795_600_000.0,
        "action": "create",
        "key": "team",
        "request_id": "req_1",
        "detail": {"plan": "p", "limits": {"tokens_per_minute": None}, "grace_s": 60.0},
    }
    asked = gateway.get("/audit").respond(json={"entries": [entry]})
    shown = run("audit", "--limit", "5").out
    for word in ("2026-11-25 09:46:40", "create", "team", "req_1", "plan p"):
        assert word in shown
    assert "limits.tokens_per_minute none, grace_s 60 " in shown
    assert dict(asked.calls.last.request.url.params) == {"limit": "5"}


def test_the_admin_key_is_no_option() -> None:
    assert "--admin-key" not in run_command("keys", "create", "--help").out
