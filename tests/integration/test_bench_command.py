"""`gateway bench` against simulated engines, which say what it must find.

A machine that others use makes everything later and nothing sooner: what is asserted are lower
bounds that the engine sets, counts, and what the report says of its own lateness.
"""

import csv
import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway.simulator.engine import SimulatedEngine
from gateway.simulator.options import EngineOptions
from gateway.simulator.serve import serve_engine
from tests.support.child import a_child
from tests.support.running import until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(90)]

PREFILL_S, ITL_S = 0.0005, 0.02
STEADY = EngineOptions(
    models=("sim",),
    prefill_s_per_token=PREFILL_S,
    inter_token_s=ITL_S,
    inter_token_s_per_running=0.0,
)


async def bench(engine: SimulatedEngine | str, *arguments: str, code: int = 0) -> dict[str, Any]:
    url = engine if isinstance(engine, str) else engine.url
    async with a_child("bench", url, "--json", *arguments) as child:
        assert await child.ended(within_s=60) == code, child.said
        told: dict[str, Any] = json.loads(child.out)
        return told


async def said(*arguments: str, code: int) -> str:
    async with a_child("bench", *arguments) as child:
        assert await child.ended(within_s=60) == code, child.said
        assert child.out == b""
        return child.said


async def test_what_is_measured_is_what_the_engine_was_told_to_do() -> None:
    """One user: a first token is the prefill and a step, each other token one step."""
    async with serve_engine(STEADY) as engine:
        told = await bench(
            engine,
            "--concurrency",
            "1",
            "--requests",
            "8",
            "--prompt-tokens",
            "200",
            "--output-tokens",
            "10",
        )
    (test,) = told["tests"]
    prompt = test["prompt_tokens"] / 8
    assert prompt == pytest.approx(200, rel=0.15)
    assert test["completion_tokens"] == 80
    first_ms = 1000 * (ITL_S + PREFILL_S * prompt)
    assert test["ttft_ms"]["p50"] >= 0.9 * first_ms
    assert test["itl_ms"]["mean"] >= 0.95 * 1000 * ITL_S
    assert test["tpot_ms"]["p50"] >= 0.95 * 1000 * ITL_S
    assert test["e2e_ms"]["p50"] >= 0.9 * (first_ms + 9 * 1000 * ITL_S)
    # far above what the engine was told there is another unit, not a slow machine
    assert test["ttft_ms"]["min"] <= 20 * first_ms
    assert test["tpot_ms"]["min"] <= 20 * 1000 * ITL_S


async def test_waiting_that_the_endpoint_causes_is_in_the_latency() -> None:
    """One at a time takes 100 ms; at 20 a second each waits for all that are before it."""
    options = EngineOptions(
        models=("sim",),
        max_num_seqs=1,
        prefill_s_per_token=0.0,
        inter_token_s=0.1,
        inter_token_s_per_running=0.0,
    )
    async with serve_engine(options) as engine:
        told = await bench(
            engine,
            "--rate",
            "20",
            "--arrival",
            "constant",
            "--requests",
            "20",
            "--output-tokens",
            "1",
        )
    (test,) = told["tests"]
    assert test["ttft_ms"]["max"] >= 20 * 100 - 19 * 50 - 1
    assert test["max_in_flight"] >= 10


async def test_a_sweep_finds_what_an_engine_of_known_capacity_sustains() -> None:
    """Ten steps a second, one request each: 10 a second at most."""
    options = EngineOptions(
        models=("sim",),
        max_num_seqs=1,
        prefill_s_per_token=0.0,
        inter_token_s=0.1,
        inter_token_s_per_running=0.0,
    )
    async with serve_engine(options) as engine:
        told = await bench(
            engine,
            "--sweep",
            "4,20",
            "--arrival",
            "constant",
            "--requests",
            "40",
            "--output-tokens",
            "1",
        )
    assert [test["verdict"] for test in told["tests"]] == ["sustained", "queue grows"]
    assert told["sweep"]["sustained_per_s"] == 4
    assert told["sweep"]["first_not_per_s"] == 20
    assert told["tests"][1]["slowdown_per_s"] > 0.5


async def test_failures_are_counted_and_never_in_percentiles() -> None:
    """Half of the streams break after three events; those of the preparation are shorter."""
    async with serve_engine(STEADY) as engine:
        engine.inject("reset-after=3", probability=0.5)
        told = await bench(
            engine,
            "--concurrency",
            "4",
            "--requests",
            "20",
            "--output-tokens",
            "8",
            "--ttft-slo",
            "60000",
        )
    (test,) = told["tests"]
    assert test["requests"] == test["whole"] + test["failed"] == 20
    assert 1 <= test["failed"] < 20
    assert [one["label"] for one in test["failures"]] == ["connection lost"]
    assert test["e2e_ms"]["count"] == test["whole"]
    assert test["goodput"]["ratio"] == pytest.approx(test["whole"] / 20)


