"""`gateway compare` over HTTP, against simulated engines and through the gateway's own tags.

These give no logprobs; what is found with logprobs is in tests/engines.
"""

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

QUICK = EngineOptions(models=("sim",), inter_token_s=0.001, answer_tokens=8)
OTHER = EngineOptions(models=("sim",), inter_token_s=0.001, answer_tokens=8, seed=7)


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"question {i}"}) for i in range(6)))
    return str(path)


async def compare(
    a: SimulatedEngine, b: SimulatedEngine, prompts: str, *more: str, code: int = 0
) -> dict[str, Any]:
    arguments = (a.url, b.url, "--prompts", prompts, "--max-tokens", "12", "--json", *more)
    async with a_child("compare", *arguments) as child:
        assert await child.ended(within_s=60) == code, child.said
        told: dict[str, Any] = json.loads(child.out)
        return told


async def test_the_same_engine_twice_is_fine(prompts: str) -> None:
    async with serve_engine(QUICK) as one, serve_engine(QUICK) as two:
        told = await compare(one, two, prompts, "--min-same", "0.99")
    assert told["verdict"] == "fine"
    assert told["summary"]["same"]["value"] == 1
    assert told["summary"]["length_ratio"]["value"] == 1
    assert told["unknown"][0] == "accuracy drop"


async def test_an_engine_that_says_other_things_is_worse(prompts: str, tmp_path: Path) -> None:
    async with serve_engine(QUICK) as one, serve_engine(OTHER) as two:
        page = tmp_path / "r.html"
        told = await compare(one, two, prompts, "--min-same", "0.99", "--html", str(page), code=1)
    assert told["verdict"] == "worse"
    assert told["findings"][0]["is_sure"]
    html = page.read_text()
    assert "Answers that differ most" in html
    assert not re.search(r"<script|src=|href=", html)


async def test_answers_are_graded(tmp_path: Path) -> None:
    """The engine is asked first what it says, so that half of the references are right."""
    texts = [f"question {i}" for i in range(4)]
    plain = tmp_path / "p.jsonl"
    plain.write_text("\n".join(texts))
    async with serve_engine(QUICK) as one, serve_engine(OTHER) as two:
        work = tmp_path / "w.jsonl"
        await compare(one, one, str(plain), "--resume", str(work), "--min-same", "0")
        said = [json.loads(line)["a"]["text"] for line in work.read_text().splitlines()[1:]]
        entries = [
            {"prompt": text, "reference": right} for text, right in zip(texts, said, strict=True)
        ]
        entries[0]["reference"] = "something else"
        graded = tmp_path / "g.jsonl"
        graded.write_text("\n".join(map(json.dumps, entries)))
        told = await compare(one, two, str(graded), "--rule", "exact", code=1)
    assert told["summary"]["accuracy"]["a"] == 0.75
    assert told["summary"]["accuracy"]["b"] == 0
    assert told["verdict"] == "worse"


async def test_an_interrupted_comparison_goes_on_where_it_was(prompts: str, tmp_path: Path) -> None:
    work = tmp_path / "w.jsonl"
    slow = EngineOptions(models=("sim",), inter_token_s=0.05)
    arguments = ("--prompts", prompts, "--max-tokens", "6", "--resume", str(work))
    async with serve_engine(slow) as engine:
        async with a_child("compare", engine.url, engine.url, *arguments) as child:
            await until(
                lambda: work.exists() and len(work.read_bytes().splitlines()) > 2, within_s=30
            )
            child.signal(signal.SIGINT)
            assert await child.ended() == 1
            assert "interrupted" in child.said
        done = len(work.read_bytes().splitlines()) - 1
        asked = len(engine.requests)
        async with a_child("compare", engine.url, engine.url, *arguments, "--json") as child:
            await child.ended(within_s=60)
            told = json.loads(child.out)
        assert len(engine.requests) - asked == 2 * (6 - done) + 2  # and the first questions
        assert told["summary"]["prompts"] == 6
        other = ("--prompts", prompts, "--max-tokens", "7", "--resume", str(work))
        async with a_child("compare", engine.url, engine.url, *other) as child:
            assert await child.ended() == 2
            assert "is of another comparison (max_tokens)" in child.said


async def test_the_table_is_for_people(prompts: str) -> None:
    async with (
        serve_engine(QUICK) as engine,
        a_child(
            "compare", engine.url, engine.url, "--prompts", prompts, "--min-same", "1"
        ) as child,
    ):
        assert await child.ended(within_s=60) == 0, child.said
        shown = child.out.decode()
    assert "same answer, word for word" in shown
    assert "Fine: " in shown
    assert "\x1b" not in shown + child.said


async def test_prompts_that_one_side_does_not_answer_fail_the_command(prompts: str) -> None:
    async with serve_engine(QUICK) as one, serve_engine(QUICK) as two:
        two.inject("reset-after=4", probability=0.5)
        told = await compare(one, two, prompts, "--min-same", "0", code=1)
    assert told["summary"]["failed"] == len(told["failures"]) > 0
    assert "B failed: connection lost" in told["failures"][0]["failure"]
