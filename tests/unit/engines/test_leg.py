import json
from typing import Any

import pytest

from gateway.engines import leg
from gateway.engines.kept import Kept, Why
from gateway.engines.leg import Leg
from gateway.wire.ask import Ask, Operation, read_ask

HELLO = [{"role": "user", "content": "Hello"}]


def an_ask(*, chat: bool = True, **fields: Any) -> Ask:
    content = {"messages": HELLO} if chat else {"prompt": "Hello"}
    body = {"model": "m", "stream": True} | content | fields
    operation = Operation.CHAT if chat else Operation.COMPLETION
    return read_ask(json.dumps(body).encode(), operation)


def an_answer(*, hold: int = 0) -> Kept:
    """Two tokens of prompt, two of answer."""
    kept = Kept(with_ids=True, hides_ids=True, hold=hold)
    kept.read_prompt(b"[7,8]")
    kept.add(b"so", b"1")
    kept.add(b" far ", b"2")
    return kept


def asked(found: Leg | Why) -> dict[str, Any]:
    """The body of the next request."""
    assert isinstance(found, Leg)
    body: dict[str, Any] = json.loads(found.ask.edited({}))
    return body


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, None),
        ({"n": 2}, Why.CHOICES),
        ({"best_of": 2}, Why.CHOICES),
        ({"best_of": 1}, None),
        ({"echo": True}, Why.PARAMETER),
        ({"echo": False}, None),
        ({"use_beam_search": True}, Why.PARAMETER),
        ({"prompt_logprobs": 1}, Why.PARAMETER),
        ({"kv_transfer_params": {"do_remote_prefill": True}}, Why.PARAMETER),
        ({"guided_regex": "a+"}, Why.STRUCTURED),
        ({"structured_outputs": {"json": {}}}, Why.STRUCTURED),
        ({"structured_outputs": None}, None),
        ({"response_format": {"type": "json_object"}}, Why.STRUCTURED),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": "odd"}, Why.STRUCTURED),
        ({"tool_choice": "required"}, Why.TOOLS),
        ({"tool_choice": "auto"}, None),
    ],
)
def test_some_calls_can_never_be_resumed(fields: dict[str, Any], why: Why | None) -> None:
    assert leg.hindrance(an_ask(**fields)) is why


@pytest.mark.parametrize(
    ("prompt", "why"),
    [("a", None), ([1, 2], None), ([[1], [2]], Why.CHOICES), (["a", "b"], Why.CHOICES)],
)
def test_several_prompts_are_several_answers(prompt: object, why: Why | None) -> None:
    assert leg.hindrance(an_ask(chat=False, prompt=prompt)) is why


def test_other_operations_have_no_streams_of_this_kind() -> None:
    ask = read_ask(b'{"model":"m","input":"x"}', Operation.EMBEDDINGS)
    assert leg.hindrance(ask) is Why.OPERATION


@pytest.mark.parametrize(
    ("stop", "longest"), [(None, 0), ("ab", 2), (["a", "bcd"], 3), ([], 0), (7, 0)]
)
def test_the_longest_stop_string_is_known(stop: object, longest: int) -> None:
    assert leg.longest_stop(an_ask(stop=stop)) == longest


def test_chat_goes_on_from_ids() -> None:
    ask = an_ask(max_tokens=10, max_completion_tokens=12, min_tokens=5)
    body = asked(leg.chat_ids(ask, an_answer()))
    assert body["kv_transfer_params"] == {"prompt_token_ids": [7, 8, 1, 2]}
    assert body["messages"] == HELLO
    assert body["return_token_ids"] is True
    assert (body["max_tokens"], body["max_completion_tokens"], body["min_tokens"]) == (8, 8, 3)


def test_a_call_without_a_limit_stays_without() -> None:
    found = leg.chat_ids(an_ask(), an_answer())
    assert isinstance(found, Leg)
    assert found.remaining is None
    assert "max_tokens" not in asked(found)


@pytest.mark.parametrize(("least", "left"), [(1, 0), ("odd", 0)])
def test_a_least_length_may_be_reached_already(least: object, left: int) -> None:
    assert asked(leg.chat_ids(an_ask(min_tokens=least), an_answer()))["min_tokens"] == left


@pytest.mark.parametrize(
    "part", [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "input_audio"}]
)
def test_ids_do_not_hold_pictures_and_sounds(part: dict[str, Any]) -> None:
    ask = an_ask(messages=[{"role": "user", "content": [part]}])
    assert leg.chat_ids(ask, an_answer()) is Why.NO_WAY
    assert leg.completion_ids(ask, an_answer()) is Why.NO_WAY


def test_parts_of_text_are_text() -> None:
    ask = an_ask(messages=[{"role": "user", "content": [{"type": "text", "text": "image"}]}])
    assert isinstance(leg.chat_ids(ask, an_answer()), Leg)


def test_messages_that_cannot_be_read_are_not_known_to_be_text() -> None:
    assert leg.chat_ids(an_ask(messages=[1]), an_answer()) is Why.NO_WAY


