import json
from dataclasses import replace
from typing import Any

from gateway.loadtest.lengths import read_length
from gateway.loadtest.requests import Asking, FromFile, Synthetic, Traced
from gateway.loadtest.synthetic import Scale
from gateway.loadtest.trace import TraceEntry
from gateway.remote.prompt_file import a_prompt

SYNTHETIC = Synthetic("s", read_length("uniform:20,40", "x"), read_length("7", "x"))


def body(asking: Asking, output: int | None = None) -> dict[str, Any]:
    question = asking.question(a_prompt("hi"), output)
    read: dict[str, Any] = json.loads(question.body)
    return read | {"path": question.path}


def test_the_same_seed_asks_the_same() -> None:
    again = replace(SYNTHETIC)
    assert [SYNTHETIC.prompt(i) for i in range(5)] == [again.prompt(i) for i in range(5)]
    assert SYNTHETIC.prompt(3) != replace(SYNTHETIC, seed="t").prompt(3)


def test_prompts_differ_from_their_first_words_on() -> None:
    beginnings = {" ".join(SYNTHETIC.prompt(i)[0].text.split()[:4]) for i in range(200)}
    assert len(beginnings) == 200


def test_a_prompt_is_as_long_as_drawn_in_the_scale_of_the_endpoint() -> None:
    scaled = replace(SYNTHETIC, prompt_tokens=read_length("100", "x"), scale=Scale(2.0, 10.0))
    prompt, output = scaled.prompt(0)
    assert len(prompt.text.split()) == 45
    assert output == 7


def test_a_shared_beginning_is_the_same_in_all() -> None:
    shared = replace(SYNTHETIC, prompt_tokens=read_length("40", "x"), shared_tokens=30)
    prompts = [shared.prompt(i)[0].text.split() for i in range(20)]
    assert {tuple(p[:30]) for p in prompts} == {tuple(prompts[0][:30])}
    assert len({tuple(p[30:]) for p in prompts}) == 20
    assert {len(p) for p in prompts} == {40}


def test_something_of_a_prompt_is_always_its_own() -> None:
    shared = replace(SYNTHETIC, prompt_tokens=read_length("8", "x"), shared_tokens=100)
    assert len({shared.prompt(i)[0].text for i in range(20)}) > 10


def test_a_trace_says_how_long_each_is() -> None:
    traced = Traced("s", (TraceEntry(0, 5, 1), TraceEntry(1, 9, 2)))
    lengths = [(len(p.text.split()), out) for p, out in map(traced.prompt, range(3))]
    assert lengths == [(5, 1), (9, 2), (5, 1)]


def test_a_file_is_asked_in_a_drawn_order_and_over_again() -> None:
    source = FromFile("s", [a_prompt(str(i)) for i in range(10)], None)
    first = [source.prompt(i)[0].text for i in range(10)]
    second = [source.prompt(i)[0].text for i in range(10, 20)]
    assert sorted(first) == sorted(second) == sorted(map(str, range(10)))
    assert first != second
    assert source.prompt(0)[1] is None
    assert replace(source, output_tokens=read_length("9", "x")).prompt(0)[1] == 9


def test_a_chat_is_streamed_with_usage() -> None:
    assert body(Asking("m"), 5) == {
        "path": "/chat/completions",
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.0,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
    }


def test_completions_take_text() -> None:
    asked = body(Asking("m", "completions"))
    assert (asked["path"], asked["prompt"]) == ("/completions", "hi")
    assert "max_tokens" not in asked


def test_the_end_is_only_ignored_where_there_is_a_length() -> None:
    asking = Asking("m", ignores_end=True)
    assert body(asking, 5)["ignore_eos"] is True
    assert "ignore_eos" not in body(asking)


def test_fields_are_added_and_taken_away() -> None:
    asking = Asking("m", more={"max_tokens": None, "max_completion_tokens": 3, "top_p": 0.5})
    asked = body(asking, 5)
    assert "max_tokens" not in asked
    assert (asked["max_completion_tokens"], asked["top_p"]) == (3, 0.5)
