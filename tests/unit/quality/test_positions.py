import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.quality.positions import Position, read_positions, read_prompt_positions

TRANSCRIPTS = Path(__file__).parents[2] / "golden/transcripts"


def recorded(name: str) -> Any:
    transcript = json.loads((TRANSCRIPTS / name).read_text())
    return json.loads("".join(transcript["answered"]["pieces"]))["choices"][0]["logprobs"]


def read(*logprobs: Any) -> tuple[Position, ...]:
    return read_positions([msgspec.Raw(json.dumps(one).encode()) for one in logprobs])


@pytest.mark.parametrize("engine", ["llamacpp", "vllm-0.32.0"])
def test_real_engines_say_the_same_in_their_ways(engine: str) -> None:
    chat = read(recorded(f"{engine}/chat-logprobs.json"))
    assert [one.token.decode() for one in chat] == [" à", "$", " world"]
    assert chat[0].logprob == pytest.approx(-2.394, abs=0.01)
    assert chat[0].top[" и".encode()] == pytest.approx(-2.427, abs=0.01)
    text = read(recorded(f"{engine}/completions-logprobs.json"))
    assert [one.token.decode() for one in text] == ["ß", "umb", " opens"]
    assert text[0].top[b"3"] == pytest.approx(-2.24, abs=0.01)


def test_bytes_tell_tokens_apart_that_are_no_text() -> None:
    entry = {"token": "\ufffd", "bytes": [0xE6], "logprob": -1.0, "top_logprobs": []}
    (position,) = read({"content": [entry]})
    assert position.token == b"\xe6"
    assert position.best == b"\xe6"


def test_pieces_of_a_stream_follow_one_another() -> None:
    pieces = [{"content": [{"token": t, "logprob": -1.0}]} for t in "ab"]
    assert [one.token for one in read(*pieces)] == [b"a", b"b"]


def test_what_is_missing_is_impossible() -> None:
    (position,) = read({"content": [{"token": "a", "logprob": None}]})
    assert position.logprob == -math.inf
    (position,) = read({"tokens": ["a"], "token_logprobs": [None], "top_logprobs": None})
    assert (position.logprob, position.top) == (-math.inf, {})
    (position,) = read({"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [None]})
    assert position.top == {}


def test_what_makes_no_sense_is_nothing() -> None:
    assert read({"content": 1}) == ()
    assert read({}) == ()


def test_the_likeliest_token() -> None:
    assert Position(b"a", -3.0, {b"a": -3.0, b"b": -0.1}).best == b"b"


def test_the_tokens_of_a_prompt() -> None:
    entry = {
        "7": {"logprob": -3.0, "rank": 9, "decoded_token": "b"},
        "9": {"logprob": -0.1, "rank": 1, "decoded_token": "c"},
    }
    odd = {"3": {"logprob": -1.0, "decoded_token": None}}
    for body in (
        {"prompt_logprobs": [None, entry, odd]},
        {"choices": [{"prompt_logprobs": [None, entry, odd]}]},
    ):
        first, second = read_prompt_positions(json.dumps(body).encode())
        assert (first.token, first.logprob, first.best) == (b"b", -3.0, b"c")
        assert second.token == b""


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"choices": []},
        {"choices": [1]},
        {"prompt_logprobs": [1]},
        {"choices": [{"prompt_logprobs": None}]},
    ],
)
def test_an_answer_without_them_has_none(body: object) -> None:
    assert read_prompt_positions(json.dumps(body).encode()) == ()
