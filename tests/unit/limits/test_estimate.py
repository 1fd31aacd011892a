import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits.estimate import Estimate, Estimator
from gateway.wire.ask import Ask, Operation, read_ask
from gateway.wire.usage import Usage

IMAGE = base64.b64encode(bytes(range(256)) * 40).decode()


def an_ask(operation: Operation = Operation.CHAT, **fields: Any) -> Ask:
    content: dict[Operation, dict[str, Any]] = {
        Operation.CHAT: {"messages": [{"role": "user", "content": "x" * 370}]},
        Operation.COMPLETION: {"prompt": "x" * 398},
        Operation.EMBEDDINGS: {"input": "x" * 398},
        Operation.GENERATE: {"inputs": "x" * 398},
    }
    body = json.dumps({"model": "m"} | content[operation] | fields, separators=(",", ":"))
    return read_ask(body.encode(), operation)


def estimate(operation: Operation = Operation.CHAT, **fields: Any) -> Estimate:
    return Estimator().estimate(an_ask(operation, **fields))


@pytest.mark.parametrize("operation", list(Operation))
def test_a_prompt_is_measured_in_bytes(operation: Operation) -> None:
    assert estimate(operation).prompt_tokens == 100


def test_tools_are_part_of_the_prompt() -> None:
    assert estimate(tools=["x" * 396]).prompt_tokens == 200


@pytest.mark.parametrize(
    ("operation", "fields", "tokens"),
    [
        (Operation.CHAT, {}, 256),
        (Operation.CHAT, {"max_tokens": 50}, 50),
        (Operation.CHAT, {"max_tokens": -1}, 256),
        (Operation.CHAT, {"max_completion_tokens": 50, "n": 3}, 150),
        (Operation.COMPLETION, {"max_tokens": 50, "best_of": 4}, 200),
        (Operation.COMPLETION, {"max_tokens": 50, "best_of": "many"}, 50),
        (Operation.COMPLETION, {"max_tokens": 50, "prompt": ["a", "b", "c"]}, 150),
        (Operation.EMBEDDINGS, {}, 0),
        (Operation.EMBEDDINGS, {"input": ["a", "b"]}, 0),
        (Operation.GENERATE, {}, 100),
        (Operation.GENERATE, {"parameters": None}, 100),
        (Operation.GENERATE, {"parameters": "no"}, 100),
        (Operation.GENERATE, {"parameters": {"max_new_tokens": -5}}, 100),
        (Operation.GENERATE, {"parameters": {"max_new_tokens": 7, "best_of": 2}}, 14),
    ],
)
def test_the_output_is_the_most_that_is_asked_for(
    operation: Operation, fields: dict[str, Any], tokens: int
) -> None:
    assert estimate(operation, **fields).output_tokens == tokens


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [([1, 2, 3], 3), ([[1, 2], [3, 4, 5]], 5), ([], 1), ([[]], 1), (["ab", "cd"], 3)],
)
def test_token_ids_are_counted(prompt: list[Any], tokens: int) -> None:
    assert estimate(Operation.COMPLETION, prompt=prompt).prompt_tokens == tokens


@pytest.mark.parametrize("prompt", [b"[1, 2", b'[[1], "x"', b"[[1],2]"])
def test_a_list_that_is_none_is_measured(prompt: bytes) -> None:
    ask = an_ask(Operation.COMPLETION)
    ask = msgspec.structs.replace(ask, fields=ask.fields | {"prompt": msgspec.Raw(prompt)})
    assert 1 <= Estimator().estimate(ask).prompt_tokens <= 3


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
        {"type": "input_audio", "input_audio": {"data": IMAGE, "format": "wav"}},
    ],
)
def test_media_are_no_text(part: dict[str, Any]) -> None:
    got = estimate(messages=[{"role": "user", "content": [part, part]}])
    assert 2000 < got.prompt_tokens < 2100
    assert got.prompt_bytes == 0, "nothing is learned from them"


def test_what_only_looks_like_media_is_text() -> None:
    assert estimate(messages=[{"role": "user", "content": "x" * 4000}]).prompt_tokens > 1000


def test_bytes_per_token_are_learned_and_the_past_fades() -> None:
    estimator = Estimator()
    first = estimator.estimate(an_ask())
    assert estimator.bytes_per_token == 4
    for _ in range(300):
        estimator.learn(first, Usage(200, 10))
    assert estimator.estimate(an_ask()).prompt_tokens == pytest.approx(200, abs=1)
    assert estimator.estimate(an_ask()).output_tokens == 10
    for _ in range(300):
        estimator.learn(first, Usage(50, 1000))
    assert estimator.estimate(an_ask()).prompt_tokens == pytest.approx(50, abs=1)
    assert estimator.estimate(an_ask()).output_tokens == pytest.approx(1000, abs=3)


def test_nothing_is_learned_from_counts_that_are_not_there() -> None:
    estimator = Estimator()
    estimator.learn(Estimate(3, 0), Usage(1, 0))
    estimator.learn(Estimate(3, 0, 12), Usage(0, 0))
    assert (estimator.bytes_per_token, estimator.usual_output_tokens) == (4, 256)


@given(st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 10**6), st.integers(0, 10**6))))
def test_what_is_learned_stays_within_what_was_seen(seen: list[tuple[int, int, int]]) -> None:
    estimator = Estimator()
    for size_bytes, prompt, output in seen:
        estimator.learn(Estimate(1, 1, size_bytes), Usage(prompt, output))
    ratios = [4.0, *(size / prompt for size, prompt, _ in seen)]
    assert min(ratios) * 0.999 <= estimator.bytes_per_token <= max(ratios) * 1.001


def test_tools_count_beside_long_prompts_too() -> None:
    long = [{"role": "user", "content": "x" * 2000}]
    plain, with_tools = estimate(messages=long), estimate(messages=long, tools=["x" * 396])
    assert with_tools.prompt_tokens == plain.prompt_tokens + 100


def test_a_prompt_that_is_given_otherwise_counts_as_little() -> None:
    ask = an_ask(Operation.COMPLETION, prompt_embeds="AAAA")
    ask = msgspec.structs.replace(
        ask, fields={k: v for k, v in ask.fields.items() if k != "prompt"}
    )
    assert Estimator().estimate(ask).prompt_tokens == 1
