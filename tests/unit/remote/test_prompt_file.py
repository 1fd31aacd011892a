import json

import pytest

from gateway.remote.prompt_file import a_prompt, read_prompts
from gateway.remote.wrong_input import WrongInput

CONVERSATION = {
    "id": "x",
    "conversations": [
        {"from": "system", "value": "be brief"},
        {"from": "human", "value": "hi"},
        {"from": "gpt", "value": "hello"},
        {"from": "human", "value": "more"},
    ],
}


def lines(*entries: object) -> str:
    return "\n".join(map(json.dumps, entries))


def test_plain_lines() -> None:
    assert [p.text for p in read_prompts("one\n\n two\n", "f")] == ["one", " two"]


def test_json_lines_of_every_kind() -> None:
    entries = (
        {"prompt": "a", "reference": "b"},
        {"text": "c"},
        "d",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "e"}, 1]}]},
        CONVERSATION,
    )
    prompts = read_prompts("\ufeff" + lines(*entries) + "\n\n", "f")
    assert [p.text for p in prompts] == ["a", "c", "d", "e", "be brief\nhi"]
    assert prompts[0].more == {"reference": "b"}
    assert prompts[4].more == {"id": "x"}
    assert [m["role"] for m in prompts[4].messages] == ["system", "user"]


def test_an_array_is_the_same() -> None:
    prompts = read_prompts(json.dumps([CONVERSATION, {"prompt": "a"}]), "f")
    assert [p.text for p in prompts] == ["be brief\nhi", "a"]


def test_a_message_without_content_has_no_text() -> None:
    (prompt,) = read_prompts(lines({"messages": [{"role": "user", "content": None}]}), "f")
    assert prompt.text == ""
    assert a_prompt("x").messages == ({"role": "user", "content": "x"},)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "f has no prompts"),
        ("[]", "f has no prompts"),
        ("\n", "f has no prompts"),
        ("[1", "f line 1: not JSON"),
        ('{"prompt": "a"}\n{oops', "f line 2: not JSON"),
        ('{"prompt": 1}', "f line 1: no prompt"),
        ("[1]", "f entry 1: no prompt"),
        ('{"messages": []}', "f line 1: every message"),
        ('{"messages": [{"content": "a"}]}', "f line 1: every message"),
        ('{"conversations": [1]}', "f line 1: a turn"),
        ('{"conversations": [{"from": "dog", "value": "a"}]}', "f line 1: a turn"),
        ('{"conversations": [{"from": "human", "value": 1}]}', "f line 1: a turn"),
        ('{"conversations": [{"from": "gpt", "value": "a"}]}', "does not begin with a question"),
        ('{"conversations": []}', "does not begin with a question"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, words: str) -> None:
    with pytest.raises(WrongInput, match=words):
        read_prompts(text, "f")
