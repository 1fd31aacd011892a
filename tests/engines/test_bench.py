"""`gateway bench` on real engines: their own counts, and answers as long as was asked for."""

import json
from typing import Any

import pytest

from tests.support.command import run_command
from tests.support.real_engines import RealEngine

REQUESTS, PROMPT_TOKENS, OUTPUT_TOKENS = 6, 60, 12


def benched(engine: RealEngine, *more: str) -> dict[str, Any]:
    outcome = run_command(
        "bench", engine.url, "--model", "tiny", "--json", "--requests", str(REQUESTS),
        "--concurrency", "2", "--prompt-tokens", str(PROMPT_TOKENS),
        "--output-tokens", str(OUTPUT_TOKENS), *more,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    test: dict[str, Any] = json.loads(outcome.out)["tests"][0]
    return test


def check(test: dict[str, Any]) -> None:
    assert test["whole"] == REQUESTS, test["failures"]
    assert test["tokens_counted_by"] == "usage"
    assert test["completion_tokens"] == REQUESTS * OUTPUT_TOKENS
    assert test["prompt_tokens"] == pytest.approx(REQUESTS * PROMPT_TOKENS, rel=0.25)
    for name in ("ttft_ms", "e2e_ms"):
        assert test[name]["min"] > 0
    assert test["ttft_ms"]["p50"] <= test["e2e_ms"]["p50"]  # all may come in one read


@pytest.mark.parametrize("operation", ["chat", "completions"])
def test_llama_server(llama_server: RealEngine, operation: str) -> None:
    check(benched(llama_server, "--operation", operation))


@pytest.mark.parametrize("operation", ["chat", "completions"])
def test_vllm(a_vllm: RealEngine, operation: str) -> None:
    check(benched(a_vllm, "--operation", operation))
