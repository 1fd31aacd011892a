import json
from typing import Any

import pytest

from gateway.engines.keep import keep
from gateway.engines.kept import Kept, Why
from gateway.engines.openai_shapes import read_chunk


def seen(kept: Kept, *, spaced: bool = False, **chunk: Any) -> dict[str, Any]:
    """What the client gets of a chunk."""
    separators = (", ", ": ") if spaced else (",", ":")
    data = json.dumps({"id": "x"} | chunk, separators=separators, ensure_ascii=False).encode()
    shown = keep(kept, read_chunk(data), b"data: " + data + b"\n\n")
    told: dict[str, Any] = json.loads(shown[6:])
    return told


def hiding() -> Kept:
    return Kept(with_ids=True, hides_ids=True)


@pytest.mark.parametrize("spaced", [False, True])
def test_ids_are_kept_and_hidden(spaced: bool) -> None:
    kept = hiding()
    first = seen(kept, spaced=spaced, choices=[], prompt_token_ids=[1, 2])
    assert first["prompt_token_ids"] is None
    choice = {"index": 0, "delta": {"content": "é"}, "token_ids": [3]}
    assert seen(kept, spaced=spaced, choices=[choice])["choices"][0]["token_ids"] is None
    assert (kept.prompt, bytes(kept.ids), bytes(kept.text)) == (b"1,2", b"3,", "é".encode())


def test_ids_of_a_plain_completion_are_in_its_choice() -> None:
    kept = hiding()
    choice = {"index": 0, "text": "a", "prompt_token_ids": [1, 2], "token_ids": [3]}
    assert seen(kept, choices=[choice])["choices"] == [
        {"index": 0, "text": "a", "prompt_token_ids": None, "token_ids": None}
    ]
    assert (kept.prompt, bytes(kept.text)) == (b"1,2", b"a")


def test_ids_that_the_client_asked_for_are_shown() -> None:
    kept = Kept(with_ids=True)
    choice = {"index": 0, "delta": {"content": "a"}, "token_ids": [3]}
    assert seen(kept, choices=[choice])["choices"] == [choice]
    assert bytes(kept.ids) == b"3,"


def test_text_that_looks_like_ids_stays_text() -> None:
    kept = hiding()
    choice = {"index": 0, "delta": {"content": '"token_ids":[3]'}, "token_ids": [3]}
    told = seen(kept, choices=[choice])["choices"][0]
    assert (told["delta"]["content"], told["token_ids"]) == ('"token_ids":[3]', None)


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_no_part_of_the_answer(name: str) -> None:
    kept = hiding()
    seen(kept, choices=[{"index": 0, "delta": {name: "hm"}, "token_ids": [3]}])
    assert (kept.has_reasoning, bytes(kept.text), kept.tokens) == (True, b"", 1)
    seen(kept, choices=[{"index": 0, "delta": {name: "so", "content": "a"}, "token_ids": [4]}])
    assert (bytes(kept.text), kept.tokens) == (b"a", 2)


def test_a_tool_call_ends_the_keeping() -> None:
    kept = hiding()
    seen(kept, choices=[{"index": 0, "delta": {"content": "a"}, "token_ids": [3]}])
    seen(kept, choices=[{"index": 0, "delta": {"tool_calls": [{"index": 0}]}}])
    assert kept.why is Why.TOOLS


def test_what_an_abort_says_is_not_kept() -> None:
    kept = hiding()
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": "abort", "token_ids": [3]}
    seen(kept, choices=[choice])
    assert (bytes(kept.text), kept.tokens) == (b"", 0)


def test_an_event_without_content_is_not_counted() -> None:
    kept = Kept()
    seen(kept, choices=[{"index": 0, "delta": {"role": "assistant"}}])
    assert kept.events == 0
    seen(kept, choices=[{"index": 0, "delta": {"content": ""}}])
    assert kept.events == 1