def test_without_ids_there_is_no_way_from_ids() -> None:
    assert leg.chat_ids(an_ask(), Kept(with_ids=True)) is Why.NO_WAY
    assert leg.completion_ids(an_ask(), Kept()) is Why.NO_WAY
    assert leg.chat_ids(an_ask(chat=False), an_answer()) is Why.NO_WAY


@pytest.mark.parametrize(("temperature", "goes_on"), [(0, True), (1, False), ("a", False)])
def test_what_has_to_be_said_again_must_come_out_the_same(
    temperature: object, goes_on: bool
) -> None:
    ask = an_ask(temperature=temperature, stop="xyz")
    found = leg.chat_ids(ask, an_answer(hold=2))
    assert isinstance(found, Leg) is goes_on


def test_reasoning_is_not_said_again() -> None:
    kept = an_answer()
    kept.add_reasoning(b"hm", b"3,4")
    assert leg.chat_ids(an_ask(temperature=0), kept) is Why.NO_WAY


def test_a_budget_of_thoughts_cannot_be_shared() -> None:
    kept = an_answer()
    kept.add_reasoning(b"hm", b"3")
    assert leg.chat_ids(an_ask(thinking_token_budget=9), kept) is Why.REASONING
    assert isinstance(leg.chat_ids(an_ask(), kept), Leg)


def test_chat_goes_on_as_a_plain_completion() -> None:
    ask = an_ask(tools=[], max_completion_tokens=10, chat_template_kwargs={"a": 1}, top_k=3)
    body = asked(leg.completion_ids(ask, an_answer()))
    assert body == {
        "model": "m",
        "stream": True,
        "top_k": 3,
        "prompt": [7, 8, 1, 2],
        "return_token_ids": True,
        "max_tokens": 8,
    }


@pytest.mark.parametrize("fields", [{"tools": [{}]}, {"logprobs": True}])
def test_what_has_to_be_parsed_is_no_plain_completion(fields: dict[str, Any]) -> None:
    assert leg.completion_ids(an_ask(**fields), an_answer()) is Why.NO_WAY


def test_the_text_so_far_becomes_the_last_message() -> None:
    found = leg.text(an_ask(), an_answer(), 1, {}, continues=False)
    assert asked(found)["messages"] == [*HELLO, {"role": "assistant", "content": "so far"}]


@pytest.mark.parametrize(("continues", "content"), [(True, "Well, so far "), (False, "so far ")])
def test_a_beginning_of_the_clients_own_is_kept(continues: bool, content: str) -> None:
    begun = {"role": "assistant", "content": "Well, "}
    found = leg.text(an_ask(messages=[*HELLO, begun]), an_answer(), 0, {}, continues=continues)
    assert asked(found)["messages"][-1] == {"role": "assistant", "content": content}
    assert len(asked(found)["messages"]) == (2 if continues else 3)


def test_a_beginning_in_parts_is_not_gone_on_with() -> None:
    begun = {"role": "assistant", "content": [{"type": "text", "text": "Well"}]}
    ask = an_ask(messages=[*HELLO, begun])
    assert leg.text(ask, an_answer(), 0, {}, continues=True) is Why.NO_WAY


def test_a_prompt_goes_on_with_the_text() -> None:
    ask = an_ask(chat=False)
    assert leg.trimmed(ask, an_answer()) == 0
    assert asked(leg.text(ask, an_answer(), 0, {}, continues=True))["prompt"] == "Helloso far "
    ids = an_ask(chat=False, prompt=[1, 2])
    assert leg.text(ids, an_answer(), 0, {}, continues=True) is Why.NO_WAY


def test_text_does_not_hold_reasoning() -> None:
    kept = an_answer()
    kept.add_reasoning(b"hm", b"3")
    assert leg.text(an_ask(), kept, 0, {}, continues=False) is Why.REASONING


def test_nothing_but_spaces_is_no_beginning() -> None:
    kept = Kept()
    kept.add(b"  ", b"")
    assert leg.text(an_ask(), kept, 2, {}, continues=False) is Why.NO_CONTENT


def test_spaces_that_a_template_takes_away_are_said_again() -> None:
    assert leg.trimmed(an_ask(), an_answer()) == 1


@pytest.mark.parametrize(
    ("said", "stops", "size"),
    [("abc", (), 0), ("abc", ("x",), 0), ("ab x", ("xyz", "b xq"), 3), ("aé", ("éa",), 2)],
)
def test_a_stop_string_may_have_begun(said: str, stops: tuple[str, ...], size: int) -> None:
    assert leg.begun_stop(said, stops) == size


@pytest.mark.parametrize(("temperature", "goes_on"), [(0, True), (0.7, False)])
def test_a_begun_stop_string_must_come_again(temperature: float, goes_on: bool) -> None:
    found = leg.text(an_ask(temperature=temperature), an_answer(), 3, {}, continues=True)
    assert isinstance(found, Leg) is goes_on


def test_ids_that_the_client_has_seen_are_not_said_again() -> None:
    kept = Kept(with_ids=True)
    kept.read_prompt(b"[7,8]")
    kept.add(b"so", b"1")
    assert isinstance(leg.chat_ids(an_ask(), kept), Leg)
    kept.read_prompt(b"[7,8,1]")
    kept.add(b"", b"2")
    assert leg.chat_ids(an_ask(), kept) is Why.PARAMETER
