import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.deployments import Planned, planned
from gateway.config.load import read_document
from tests.support.gguf import a_gguf
from tests.support.models import CONFIGS

OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("llama-3.1-8b", "gpt-oss-20b", "phi-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(CONFIGS[name]))
    (tmp_path / "tiny.gguf").write_bytes(a_gguf())
    return tmp_path


def entry(folder: Path, deploy: Mapping[str, Any] | None, **variant: Any) -> list[Planned]:
    given = {"engine": "vllm", "replicas": [{"url": "http://a"}], "deploy": deploy, **variant}
    document = read_document(
        json.dumps({"models": [{"name": "llama-3.1-8b", "variants": [given]}]})
    )
    return list(planned(document, folder, OFFLINE))


def test_a_variant_without_an_entry_is_passed_over(folder: Path) -> None:
    assert entry(folder, None) == []


def test_an_entry_that_fits_has_a_plan(folder: Path) -> None:
    (one,) = entry(folder, {"gpu": "H100"})
    assert one.path == "models[0].variants[0].deploy"
    assert one.variant == "llama-3.1-8b"
    assert one.plan is not None
    assert one.plan.quantization == "bf16"


@pytest.mark.parametrize(
    ("variant", "deploy", "quantization"),
    [
        ({"quantization": "fp8"}, {}, "fp8"),
        ({"quantization": "best"}, {}, "bf16"),
        ({"quantization": "best"}, {"quantization": "awq"}, "awq"),
        ({"quantization": "fp8"}, {"model": "gpt-oss-20b"}, "mxfp4"),
        ({"served_model": "phi-2"}, {"max_model_len": 2048}, "bf16"),
        ({"engine": "tgi"}, {}, "bf16"),
        ({"engine": "llamacpp", "quantization": "q4_k_m"}, {}, "q4_k_m"),
        ({"engine": "llamacpp"}, {}, "f16"),
        ({"engine": "llamacpp"}, {"model": "tiny.gguf"}, "q8_0"),
    ],
)
def test_the_quantization_is_the_entrys_the_checkpoints_or_the_tags(
    folder: Path, variant: dict[str, Any], deploy: dict[str, Any], quantization: str
) -> None:
    (one,) = entry(folder, {"gpu": "H100", **deploy}, **variant)
    assert one.plan is not None, one
    assert one.plan.quantization == quantization


@pytest.mark.parametrize(
    ("variant", "deploy", "problem"),
    [
        ({}, {"gpu": "H10"}, 'GPU "H10" is not known, did you mean'),
        ({}, {"gpu": "H100", "gpus": 3}, "tensor parallelism of 3 does not divide 32 heads"),
        ({}, {"gpu": "L4"}, "cannot start: one sequence of 131072 tokens needs 16.00 GiB"),
        ({}, {"gpu": "L4"}, "use max_model_len "),
        ({}, {"gpu": "T4"}, "cannot start: the weights take 15.0 GiB"),
        ({"engine": "openai"}, {"gpu": "L4"}, "memory of the engine openai cannot be planned"),
    ],
)
def test_what_cannot_start_is_a_problem_in_the_words_of_the_file(
    folder: Path, variant: dict[str, Any], deploy: dict[str, Any], problem: str
) -> None:
    (one,) = entry(folder, deploy, **variant)
    assert one.plan is None
    assert problem in (one.problem or "")
    assert "--" not in (one.problem or "")


def test_a_model_that_is_not_within_reach_is_told_and_not_refused(folder: Path) -> None:
    (one,) = entry(folder, {"gpu": "H100", "model": "org/name"})
    assert (one.plan, one.problem) == (None, None)
    assert "not in the Hugging Face cache" in (one.unseen or "")


def test_an_engine_without_gpus_is_not_planned(folder: Path) -> None:
    (one,) = entry(folder, {})
    assert (one.plan, one.problem, one.unseen) == (None, None, "it runs on CPUs")


def test_quantized_files_can_be_told_of(folder: Path) -> None:
    told = {"gpu": "H100", "quantization": "checkpoint"}
    (one,) = entry(folder, {**told, "model": "gpt-oss-20b"}, quantization="fp8")
    assert one.plan is not None
    assert one.plan.quantization == "mxfp4"
    (one,) = entry(folder, told)
    assert one.problem == (
        "quantization says checkpoint, but the files of llama-3.1-8b are not quantized"
    )
