import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.preparation import LOAD_TIME_S, Preparation, is_free, prepare
from gateway.config.load import read_document
from gateway.errors import ConfigInvalid
from tests.support.models import CONFIGS
from tests.support.ports import free_port

H100 = "GPU-{n}, NVIDIA H100 80GB HBM3, 81559, {free}"
RUN = [sys.executable, "{port}", "{model}", "{flags}"]
PATH = "/usr/bin:/bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "llama").mkdir()
    (tmp_path / "llama/config.json").write_text(json.dumps(CONFIGS["llama-3.1-8b"]))
    return tmp_path


def with_gpus(folder: Path, *free_mib: int) -> dict[str, str]:
    """A machine with H100s, each with so much memory free."""
    lines = "\n".join(H100.format(n=n, free=free) for n, free in enumerate(free_mib))
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<E\n{lines}\nE\n")
    (folder / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{folder}:{PATH}", "HF_HUB_OFFLINE": "1"}


def prepared(
    folder: Path, *models: dict[str, Any], environ: dict[str, str] | None = None
) -> Preparation:
    document = read_document(json.dumps({"models": models}))
    environ = environ or {"PATH": PATH, "HF_HUB_OFFLINE": "1"}
    return prepare(document, folder, environ, folder / "logs")


def a_model(name: str = "m", engine: str = "vllm", **deploy: Any) -> dict[str, Any]:
    return {"name": name, "engine": engine, "deploy": {"command": RUN, "model": "llama", **deploy}}


def problems(folder: Path, *models: dict[str, Any], **given: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as told:
        prepared(folder, *models, **given)
    return told.value.problems


def test_an_engine_on_cpus_needs_no_gpu_and_no_plan(folder: Path) -> None:
    found = prepared(folder, a_model(max_model_len=1024, environment={"A": "b"}))
    (engine,) = found.engines
    assert engine.start.command[1:] == ["8101", str(folder / "llama"), "--max-model-len", "1024"]
    assert engine.start.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert engine.start.environ["A"] == "b"
    assert (engine.name, engine.url, engine.gpus) == ("m/r0", "http://127.0.0.1:8101", [])
    assert engine.start.log == folder / "logs/m_r0.log"
    assert engine.load_time_s == LOAD_TIME_S
    assert found.unplanned == ()


def test_an_engine_on_gpus_gets_its_plans_flags_and_its_gpus(folder: Path) -> None:
    model = a_model(gpu="H100", gpu_memory_utilization=0.6, replicas=2, load_time_s=5, drain_s=7)
    one, two = prepared(folder, model, environ=with_gpus(folder, 81000, 81000)).engines
    assert "--gpu-memory-utilization 0.6" in " ".join(one.start.command)
    assert (one.gpus, two.gpus) == (["GPU-0"], ["GPU-1"])
    assert two.start.environ["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert (one.load_time_s, one.start.grace_s) == (5, 7)


def test_llamacpp_takes_what_it_was_planned_to_take(folder: Path) -> None:
    models = [a_model(name, "llamacpp", gpu="H100", quantization="q4_0") for name in ("one", "two")]
    one, two = prepared(folder, *models, environ=with_gpus(folder, 40000)).engines
    assert one.gpus == two.gpus == ["GPU-0"]


def test_an_engine_that_does_not_fit_is_refused_before_anything_starts(folder: Path) -> None:
    model = a_model(gpu="H100", gpu_memory_utilization=0.1)
    (told,) = problems(folder, model, environ=with_gpus(folder, 81000))
    assert told.startswith("models[0].variants[0].deploy: cannot start: ")


def test_memory_that_others_use_is_not_given_out(folder: Path) -> None:
    (told,) = problems(folder, a_model(gpu="H100"), environ=with_gpus(folder, 40000))
    assert told.startswith("models[0].variants[0].deploy.gpu: m/r0 asks for 1 × H100 with ")


def test_a_gpu_with_less_memory_than_the_tables_is_planned_for_as_it_is(folder: Path) -> None:
    environ = with_gpus(folder, 14000)
    smi = (folder / "nvidia-smi").read_text().replace("81559", "14336")
    (folder / "nvidia-smi").write_text(smi)
    (told, *_) = problems(folder, a_model(gpu="H100"), environ=environ)
    assert "cannot start" in told


def test_a_gpu_of_no_table_has_the_memory_that_is_found(folder: Path) -> None:
    environ = with_gpus(folder, 81000)
    smi = (folder / "nvidia-smi").read_text().replace("NVIDIA H100 80GB HBM3", "NVIDIA Z1")
    (folder / "nvidia-smi").write_text(smi)
    (engine,) = prepared(folder, a_model(gpu="Z1"), environ=environ).engines
    assert engine.gpus == ["GPU-0"]
    assert "not known" in problems(folder, a_model(gpu="Y1"), environ=environ)[0]


def test_a_machine_without_gpus_starts_nothing_that_needs_one(folder: Path) -> None:
    (told,) = problems(folder, a_model(gpu="H100"))
    assert "no GPU was found here" in told


def test_a_driver_that_fails_is_told(folder: Path) -> None:
    environ = with_gpus(folder)
    (folder / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    (told,) = problems(folder, a_model(gpu="H100"), environ=environ)
    assert told.startswith("the GPUs of this machine cannot be told: nvidia-smi failed")


def test_a_model_that_was_not_seen_is_told_and_started(folder: Path) -> None:
    found = prepared(
        folder, a_model(gpu="H100", model="org/unseen"), environ=with_gpus(folder, 81000)
    )
    (told,) = found.unplanned
    assert told.startswith("models[0].variants[0].deploy: not planned: ")
    assert found.engines[0].gpus == ["GPU-0"]


def test_a_file_without_engines_for_here_is_for_serve(folder: Path) -> None:
    (told,) = problems(folder, {"name": "m", "engine": "vllm", "url": "http://a"})
    assert "gateway serve" in told


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (a_model(command=["no-such-program"]), "deploy: the program no-such-program is not there"),
        (a_model(command=["./no-such"]), "deploy: the program ./no-such is not there"),
        (a_model(command=["run", "{prot}"]), "deploy.command: {prot} cannot be filled in"),
        (
            a_model() | {"api_key": {"from_env": "ABSENT"}},
            "api_key: the environment variable ABSENT is not set",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_path(
    folder: Path, model: dict[str, Any], told: str
) -> None:
    (said,) = problems(folder, model)
    assert said.startswith(f"models[0].variants[0].{told}")


def test_every_problem_is_told_at_once_and_once(folder: Path) -> None:
    two = a_model(command=["no-such-program"], replicas=2)
    assert len(problems(folder, two, a_model("n", gpu="H100"))) == 2


def test_the_engine_gets_its_key_and_nobody_reads_it_from_the_command(folder: Path) -> None:
    model = a_model() | {"api_key": {"value": "secret"}}
    (engine,) = prepared(folder, model).engines
    assert engine.start.environ["VLLM_API_KEY"] == engine.api_key == "secret"
    assert "secret" not in "".join(engine.start.command)


def test_logs_of_engines_whose_names_are_alike_are_two(folder: Path) -> None:
    one, two = prepared(folder, a_model("a/b"), a_model("a_b")).engines
    assert [engine.start.log.name for engine in (one, two)] == ["a_b_r0.log", "a_b_r0-8102.log"]


def test_a_port_is_free_while_nobody_listens() -> None:
    port = free_port()
    assert is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