async def test_a_promise_that_is_not_kept_fails_the_command_where_asked() -> None:
    arguments = ("--concurrency", "1", "--requests", "2", "--output-tokens", "3", "--itl-slo", "1")
    async with serve_engine(STEADY) as engine:
        told = await bench(engine, *arguments)
        assert told["tests"][0]["goodput"]["ratio"] == 0
        await bench(engine, *arguments, "--fail-below-slo", code=1)


async def test_completions_traces_and_prompts_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text(
        '{"timestamp": 0, "input_length": 30, "output_length": 2}\n'
        '{"timestamp": 50, "input_length": 60, "output_length": 4}\n'
    )
    (tmp_path / "p.txt").write_text("one\ntwo\n")
    async with serve_engine(STEADY) as engine:
        traced = await bench(engine, "--trace", str(tmp_path / "t.jsonl"))
        listed = await bench(
            engine,
            "--prompts",
            str(tmp_path / "p.txt"),
            "--requests",
            "4",
            "--rate",
            "50",
            "--operation",
            "completions",
            "--output-tokens",
            "3",
            "--arrival",
            "bursty",
        )
        said = [seen.body["prompt"] for seen in list(engine.requests)[-4:] if seen.body]
    assert traced["tests"][0]["completion_tokens"] == 6
    assert traced["tests"][0]["load"]["kind"] == "trace"
    assert listed["tests"][0]["completion_tokens"] == 12
    assert sorted(said) == ["one", "one", "two", "two"]


async def test_the_same_seed_asks_the_same() -> None:
    asked: list[list[str]] = []
    async with serve_engine(STEADY) as engine:
        for _ in range(2):
            before = len(engine.requests)
            await bench(
                engine,
                "--seed",
                "7",
                "--concurrency",
                "1",
                "--requests",
                "3",
                "--prompt-tokens",
                "uniform:20,60",
                "--output-tokens",
                "1",
            )
            asked.append([str(seen.body) for seen in list(engine.requests)[before:]])
    assert asked[0] == asked[1]


async def test_prompts_from_the_cache_are_told() -> None:
    async with serve_engine(STEADY) as engine:
        arguments = ("--seed", "7", "--concurrency", "1", "--requests", "3", "--output-tokens", "1")
        await bench(engine, *arguments)
        told = await bench(engine, *arguments)
    assert told["seed"] == "7"
    if told["tests"][0]["cached_tokens"]:
        assert any("came from a cache" in words for words in told["warnings"])


async def test_reports_are_written_and_the_table_is_for_people(tmp_path: Path) -> None:
    async with (
        serve_engine(STEADY) as engine,
        a_child(
            "bench",
            engine.url,
            "--sweep",
            "20,40",
            "--requests",
            "5",
            "--output-tokens",
            "2",
            "--csv",
            str(tmp_path / "r.csv"),
            "--html",
            str(tmp_path / "r.html"),
            "--warmup",
            "2",
        ) as child,
    ):
        assert await child.ended(within_s=60) == 0, child.said
        shown = child.out.decode()
    assert "verdict" in shown
    assert "requests/s are sustained" in shown
    assert "\x1b" not in shown + child.said
    with (tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["test"] for row in rows] == ["0"] * 5 + ["1"] * 5
    html = (tmp_path / "r.html").read_text()
    assert html.count("<svg") == 6
    assert not re.search(r"<script|src=|href=", html)


async def test_an_interrupt_keeps_what_was_measured() -> None:
    async with (
        serve_engine(STEADY) as engine,
        a_child(
            "bench",
            engine.url,
            "--json",
            "--rate",
            "50",
            "--requests",
            "100000",
            "--prompt-tokens",
            "12",
            "--output-tokens",
            "2",
        ) as child,
    ):
        await until(lambda: len(engine.requests) >= 60, within_s=20)
        child.signal(signal.SIGINT)
        assert await child.ended() == 1
        told = json.loads(child.out)
    assert told["interrupted"]
    assert told["tests"][0]["requests"] >= 1


async def test_a_key_is_read_from_the_environment_and_never_shown() -> None:
    options = EngineOptions(models=("sim",), api_key="sk-sesame", inter_token_s=0.001)
    async with serve_engine(options) as engine:
        arguments = ("bench", engine.url, "--requests", "2", "--concurrency", "1")
        assert "401" in await said(*arguments[1:], code=1)
        environ = {"MY_KEY": "sk-sesame"}
        async with a_child(*arguments, "--api-key-env", "MY_KEY", environ=environ) as child:
            assert await child.ended() == 0, child.said
    assert b"sesame" not in child.out
    assert "sesame" not in child.said


async def test_of_several_models_one_must_be_named() -> None:
    async with serve_engine(EngineOptions(models=("a", "b"))) as engine:
        assert "the endpoint has a, b" in await said(engine.url, code=2)
