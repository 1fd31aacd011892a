from gateway.quality.forced import Asking, beginnings, is_itself, tail_of, thinks_alike
from gateway.quality.positions import Position
from gateway.remote.prompt_file import a_prompt
from tests.support.compared import a_position, along

PROMPT = a_prompt("hi")
CHAT, TEXT = Asking("m", max_tokens=9), Asking("m", "completions", more={"top_p": 1, "seed": None})


def test_answers_are_greedy_and_streamed_with_logprobs() -> None:
    body = CHAT.body(PROMPT)
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.0, 9, True)
    assert (body["logprobs"], body["top_logprobs"]) == (True, 20)
    text = TEXT.body(PROMPT)
    assert (text["prompt"], text["logprobs"], text["top_p"]) == ("hi", 20, 1)
    assert "seed" not in text
    assert (CHAT.path, TEXT.path) == ("/chat/completions", "/completions")


def test_no_logprobs_are_asked_for_where_there_are_none() -> None:
    assert "logprobs" not in Asking("m", top_logprobs=0).body(PROMPT)


def test_a_chat_goes_on_with_the_message_that_was_begun() -> None:
    body = CHAT.reading(PROMPT, "He", "continue_final_message")
    assert body["messages"] == [*PROMPT.messages, {"role": "assistant", "content": "He"}]
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert (body["max_tokens"], body["logprobs"]) == (1, True)
    assert "continue_final_message" not in CHAT.reading(PROMPT, "He", "prefill")


def test_a_message_that_is_not_begun_is_not_gone_on_with() -> None:
    body = CHAT.reading(PROMPT, "", "continue_final_message")
    assert body["messages"] == list(PROMPT.messages)
    assert "continue_final_message" not in body


def test_text_just_goes_on() -> None:
    assert TEXT.reading(PROMPT, "He", "prefill")["prompt"] == "hiHe"


def test_a_whole_prompt_is_read_in_one_request() -> None:
    body = CHAT.reading(PROMPT, "He", "prompt_logprobs")
    assert body["prompt_logprobs"] == 20
    assert "logprobs" not in body


def test_what_comes_before_each_token() -> None:
    answer = [Position(token, 0.0, {}) for token in (b"a", b"\xe6\xb0", b"\xb4", b"b")]
    assert beginnings(answer) == ["", "a", None, "a水"]


def test_the_end_of_a_prompt_is_the_answer_when_its_tokens_are() -> None:
    answer = along("a", "b", "c")
    assert tail_of(along("x", "y", "a", "b", "c"), answer) == answer
    assert tail_of(along("x", "ab", "c"), answer) == (None, None, answer[2])
    assert tail_of(along("a", "bc"), answer) == (answer[0], None, None)
    assert tail_of((), answer) == (None, None, None)
    assert tail_of((), ()) == ()


def test_an_endpoint_that_goes_on_thinks_alike_but_for_odd_places() -> None:
    wrote = along(*"abcdef")
    assert thinks_alike(wrote, wrote)
    assert thinks_alike((*wrote[:4], *along("x", "y")), wrote)
    assert not thinks_alike((*wrote[:3], *along("x", "y", "z")), wrote)
    assert not thinks_alike((*wrote[:2], None, None, None, None), wrote)
    assert not thinks_alike((), ())


def test_a_model_that_reads_itself_thinks_the_same() -> None:
    wrote = a_position("a", a=0.6, b=0.3)
    assert is_itself(a_position("a", a=0.58, b=0.3), wrote)
    assert not is_itself(a_position("a", a=0.3, b=0.2), wrote)
    assert not is_itself(a_position("a", a=0.3, b=0.6), wrote)
