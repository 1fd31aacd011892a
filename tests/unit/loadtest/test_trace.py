import pytest

from gateway.loadtest.trace import TraceEntry, read_trace
from gateway.remote.wrong_input import WrongInput

AZURE = """\
TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.0319600,110,27
"""
BURSTGPT = """\
Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1317,Conversation log
"""
MOONCAKE = """\
{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46]}

{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46]}
"""
PLAIN = "\ufeffat_s,prompt_tokens,output_tokens\n2.5,10,20\n1.5,30,40\n"


def test_published_traces_are_read() -> None:
    first, second = read_trace(AZURE, "f")
    assert first == TraceEntry(0.0, 4808, 10)
    assert (second.prompt_tokens, round(second.at_s, 6)) == (110, 0.052)
    assert read_trace(BURSTGPT, "f") == (TraceEntry(0, 472, 18), TraceEntry(40, 1087, 1))
    _, late = read_trace(MOONCAKE, "f")
    assert (round(late.at_s, 6), late.output_tokens) == (3.053, 26)


def test_a_plain_one_is_put_in_order() -> None:
    assert read_trace(PLAIN, "f") == (TraceEntry(0, 30, 40), TraceEntry(1.0, 10, 20))


def test_dates_may_have_a_zone_and_no_fraction() -> None:
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    text += "2024-05-10 00:00:00+00:00,1,1\n2024-05-10 00:00:01.5+00:00,1,1\n"
    assert [entry.at_s for entry in read_trace(text, "f")] == [0, 1.5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "f has no requests"),
        ("a,b\n1,2\n", "f line 2: the columns must be one of"),
        ("{oops\n", "f line 1: not JSON"),
        ('{"at_s": 1, "prompt_tokens": 1, "output_tokens": 1}\n1\n', "f line 2: must be an object"),
        ("at_s,prompt_tokens,output_tokens\nsoon,1,1\n", "f line 2: 'soon' is no time"),
        ("at_s,prompt_tokens,output_tokens\nnan,1,1\n", "f line 2: 'nan' is no time"),
        ("at_s,prompt_tokens,output_tokens\n1,few,1\n", "f line 2: 'few' is no number of tokens"),
        ("at_s,prompt_tokens,output_tokens\n1,1,-1\n", "'-1' is no number of tokens"),
        ("at_s,prompt_tokens,output_tokens\n1,nan,1\n", "'nan' is no number of tokens"),
        ("at_s,prompt_tokens,output_tokens\n1,1\n", "None is no number of tokens"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, words: str) -> None:
    with pytest.raises(WrongInput, match=words):
        read_trace(text, "f")
