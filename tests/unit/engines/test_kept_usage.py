import json

from gateway.engines.kept import Kept
from gateway.engines.kept_usage import same_in_all, usage_event, usage_so_far
from gateway.wire.sse import event_data

FIRST = b'data: {"id":"x","model":"m","created":1,"choices":[{"index":0}],"usage":null}\n\n'


def test_tokens_that_an_engine_told_are_counted() -> None:
    kept = Kept(with_ids=True)
    kept.begin(FIRST)
    kept.read_prompt(b"[1,2,3]")
    kept.add(b"ab", b"4,5")
    usage = usage_so_far(kept)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 2)
    assert json.loads(event_data(usage_event(kept, usage)) or b"") == {
        "id": "x",
        "model": "m",
        "created": 1,
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_without_ids_nothing_is_known() -> None:
    kept = Kept()
    kept.add(b"ab", b"")
    assert usage_so_far(kept) is None
    assert same_in_all(None) == {}
