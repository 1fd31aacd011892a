import pytest
from typing_extensions import override

from gateway.quality.patient import Patient
from gateway.remote.answer import Answer, Question
from gateway.remote.endpoint import AskFailed
from gateway.remote.failure import Failure
from tests.support.toy_model import ToyModel

QUESTION = Question("/chat/completions", b'{"messages": [], "max_tokens": 1}')
BODY = {"messages": [{"role": "user", "content": "hi"}], "top_logprobs": 1}


class Busy(ToyModel):
    """Says `failure` so many times, then answers."""

    def __init__(self, times: int, status: int) -> None:
        super().__init__()
        self.left = times
        self.refusal = Failure(str(status), "later", status)

    def next(self) -> None:
        self.failure = self.refusal if self.left > 0 else None
        self.left -= 1

    @override
    async def stream(self, question: Question) -> Answer:
        self.next()
        return await super().stream(question)

    @override
    async def whole(self, method: str, path: str, body: object = None) -> bytes:
        self.next()
        return await super().whole(method, path, body)


def patient(times: int, status: int = 429) -> tuple[Patient, list[float]]:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    return Patient(Busy(times, status), waits_s=(1.0, 2.0), sleep=sleep), waited


@pytest.mark.parametrize("status", [429, 503])
async def test_later_is_asked_again(status: int) -> None:
    endpoint, waited = patient(2, status)
    assert (await endpoint.stream(QUESTION)).failure is None
    assert waited == [1.0, 2.0]
    endpoint, waited = patient(1, status)
    assert b"logprobs" in await endpoint.whole("POST", "/chat/completions", BODY)
    assert waited == [1.0]


async def test_no_patience_is_endless() -> None:
    endpoint, waited = patient(9)
    answer = await endpoint.stream(QUESTION)
    assert answer.failure is not None
    endpoint, waited = patient(9)
    with pytest.raises(AskFailed):
        await endpoint.whole("POST", "/chat/completions", BODY)
    assert waited == [1.0, 2.0]


async def test_what_is_wrong_is_not_asked_again() -> None:
    endpoint, waited = patient(9, 400)
    answer = await endpoint.stream(QUESTION)
    assert answer.failure is not None
    with pytest.raises(AskFailed):
        await endpoint.whole("POST", "/chat/completions", BODY)
    assert waited == []
