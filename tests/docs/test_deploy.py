"""The files of deploy/ agree with the code and with each other, as far as parsers can tell."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli.main import app
from gateway.config.settings import PREFIX, Settings
from tests.support.child import CHECKOUT
from tests.support.command import run_command

DEPLOY = CHECKOUT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = sorted(
    path for path in (DEPLOY / "compose").glob("*.yaml") if ".gateway." not in path.name
)
LOCKS = ("requirements.txt", "build-requirements.txt")


class _Compose(yaml.SafeLoader):
    """Compose's own tags say how files are merged: what they stand before counts here."""


def _overriding(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


_Compose.add_constructor("!override", _overriding)


def services(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.load(path.read_text(), Loader=_Compose)["services"]
    return found


def stage(number: int) -> str:
    return re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[number + 1]


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_the_gateways_file_of_a_compose_file_is_a_configuration(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (volume,) = services(path)["gateway"]["volumes"]
    file = path.parent / volume.partition(":")[0]
    monkeypatch.setenv("TEAM_SEARCH_KEY", "sk-test")
    monkeypatch.setenv("GATEWAY_REDIS_URL", "redis://redis:6379/0")
    assert run_command("check", str(file)).code == 0
    hosts = re.findall(r"url: http://([a-z]+):", file.read_text())
    known = services(path) | services(DEPLOY / "compose/vllm.yaml")
    assert hosts
    assert set(hosts) <= known.keys()


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_images_are_pinned(path: Path) -> None:
    for name, service in services(path).items():
        if "image" in service:
            _, _, tag = service["image"].rpartition(":")
            assert re.search(r"\d", tag), name
        if name == "gateway" and "image" in service:
            assert service["image"] == f"sluicegate:{__version__}"
            assert (
                path.parent / service["build"]["context"] / service["build"]["dockerfile"]
            ).exists()


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_a_compose_file_tells_the_gateway_what_it_reads(path: Path) -> None:
    for name in services(path)["gateway"].get("environment", {}):
        if name.startswith(PREFIX):
            assert name.removeprefix(PREFIX).lower() in Settings.model_fields


def test_the_image_runs_as_nobody_in_particular() -> None:
    assert re.search(r"^USER 10001:10001$", stage(1), re.MULTILINE)
    assert "HEALTHCHECK" in stage(1)
    assert "pip" not in stage(1)


def test_every_package_of_the_image_is_held_to_its_hash() -> None:
    for line in re.findall(r"pip.* install .*", stage(0)):
        assert "--require-hashes" in line or "--no-deps /dist/*.whl" in line


def test_what_the_image_copies_is_let_through_and_there() -> None:
    let_through = (CHECKOUT / ".dockerignore").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE):
        for name in line.split():
            assert f"!{name}\n" in let_through
            assert (CHECKOUT / name).exists()


def test_the_image_starts_a_command_that_exists() -> None:
    (command,) = re.findall(r'^CMD \["(\w+)"\]$', stage(1), re.MULTILINE)
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
    (variable,) = re.findall(rf"{PREFIX}CONFIG=\S+", stage(1))
    assert variable.endswith("/gateway.yaml")


def test_the_locks_have_every_package_that_the_project_asks_for() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    asked = {re.split(r"[^\w-]", one)[0] for one in project["project"]["dependencies"]}
    locked = re.findall(r"^([\w-]+)==", (DEPLOY / LOCKS[0]).read_text(), re.MULTILINE)
    assert asked <= set(locked)


def test_what_builds_beside_what_runs_is_the_same() -> None:
    """Both are installed into one environment to compile: a package has one version there."""
    runs, builds = (
        dict(re.findall(r"^([\w-]+)==(\S+)", (DEPLOY / lock).read_text(), re.MULTILINE))
        for lock in LOCKS
    )
    assert {name: runs[name] for name in runs & builds.keys()} == {
        name: builds[name] for name in runs & builds.keys()
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_host(lock: str) -> None:
    text = (DEPLOY / lock).read_text()
    assert "://" not in text
    assert "index" not in text
    packages = re.split(r"^(?=[\w-]+==)", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in package for package in packages)


def test_the_service_starts_a_command_that_exists() -> None:
    unit = (DEPLOY / "systemd/sluicegate.service").read_text()
    for words in re.findall(r"^ExecStart(?:Pre)?=\S+/gateway (.*)$", unit, re.MULTILINE):
        shown = CliRunner().invoke(app, [words.split()[0], "--help"]).output
        assert all(word in shown for word in words.split() if word.startswith("--"))


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_understands_the_service(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd/sluicegate.service").read_text()
    file = tmp_path / "sluicegate.service"
    file.write_text(unit.replace("/opt/sluicegate/bin/gateway", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False
    )
    assert "sluicegate.service" not in done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(
    "link", re.findall(r"\]\(([^)#]+)[^)]*\)", (DEPLOY / "README.md").read_text())
)
def test_a_link_leads_somewhere(link: str) -> None:
    assert (DEPLOY / link).exists()
