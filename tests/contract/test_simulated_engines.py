"""The simulated engines keep the contract of the real ones.

What they say is also held against the recorded answers: nothing that the real engine would not
say, and with the same types.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio.from_thread
import httpx
import pytest

from gateway.simulator.options import EngineKind, EngineOptions
from gateway.simulator.serve import serve_engine
from tests.contract.engine_contract import CHECKS, Check
from tests.support.raw_http import ask
from tests.support.transcripts import TRANSCRIPTS, Answered, Transcript

pytestmark = pytest.mark.integration

KINDS: tuple[EngineKind, ...] = ("vllm", "llamacpp", "tgi")
RECORDED = {"vllm": TRANSCRIPTS / "vllm-0.32.0", "llamacpp": TRANSCRIPTS / "llamacpp"}
# What a simulated engine does not play: what a started flag or a fault is for, what depends on the
# words of the model, and what the gateway does not touch.
NOT_PLAYED = {
    "vllm": {
        "chat-logprobs",
        "chat-stream-logprobs",
        "completions-logprobs",
        "chat-end-token",
        "chat-one-of-two-words",
        "chat-stop-string",
        "chat-stream-stop-string",
        "chat-stream-stop-string-token-ids",
        "chat-stream-resumed",
        "completions-stream-resumed",
        "chat-tools",
        "completions-echo",
        "disabled-route",
        "bad-logit-bias",
        "bad-logit-bias-stream",
        "completions-bad-logit-bias-stream",
        "prompt-too-long",
        "prompt-too-long-stream",
    },
    "llamacpp": {
        "chat-logprobs",
        "chat-stream-logprobs",
        "completions-logprobs",
        "chat-end-token",
        "chat-stop-string",
        "chat-stream-stop-string",
        "chat-cut-by-context",
        "native-completion",
        "native-completion-stream",
        "no-slot-free",
        "prompt-too-long",
        "prompt-too-long-stream",
    },
}


# The recorded vLLM told details of usage only where it was started with the flag for it.
WITH_DETAILS = "key-right"
DETAILS = ".usage.prompt_tokens_details"


@contextmanager
def simulated(kind: EngineKind) -> Iterator[str]:
    """The URL of a simulated engine that lives in a thread of its own."""
    options = EngineOptions(
        engine=kind,
        models=("tiny", "tiny-alias"),
        max_model_len=1024,
        max_num_seqs=2 if kind == "llamacpp" else 256,
        inter_token_s=0.001,
        inter_token_s_per_running=0.0,
        prefill_s_per_token=0.0,
    )
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve_engine(options)) as engine,
    ):
        yield engine.url


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest) -> Iterator[tuple[httpx.Client, str]]:
    kind: EngineKind = request.param
    with (
        simulated(kind) as url,
        httpx.Client(base_url=url, timeout=10, trust_env=False) as client,
    ):
        yield client, kind


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with simulated("vllm") as vllm, simulated("llamacpp") as llamacpp:
        yield {"vllm": vllm, "llamacpp": llamacpp}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_simulated_engine_keeps_the_contract(
    engine: tuple[httpx.Client, str], check: Check
) -> None:
    client, kind = engine
    check(client, "tiny", kind)


def transcripts() -> list[tuple[str, str]]:
    """Every answer that an engine without special flags gave while it was well."""
    found: list[tuple[str, str]] = []
    for kind, folder in RECORDED.items():
        for path in sorted(folder.glob("*.json")):
            transcript = Transcript.load(path)
            is_plain = "--api-key" not in transcript.flags or path.stem == WITH_DETAILS
            is_figures = path.stem.startswith("metrics")
            if not transcript.note and is_plain and not is_figures:
                found.append((kind, path.stem))
    return [one for one in found if one[1] not in NOT_PLAYED[one[0]]]


@pytest.mark.parametrize(("kind", "name"), transcripts())
def test_a_simulated_engine_says_nothing_that_the_recorded_one_would_not_say(
    urls: dict[str, str], kind: str, name: str
) -> None:
    transcript = Transcript.load(RECORDED[kind] / f"{name}.json")
    real = transcript.answered
    said = ask(urls[kind], transcript.asked, patience_s=5)
    assert said.status == real.status
    assert said.header("content-type") == real.header("content-type")
    assert (said.framing, said.ending) == (real.framing, real.ending)
    unheard_of = _shape(_json_of(said)) - _shape(_json_of(real))
    if kind == "vllm" and name != WITH_DETAILS:
        unheard_of = {(path, found) for path, found in unheard_of if DETAILS not in path}
    assert unheard_of == set()


def _json_of(answered: Answered) -> Any:
    if answered.framing == "chunked":
        return [json.loads(event) for event in answered.events() if event != b"[DONE]"]
    return json.loads(answered.body or b"null")


def _shape(value: object, path: str = "") -> set[tuple[str, str]]:
    """Where values of which type are."""
    if isinstance(value, dict):
        inner = [_shape(item, f"{path}.{name}") for name, item in value.items()]
        return set().union({(path, "object")}, *inner)
    if isinstance(value, list):
        return set().union({(path, "array")}, *(_shape(item, f"{path}[]") for item in value))
    return {(path, "number" if isinstance(value, int | float) else type(value).__name__)}
