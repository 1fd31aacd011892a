import json
from pathlib import Path

import pytest

from tests.support.command import run_command
from tests.support.models import CONFIGS

MODEL = "models: [{name: m, aliases: [n], engine: vllm, url: 'http://[fe80::1]:8000'}]\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(MODEL)
    return path


def test_a_fine_file_is_a_table_of_names(file: Path) -> None:
    outcome = run_command("check", str(file))
    assert outcome.code == 0
    assert outcome.err == ""
    assert "http://[fe80::1]:8000" in outcome.out
    assert outcome.out.endswith("\nfine: 1 model, 2 names\n")


def test_a_fine_file_is_data_when_asked(file: Path) -> None:
    outcome = run_command("check", "--json", str(file))
    assert outcome.code == 0
    assert [route["name"] for route in json.loads(outcome.out)["routes"]] == ["m", "n"]


def test_the_environment_may_name_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    assert run_command("check").code == 0


def test_without_a_file_there_is_nothing_to_check() -> None:
    outcome = run_command("check")
    assert outcome.code == 2
    assert outcome.err == (
        "1 problem in the configuration:\n"
        "  name a configuration file: --config FILE, or GATEWAY_CONFIG\n"
    )


def test_several_models_are_counted(file: Path) -> None:
    file.write_text(
        "models: [{name: a, engine: vllm, url: http://a}, {name: b, engine: vllm, url: http://b}]"
    )
    assert run_command("check", str(file)).out.endswith("\nfine: 2 models, 2 names\n")


def test_problems_go_to_stderr_all_at_once(file: Path) -> None:
    file.write_text("models: [{name: m, engine: vlm, url: h}]")
    for arguments in (["check", str(file)], ["check", "--json", str(file)]):
        outcome = run_command(*arguments)
        assert outcome.code == 2
        assert outcome.out == ""
        assert outcome.err.splitlines() == [
            "2 problems in the configuration:",
            "  models[0].engine: must be 'vllm', 'tgi', 'llamacpp' or 'openai'",
            "  models[0].url: must be http://HOST[:PORT] or https://HOST[:PORT]",
        ]


def no_file(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def an_empty_file(path: Path) -> None:
    path.write_text("")


def a_binary_file(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


@pytest.mark.parametrize(
    "make", [no_file, a_folder, an_empty_file, a_binary_file, a_link_to_itself]
)
@pytest.mark.parametrize("command", ["check", "explain", "serve"])
def test_what_is_no_file_to_read_is_wrong_input(command: str, make: object, file: Path) -> None:
    assert callable(make)
    make(file)
    arguments = {
        "check": ["check", str(file)],
        "explain": ["explain", "m", "--config", str(file)],
        "serve": ["serve", "--config", str(file)],
    }
    outcome = run_command(*arguments[command])
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("1 problem in the configuration:\n  ")


def test_a_file_that_may_not_be_read_is_wrong_input(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    outcome = run_command("check", str(file))
    assert outcome.code == 2
    assert outcome.err.endswith(f"  {file}: permission denied\n")


DEPLOYED = (
    "models: [{name: llama, engine: vllm, url: http://a, "
    "deploy: {gpu: %s, max_model_len: 16384}}, "
    "{name: other, engine: vllm, url: http://a, deploy: {gpu: L4, model: org/other}}]"
)


@pytest.fixture
def deployed(file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(file.parent / "cache"))
    (file.parent / "llama").mkdir()
    (file.parent / "llama/config.json").write_text(json.dumps(CONFIGS["llama-3.1-8b"]))
    file.write_text(DEPLOYED % "L4")
    return file


def test_engines_that_fit_are_a_second_table(deployed: Path) -> None:
    outcome = run_command("check", str(deployed))
    assert outcome.code == 0
    assert "1 × L4" in outcome.out
    assert outcome.err.startswith('models[1].variants[0].deploy: not planned: "org/other" is no ')


def test_plans_are_data_when_asked(deployed: Path) -> None:
    outcome = run_command("check", "--json", str(deployed))
    fits, unseen = json.loads(outcome.out)["deployments"]
    assert fits["path"] == "models[0].variants[0].deploy"
    assert fits["plan"]["starts"] is True
    assert unseen == {"path": "models[1].variants[0].deploy", "variant": "other", "plan": None}


def test_an_engine_that_cannot_start_is_a_problem(deployed: Path) -> None:
    deployed.write_text(DEPLOYED % "T4")
    outcome = run_command("check", str(deployed))
    assert outcome.code == 2
    assert outcome.out == ""
    assert "  models[0].variants[0].deploy: cannot start: the weights take 15.0 GiB" in outcome.err


def test_secrets_may_be_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(
        "models: [{name: m, engine: vllm, url: http://a, api_key: {from_env: NOT_SET}}]\n"
        "limits: {store: redis, redis_url: {from_env: NOT_SET}}\n"
    )
    assert run_command("check", str(file)).code == 2
    outcome = run_command("check", "--without-secrets", str(file))
    assert (outcome.code, outcome.err) == (0, "")


def test_replicas_may_be_left_to_what_deploys_them(file: Path) -> None:
    file.write_text("models: [{name: m, engine: vllm, deploy: {command: [run]}}]")
    outcome = run_command("check", str(file))
    assert outcome.code == 0
    assert "by deploy" in outcome.out
