"""Over two thousand answers of simulated engines, cut where it hurts, are the undisturbed ones.

Between the bytes of an event, within a character, among the tokens of a stop string, at the
first token and at the last: each answer is cut once or twice, the second time on the engine that
went on with it.
"""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cut_streams import USAGE, Fleet, Told
from tests.support.in_process import Cut

pytestmark = pytest.mark.timeout(180)

ENGINES = ("vllm", "tgi", "llamacpp")
STOPS = (None, "jx", " ke", "request that")
PATIENT = settings(deadline=None, suppress_health_check=list(HealthCheck))
# engines, operations, stops and examples: 3 * 2 * 4 * 85 = 2,040, and those of whole answers
STREAMED = settings(PATIENT, max_examples=85)
GATHERED = settings(PATIENT, max_examples=20)

Places = Callable[[bytes, str | None], Sequence[int]]


def anywhere(body: bytes, _: str | None) -> Sequence[int]:
    return range(len(body))


def in_characters(body: bytes, _: str | None) -> Sequence[int]:
    return [at for at, byte in enumerate(body) if byte & 0b1100_0000 == 0b1000_0000]


def at_the_first_token(body: bytes, _: str | None) -> Sequence[int]:
    (start, end), *_rest = contents(body)
    return range(start, end + 1)


def at_the_last_token(body: bytes, _: str | None) -> Sequence[int]:
    *_rest, (start, _end) = contents(body)
    return range(start, len(body))


def in_stop_strings(body: bytes, stop: str | None) -> Sequence[int]:
    """Behind each event whose text ends as the stop string begins, and in the one after it."""
    said, found = "", list[int]()
    for start, end in contents(body):
        said += text_of(body[start:end].partition(b"\n\n")[0])
        if stop and any(said.endswith(stop[:size]) for size in range(1, len(stop))):
            found += range(end, end + 200)
    return found


PLACES: Sequence[Places] = (
    anywhere,
    in_characters,
    at_the_first_token,
    at_the_last_token,
    in_stop_strings,
)


def contents(body: bytes) -> list[tuple[int, int]]:
    """Where the events with text begin and end; all of it where none has."""
    found, at = [], 0
    for event in body.split(b"\n\n"):
        if event.startswith(b"data: {") and text_of(event):
            found.append((at, at + len(event) + 2))
        at += len(event) + 2
    return found or [(0, len(body) - 1)]


def text_of(event: bytes) -> str:
    said = [one.get("delta", one) for one in json.loads(event.strip()[6:])["choices"]]
    return "".join(one.get("content") or one.get("text") or "" for one in said)


@st.composite
def cuts(draw: st.DrawFn) -> Callable[[str | None], Cut]:
    places, ratio = draw(st.sampled_from(PLACES)), draw(st.floats(0, 1, exclude_max=True))

    def of(stop: str | None) -> Cut:
        def cut(body: bytes) -> int:
            if b"data:" not in body:
                return int(ratio * len(body))
            found = places(body, stop) or anywhere(body, stop)
            return min(found[int(ratio * len(found))], len(body) - 1)

        return cut

    return of


FLEETS: dict[str, Fleet] = {}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("stop", STOPS)
@given(drawn=st.lists(cuts(), min_size=1, max_size=2), in_pieces=st.booleans())
@STREAMED
async def test_a_stream_is_one_undisturbed_answer(
    engine: str, chat: bool, stop: str | None, drawn: list[Any], in_pieces: bool
) -> None:
    fleet = FLEETS.setdefault(engine, Fleet(engine))
    more = USAGE | ({} if stop is None else {"stop": stop, "max_tokens": 100})
    wanted = await fleet.stream(chat=chat, **more)
    fleet.upstream.pieces = random.Random(1) if in_pieces else None
    it = await fleet.stream(*[cut(stop) for cut in drawn], chat=chat, **more)
    fleet.upstream.pieces = None
    compare(it, wanted, is_exact=engine == "vllm")
    assert it.is_done
    assert (len(it.ids), len(it.created), it.roles) == (1, len(wanted.created), int(chat))


def compare(it: Told, wanted: Told, *, is_exact: bool) -> None:
    if is_exact or wanted.finishes == ["stop"]:
        assert it.text == wanted.text
    else:
        # how many tokens a text has is for its engine to say: the limit may be some off
        common = min(len(it.text), len(wanted.text)) - 1  # the last one may be half a character
        assert it.text[:common] == wanted.text[:common]
        assert abs(len(it.text) - len(wanted.text)) < 40
    assert it.error is None
    assert it.finishes == wanted.finishes
    assert wanted.usage is not None
    if it.usage is None:
        assert not is_exact  # cut between the last token and what only the engine can count
        return
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        off = 0 if is_exact else 8 + wanted.usage["completion_tokens"] // 8
        assert it.usage[name] == pytest.approx(wanted.usage[name], abs=off)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("chat", [True, False])
@given(drawn=st.lists(cuts(), min_size=0, max_size=2), stop=st.sampled_from(STOPS))
@GATHERED
async def test_a_whole_answer_is_the_undisturbed_one(
    engine: str, chat: bool, drawn: list[Any], stop: str | None
) -> None:
    fleet = FLEETS.setdefault(engine, Fleet(engine))
    lone = FLEETS.setdefault(f"{engine}, whole", Fleet(engine, resume=False))
    more: dict[str, Any] = {"stream": False, "max_tokens": 140}
    more |= {} if stop is None else {"stop": stop}
    wanted = json.loads(await lone.raw(chat=chat, **more))
    answer = json.loads(await fleet.raw(*[cut(stop) for cut in drawn], chat=chat, **more))
    assert fleet.client.status == 200
    assert all(sent["stream"] for sent in fleet.upstream.sent)
    compare(whole(answer), whole(wanted), is_exact=engine == "vllm")
    assert shape(answer) == shape(wanted)
    if not drawn:
        assert fleet.line["attempts"] == 1
        assert without(answer) == without(wanted)


def whole(answer: dict[str, Any]) -> Told:
    (choice,) = answer["choices"]
    said = choice["message"]["content"] if "message" in choice else choice["text"]
    return Told(text=said, finishes=[choice["finish_reason"]], usage=answer.get("usage"))


def without(answer: dict[str, Any]) -> dict[str, Any]:
    """All but what is of this very answer."""
    return {k: v for k, v in answer.items() if k not in ("id", "created", "timings")}


def shape(value: Any) -> Any:
    """The names in it, all the way down; usage may be missing."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items() if k not in ("usage", "timings")}
    return [shape(one) for one in value] if isinstance(value, list) else None


async def test_a_whole_answer_that_nobody_can_go_on_with_is_asked_for_again() -> None:
    """From its beginning, and whole: the client has seen nothing of it."""
    fleet = Fleet(replicas=2)
    body = await fleet.raw(4000, 3000, stream=False, max_tokens=200, seed=3)
    answer = json.loads(body)
    assert fleet.client.status == 200
    assert answer["usage"]["completion_tokens"] == 200
    assert [sent.get("stream", False) for sent in fleet.upstream.sent] == [True, True, False]
    assert fleet.line["resume_refused"] == "no_replica"
    assert "ttft_ms" not in fleet.line
    assert fleet.line["stream"] is False


async def test_a_whole_answer_that_cannot_be_had_is_a_true_error() -> None:
    fleet = Fleet(replicas=2)
    body = json.loads(await fleet.raw(4000, 3000, 3000, stream=False, max_tokens=200))
    assert fleet.client.status == 502
    assert body["error"]["code"]
