"""`gateway compare` on real engines: a coarser copy of a model is found to be coarser."""

import json
import math
import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.engines.conftest import need
from tests.engines.tiny_model import write_hugging_face
from tests.support.child import a_child
from tests.support.command import run_command
from tests.support.engine_home import llama_quantize_binary, llamacpp_home, vllm_home
from tests.support.ports import free_port
from tests.support.real_engines import (
    RealEngine,
    TinyModels,
    running,
    start_llama_server,
    start_vllm,
)
from tests.support.running import running as a_running_gateway
from tests.support.tiny_llama import CORPUS, Matrix, build

QUANTIZATIONS = ("F16", "Q8_0", "Q5_0", "Q4_0")
PROMPTS, TOKENS = 32, 64


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts of the text that the tokenizer comes from."""
    words, rng = CORPUS.split(), random.Random(4)
    starts = [rng.randrange(len(words) - 12) for _ in range(PROMPTS)]
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": " ".join(words[at : at + 12])}) + "\n" for at in starts)
    )
    return path


@pytest.fixture(scope="module")
def llama_servers(tiny_models: TinyModels) -> Iterator[Mapping[str, RealEngine]]:
    """One server for each quantization of the same GGUF."""
    need(llamacpp_home())
    with ExitStack() as stack:
        servers: dict[str, RealEngine] = {}
        for name in QUANTIZATIONS:
            gguf = tiny_models.gguf.with_name(f"tiny-{name}.gguf")
            command = [str(llama_quantize_binary()), str(tiny_models.gguf), str(gguf), name]
            subprocess.run(command, check=True, capture_output=True)
            server = start_llama_server(free_port(), gguf, "tiny")
            servers[name] = stack.enter_context(running(server))[0]
        yield servers


def compared(a: RealEngine, b: RealEngine, prompts: Path, *more: str) -> dict[str, Any]:
    outcome = run_command(
        "compare", f"tiny@{a.url}", f"tiny@{b.url}", "--prompts", str(prompts), "--json",
        "--max-tokens", str(TOKENS), *more,
    )  # fmt: skip
    assert outcome.code in (0, 1), outcome.err
    told: dict[str, Any] = json.loads(outcome.out)
    assert told["summary"]["failed"] == 0, told["failures"]
    return told


def figure(told: dict[str, Any], name: str) -> float:
    value: float = told["summary"][name]["value"]
    return value


def test_llama_cpp_the_coarser_the_worse(
    llama_servers: Mapping[str, RealEngine], prompts: Path
) -> None:
    """Perplexity: F16 <= Q8_0 <= Q5_0 <= Q4_0, and divergence and agreement say the same.

    Q8_0 is so near that perplexity is told apart only over chats and completions together.
    """
    base, *others = QUANTIZATIONS
    ratios = [1.0]
    found: list[list[dict[str, Any]]] = []
    for name in others:
        both = [
            compared(llama_servers[base], llama_servers[name], prompts, "--operation", operation)
            for operation in ("chat", "completions")
        ]
        found.append(both)
        ratios.append(math.prod(figure(told, "perplexity_ratio") for told in both) ** 0.5)
        for told in both:
            assert told["b"]["way"] == "continue_final_message"
            assert told["summary"]["known_ratio"] > 0.7
    assert ratios == sorted(ratios), ratios
    for chat_or_completions in zip(*found, strict=True):
        divergences = [figure(told, "kl") for told in chat_or_completions]
        assert divergences[0] < 0.003 < divergences[1] < 0.04 < divergences[2]
        agreements = [figure(told, "top1") for told in chat_or_completions]
        assert agreements == sorted(agreements, reverse=True)
        assert [told["verdict"] for told in chat_or_completions][::2] == ["fine", "worse"]


def test_llama_cpp_against_itself_is_the_same(
    llama_servers: Mapping[str, RealEngine], prompts: Path
) -> None:
    told = compared(llama_servers["F16"], llama_servers["F16"], prompts, "--limit", "8")
    assert told["verdict"] == "fine"
    assert figure(told, "top1") > 0.99
    assert figure(told, "kl") < 0.001


async def test_two_tags_of_one_gateway(
    llama_servers: Mapping[str, RealEngine], prompts: Path
) -> None:
    """What the engines offer beyond OpenAI's API passes through the gateway."""
    variants = [
        {
            "quantization": name.lower(),
            "engine": "llamacpp",
            "served_model": "tiny",
            "replicas": [{"url": llama_servers[name].url}],
        }
        for name in ("F16", "Q4_0")
    ]
    document = {"models": [{"name": "tiny", "variants": variants}]}
    async with (
        a_running_gateway(document) as gateway,
        a_child(
            "compare", "tiny:f16", "tiny:q4_0", "--url", gateway.url, "--prompts", str(prompts),
            "--limit", "12", "--max-tokens", "48", "--json",
        ) as child,
    ):  # fmt: skip
        assert await child.ended(within_s=120) == 1, child.said
        told = json.loads(child.out)
    assert told["b"]["way"] == "continue_final_message"
    assert told["summary"]["known_ratio"] > 0.7
    assert figure(told, "kl") > 0.04


@pytest.fixture
def two_precisions(
    tiny_models: TinyModels, tmp_path: Path
) -> Iterator[tuple[RealEngine, RealEngine]]:
    """vLLM in bf16 with the model, and with a copy whose weights were rounded to four bits."""
    need(vllm_home())
    folder = tmp_path / "rounded"
    write_hugging_face(_rounded(), folder)
    more = ("--dtype", "bfloat16")
    one = start_vllm(free_port(), tiny_models.hugging_face, "tiny", more)
    two = start_vllm(free_port(), folder, "tiny", more)
    with running(one, two):
        yield one, two


def _rounded() -> Any:
    model = build()
    weights = {
        name: _to_four_bits(rows) if name.endswith(("proj.weight", "head.weight")) else rows
        for name, rows in model.weights.items()
    }
    return replace(model, weights=weights)


def _to_four_bits(rows: Matrix) -> Matrix:
    """Each row to multiples of a seventh of its largest value, as int4 with one scale does."""
    scales = [max(map(abs, row)) / 7 or 1.0 for row in rows]
    return [
        [round(value / scale) * scale for value in row]
        for row, scale in zip(rows, scales, strict=True)
    ]


def test_vllm_tells_a_copy_of_lower_precision(
    two_precisions: tuple[RealEngine, RealEngine], prompts: Path
) -> None:
    one, two = two_precisions
    for operation in ("chat", "completions"):
        told = compared(one, two, prompts, "--operation", operation, "--limit", "12")
        assert (told["a"]["way"], told["b"]["way"]) == ("prompt_logprobs", "prompt_logprobs")
        assert told["summary"]["known_ratio"] > 0.7
        assert figure(told, "perplexity_a") < figure(told, "perplexity_b")
        assert figure(told, "kl") > 0.02
        assert told["verdict"] == "worse"
    same = compared(one, one, prompts, "--limit", "4")
    assert figure(same, "kl") < 0.01
    assert same["verdict"] == "fine"
