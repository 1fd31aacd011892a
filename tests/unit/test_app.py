"""How a gateway is put together; what it then does is tested over sockets."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from gateway.app import build, from_environment
from gateway.config.document import Document
from gateway.config.settings import load_settings
from gateway.errors import ConfigInvalid
from gateway.fleet.health import HealthRules
from tests.support.configs import a_document, a_model
from tests.support.fake_clock import FakeClock


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """Logging as it was, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield root
    root.handlers = handlers
    root.setLevel(level)


def problems_of(document: Document) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as invalid:
        build(document, load_settings({}), environ={})
    return invalid.value.problems


def test_a_wrong_document_is_refused_with_every_problem() -> None:
    problems = problems_of(
        a_document(
            a_model("m", fallbacks=["none"]),
            keys=[{"name": "team", "secret": {"from_env": "ABSENT"}}],
        )
    )
    assert len(problems) == 2
    assert problems[0].startswith("models[0].fallbacks[0]: ")
    assert problems[1].startswith("keys[0].secret: ")


def test_without_keys_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    build(a_document(), load_settings({}), environ={})
    assert [record.getMessage() for record in caplog.records] == ["no_keys_configured"]


def test_with_keys_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    keys = [{"name": "team", "secret": {"value": "sk-team"}}]
    build(a_document(keys=keys), load_settings({}), environ={})
    assert caplog.records == []


def test_no_key_at_all_is_told_and_an_empty_list_is_not(caplog: pytest.LogCaptureFixture) -> None:
    build(a_document(), load_settings({}), environ={})
    assert [record.getMessage() for record in caplog.records] == ["no_keys_configured"]
    caplog.clear()
    build(a_document(keys=[]), load_settings({}), environ={})
    assert caplog.records == []


def test_a_drain_is_seen_by_probes_and_by_calls() -> None:
    gateway = build(a_document(), load_settings({}), environ={})
    gateway.begin_drain()
    assert gateway.readiness.is_draining
    assert gateway.inference.exchange.is_draining


async def test_models_show_the_time_of_the_start() -> None:
    clock = FakeClock()
    gateway = build(a_document(), load_settings({}), environ={}, clock=clock)
    started = int(clock.unix_s())
    assert (await models_of(gateway.app)) == [("m", started)]


async def models_of(app: FastAPI) -> list[tuple[str, int]]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.get("/v1/models")
    return [(entry["id"], entry["created"]) for entry in answer.json()["data"]]


@pytest.mark.usefixtures("root_logger")
async def test_other_servers_get_the_application_of_the_named_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(json.dumps({"models": [a_model("from-a-file")]}))
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    ((name, _),) = await models_of(from_environment())
    assert name == "from-a-file"


def test_other_servers_are_told_when_no_file_is_named() -> None:
    with pytest.raises(ConfigInvalid, match="GATEWAY_CONFIG"):
        from_environment()


@pytest.mark.usefixtures("root_logger")
def test_other_servers_are_told_when_the_file_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(tmp_path / "absent.yaml"))
    with pytest.raises(ConfigInvalid, match="no such file"):
        from_environment()


def test_the_rules_of_health_are_those_of_the_file() -> None:
    written = {"consecutive_failures": 3, "ejection_s": 7.5, "panic_ratio": 0.25}
    fleet = build(
        a_document(health=written), load_settings({}), environ={}
    ).inference.exchange.fleet
    assert fleet.rules == HealthRules(consecutive_failures=3, ejection_s=7.5, panic_ratio=0.25)


def test_without_any_written_the_rules_are_the_usual_ones() -> None:
    fleet = build(a_document(), load_settings({}), environ={}).inference.exchange.fleet
    assert fleet.rules == HealthRules()
