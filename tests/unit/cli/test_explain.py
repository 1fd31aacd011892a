import json
from pathlib import Path

import pytest

from tests.support.command import Outcome, run_command

CONFIG = """\
models:
  - name: llama
    aliases: [gpt-4o]
    variants:
      - quantization: fp8
        engine: vllm
        served_model: org/llama
        replicas: [{url: http://a:8000, weight: 2}, {url: http://b:8000}]
      - {quantization: awq, engine: vllm, replicas: [{url: http://c:8000}]}
    fallbacks: [small]
  - {name: small, engine: vllm, url: http://d:8000}
  - name: drawn
    variants:
      - {quantization: a, weight: 1, engine: vllm, replicas: [{url: http://a}]}
      - {quantization: b, weight: 1, engine: vllm, replicas: [{url: http://a}]}
  - name: spills
    choose: {by: spill, waiting: 3, ttft_s: 2.5}
    variants:
      - {quantization: a, engine: vllm, replicas: [{url: http://a}]}
      - {quantization: b, engine: vllm, replicas: [{url: http://a}]}
  - name: full
    choose: spill
    variants:
      - {quantization: a, engine: vllm, replicas: [{url: http://a}]}
      - {quantization: b, engine: vllm, replicas: [{url: http://a}]}
  - name: kept
    choose: {by: weighted, sticky: session}
    variants:
      - {quantization: a, weight: 1, engine: vllm, replicas: [{url: http://a}]}
splits:
  - {name: canary, parts: [{to: llama, weight: 95}, {to: small, weight: 5}]}
  - {name: coin, sticky: none, parts: [{to: "llama:fp8", weight: 1}, {to: small, weight: 1}]}
plans:
  - {name: free, models: [small], requests_per_minute: 60, concurrent_requests: 2}
  - {name: paid}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(CONFIG)
    return path


def explained(file: Path, model: str, *more: str) -> Outcome:
    return run_command("explain", model, "--config", str(file), *more)


def meaning(file: Path, model: str) -> str:
    outcome = explained(file, model, "--json")
    assert outcome.code == 0
    told: str = json.loads(outcome.out)["meaning"]
    return told


def test_a_table_shows_the_order_and_who_may_use_it(file: Path) -> None:
    outcome = explained(file, "llama")
    assert outcome.code == 0
    assert outcome.err == ""
    for text in ("llama:fp8", "org/llama", "r0 http://a:8000 (weight 2)", "paid (no limits)"):
        assert text in outcome.out
    assert outcome.out.index("llama:fp8") < outcome.out.index("llama:awq")
    assert "free (60 requests/minute, 2 at once)" in outcome.out


def test_the_same_as_data(file: Path) -> None:
    story = json.loads(explained(file, "gpt-4o", "--json").out)
    assert (story["asked"], story["model"]) == ("gpt-4o", "llama")
    assert [row["variant"] for row in story["variants"]] == ["llama:fp8", "llama:awq", "small"]
    first, *_, last = story["variants"]
    assert first["replicas"][0] == {"name": "r0", "url": "http://a:8000", "weight": 2}
    assert first["timeouts"]["total_s"] == 900
    assert first["plans"] == ["paid (no limits)"]
    assert last["plans"] == ["free (60 requests/minute, 2 at once)", "paid (no limits)"]


def test_what_a_name_means(file: Path) -> None:
    assert meaning(file, "small") == '"small" is a model; its variants are asked in this order'
    assert meaning(file, "llama:awq") == (
        '"llama:awq" is exactly llama:awq: no other quantization answers'
    )
    assert meaning(file, "gpt-4o:awq") == (
        '"gpt-4o:awq" is exactly llama:awq: no other quantization answers'
    )
    assert meaning(file, "gpt-4o") == (
        '"gpt-4o" is an alias of llama; those of other models are fallbacks'
    )
    assert meaning(file, "drawn").endswith("; which one is first is drawn by weight")
    assert "drawn by weight" not in meaning(file, "drawn:a")


def test_calls_that_wait_for_engines_say_how_long(file: Path) -> None:
    file.write_text(CONFIG.replace("tion: awq,", "tion: awq, wake: {max_wait_s: 90},"))
    waiting = "; calls wait up to 90 s for engines of llama:awq that are away"
    assert meaning(file, "llama").endswith(waiting)
    assert "away" not in meaning(file, "small")


def test_a_model_whose_calls_are_mirrored_says_where(file: Path) -> None:
    file.write_text(
        CONFIG.replace("    fallbacks: [small]", "    mirror: {to: small, sample: 0.1}")
    )
    assert meaning(file, "llama").endswith('0.1 of its calls are mirrored to "small"')
    assert "mirrored" not in meaning(file, "small")


def test_an_adapter_says_whose_engines_answer(file: Path) -> None:
    file.write_text(
        CONFIG.replace("url: http://d:8000", "url: http://d:8000, adapters: [{name: sql}]")
    )
    assert meaning(file, "sql").endswith("it is a LoRA adapter on the engines of small")


def test_an_unknown_name_fails_and_is_told_what_is_near(file: Path) -> None:
    outcome = explained(file, "smal")
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err == 'model "smal" is not served here; did you mean small?\n'


def test_a_model_must_be_named() -> None:
    outcome = run_command("explain")
    assert outcome.code == 2
    assert "Missing argument" in outcome.err


def test_the_environment_may_name_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", str(file))
    assert run_command("explain", "small").code == 0


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("spills", "; beyond 2.5 s to the first token or 3 calls in line a call goes to the next"),
        ("full", "; beyond 0 calls in line a call goes to the next"),
        ("kept", "is drawn by weight, the same each time for a session"),
        (
            "canary",
            '"canary" is split: 0.95 to llama, 0.05 to small, the same each time for a caller',
        ),
        ("coin", "0.5 to llama:fp8, 0.5 to small, drawn for each call"),
    ],
)
def test_how_a_variant_is_chosen_is_told(file: Path, model: str, text: str) -> None:
    assert text in meaning(file, model)
