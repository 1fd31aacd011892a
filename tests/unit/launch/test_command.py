from pathlib import Path
from typing import Any

import pytest

from gateway.config.document import Document
from gateway.errors import PlanInvalid
from gateway.launch.addresses import Address, addressed
from gateway.launch.command import command_line


def an_engine(deploy: dict[str, Any], engine: str = "vllm", served: str | None = None) -> Address:
    model = {"name": "m", "engine": engine, "deploy": deploy, "served_model": served}
    (one,) = addressed(Document.model_validate({"models": [model]}), lambda _: True).engines
    return one


def line(
    folder: Path, deploy: dict[str, Any], engine: str = "vllm", served: str | None = None
) -> str:
    return " ".join(command_line(an_engine(deploy, engine, served), ["--a", "1"], folder))


def test_vllm_is_the_one_on_the_path(tmp_path: Path) -> None:
    assert line(tmp_path, {"model": "org/m", "extra_args": ["--b"]}) == (
        "vllm serve org/m --served-model-name m --host 127.0.0.1 --port 8101 --a 1 --b"
    )


def test_vllm_may_have_a_python_of_its_own(tmp_path: Path) -> None:
    said = line(tmp_path, {"python": "/opt/vllm/bin/python"}, served="org/m")
    assert said.startswith(
        "/opt/vllm/bin/python -m vllm.entrypoints.openai.api_server --model org/m "
    )
    assert "--served-model-name org/m" in said


def test_llama_server_takes_a_file_or_a_name(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    assert line(tmp_path, {"model": "m.gguf"}, "llamacpp") == (
        f"llama-server --model {tmp_path}/m.gguf --alias m --host 127.0.0.1 --port 8101 "
        "--metrics --a 1"
    )
    assert line(tmp_path, {"model": "org/m:q4_0"}, "llamacpp").startswith(
        "llama-server --hf-repo org/m:q4_0 "
    )


def test_llama_server_finds_the_file_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    assert f"--hf-repo {tmp_path}/f " in line(tmp_path, {"model": "f"}, "llamacpp")
    (tmp_path / "f/m.gguf").touch()
    assert f"--model {tmp_path}/f/m.gguf " in line(tmp_path, {"model": "f"}, "llamacpp")


def test_several_tgi_on_one_machine_share_nothing(tmp_path: Path) -> None:
    assert line(tmp_path, {}, "tgi") == (
        "text-generation-launcher --model-id m --hostname 127.0.0.1 --port 8101 "
        "--prometheus-port 9101 --master-port 10101 "
        "--shard-uds-path /tmp/text-generation-server-8101 --a 1"
    )


def test_a_config_json_stands_for_its_folder(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "f/config.json").touch()
    assert line(tmp_path, {"model": "f/config.json"}).startswith(f"vllm serve {tmp_path}/f --")


def test_where_the_files_are_here_goes_before_what_they_are(tmp_path: Path) -> None:
    assert line(tmp_path, {"path": "/models/m", "model": "org/m"}).startswith(
        "vllm serve /models/m "
    )


def test_a_command_is_filled_in(tmp_path: Path) -> None:
    command = ["run", "--at={host}:{port}", "{model}", "{served_model}", "{flags}", '{"json": {}}']
    said = command_line(
        an_engine({"command": command, "model": "org/m", "extra_args": ["-x"]}),
        ["--a", "1"],
        tmp_path,
    )
    assert said == ["run", "--at=127.0.0.1:8101", "org/m", "m", "--a", "1", "-x", '{"json": {}}']


@pytest.mark.parametrize(
    ("word", "told"), [("{prot}", "known: port"), ("x{flags}", "stands alone")]
)
def test_what_cannot_be_filled_in_is_told(tmp_path: Path, word: str, told: str) -> None:
    with pytest.raises(PlanInvalid, match=told):
        line(tmp_path, {"command": ["run", word]})


def test_adapters(tmp_path: Path) -> None:
    adapters = [{"name": "a", "source": "org/a"}, {"name": "b", "source": "/b"}]
    deploy = {"lora_adapters": adapters, "max_lora_rank": 32}
    assert line(tmp_path, deploy).endswith(
        "--enable-lora --max-loras 2 --max-lora-rank 32 --lora-modules a=org/a b=/b"
    )
    assert line(tmp_path, {"lora_adapters": adapters}).endswith("2 --lora-modules a=org/a b=/b")
    assert line(tmp_path, deploy, "tgi").endswith("--lora-adapters a=org/a,b=/b")
    with pytest.raises(PlanInvalid, match="lora_adapters: llamacpp"):
        line(tmp_path, deploy, "llamacpp")


def test_only_vllm_is_started_by_a_python(tmp_path: Path) -> None:
    with pytest.raises(PlanInvalid, match="python: llamacpp"):
        line(tmp_path, {"python": "/p"}, "llamacpp")


def test_any_other_engine_needs_a_command(tmp_path: Path) -> None:
    with pytest.raises(PlanInvalid, match="command: say how"):
        line(tmp_path, {}, "openai")


@pytest.mark.parametrize(("gpu", "is_told"), [("L4", True), (None, False)])
def test_a_vllm_that_is_to_sleep_is_told_so_where_it_can(
    tmp_path: Path, gpu: str | None, is_told: bool
) -> None:
    wake = {"method": "vllm-sleep"}
    model = {"name": "m", "engine": "vllm", "deploy": {"gpu": gpu}, "wake": wake}
    (one,) = addressed(Document.model_validate({"models": [model]}), lambda _: True).engines
    assert ("--enable-sleep-mode" in command_line(one, [], tmp_path)) is is_told
