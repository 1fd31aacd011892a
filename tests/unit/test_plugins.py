from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from gateway.errors import ConfigInvalid
from gateway.plugins import GROUP, installed_policies, with_ours
from gateway.routing import POLICIES
from gateway.routing.least_loaded import LeastLoaded
from tests.support.command import run_command
from tests.support.policy_package import install_policies

MODEL = "models: [{name: m, engine: vllm, url: http://a, policy: last}]\n"


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def test_ours_come_first_and_those_of_packages_after_them() -> None:
    found = with_ours([entry("theirs", "gateway.routing.least_loaded:LeastLoaded")])
    assert list(found) == [*POLICIES, "theirs"]
    assert found["theirs"] is LeastLoaded


def test_nothing_is_installed_beside_us() -> None:
    assert installed_policies() == POLICIES


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("least-loaded", "builtins:dict", "there is a policy of this name already"),
        ("theirs", "no_such_package:It", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("theirs", "builtins:NoSuch", "AttributeError: module 'builtins' has no"),
        (
            "theirs",
            "builtins:dict",
            "TypeError: what it makes is no policy, it has no pick, scores, reads_prefix",
        ),
    ],
)
def test_what_is_no_policy_is_told(name: str, value: str, why: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        with_ours([entry(name, value), entry("fine", "gateway.routing.least_loaded:LeastLoaded")])
    (problem,) = caught.value.problems
    assert problem.startswith(f"the policy {name} ({value}): {why}")


def test_a_package_adds_one_for_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(MODEL)
    assert run_command("check", str(file)).code == 2
    monkeypatch.syspath_prepend(install_policies(tmp_path / "packages"))
    assert run_command("check", str(file)).code == 0
    short = ("--replicas", "2", "--duration", "4", "--warmup", "1", "--workload", "chat")
    outcome = run_command("bench", "routing", *short, "--policy", "last")
    assert outcome.code == 0
    assert "last" in outcome.out


def test_a_package_at_fault_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(install_policies(tmp_path, name="round-robin"))
    outcome = run_command("bench", "routing", "--duration", "4", "--warmup", "1")
    assert outcome.code == 2
    assert outcome.err == (
        "1 problem in the configuration:\n  the policy round-robin of the package their-policies "
        "(their_policies:Last): there is a policy of this name already\n"
    )
