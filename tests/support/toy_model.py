"""A toy language model with an OpenAI face, in memory: what it thinks is known to the digit.

Words follow one another by what came before; `blur` mixes the distribution with others, as a
coarser quantization does. `ways` are those by which it can be made to read.
"""

import hashlib
import json
import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gateway.quality.forced import Way
from gateway.remote.answer import Answer, Question
from gateway.remote.endpoint import AskFailed
from gateway.remote.failure import Failure
from gateway.wire.usage import Usage

WORDS = tuple(f" w{i}" for i in range(12))


class ToyModel:
    """What `quality` needs of an endpoint."""

    def __init__(
        self,
        *,
        blur: float = 0.0,
        ways: Sequence[Way] = ("prefill",),
        max_top: int = 20,
        has_logprobs: bool = True,
        failure: Failure | None = None,
    ) -> None:
        self.asked: list[dict[str, Any]] = []
        self.failure = failure
        self._blur = blur
        self._ways = ways
        self._max_top = max_top
        self._has_logprobs = has_logprobs

    async def stream(self, question: Question) -> Answer:
        body = json.loads(question.body)
        self.asked.append(body)
        if self.failure is not None:
            return Answer(0.0, 1.0, failure=self.failure)
        top = body.get("top_logprobs", body.get("logprobs", 0))
        if top > self._max_top:
            return Answer(0.0, 1.0, failure=Failure("400", "too many logprobs", 400))
        text, pieces = "", []
        for _ in range(body["max_tokens"]):
            shares = self.shares(_before(body) + text)
            word = max(shares, key=shares.__getitem__)
            pieces.append(
                msgspec.Raw(json.dumps({"content": [_entry(word, shares, top)]}).encode())
            )
            text += word
        return Answer(
            sent_s=0.0,
            ended_s=1.0,
            times_s=array("d", [0.1 + 0.01 * i for i in range(len(pieces))]),
            text=text,
            finish_reason="length",
            usage=Usage(5, len(pieces)),
            logprobs=tuple(pieces) if self._has_logprobs and "logprobs" in body else (),
        )

    async def whole(self, method: str, path: str, body: object = None) -> bytes:
        assert isinstance(body, dict)
        self.asked.append(body)
        if self.failure is not None:
            raise AskFailed(self.failure)
        if "prompt_logprobs" in body:
            return json.dumps(self._read_prompt(body)).encode()
        way = "continue_final_message" if "continue_final_message" in body else "prefill"
        goes_on = way in self._ways or body["messages"][-1]["role"] != "assistant"
        before = _before(body) if goes_on else "a new message"
        shares = self.shares(before)
        word = max(shares, key=shares.__getitem__)
        logprobs = {"content": [_entry(word, shares, body["top_logprobs"])]}
        return json.dumps({"choices": [{"logprobs": logprobs}]}).encode()

    def shares(self, before: str) -> dict[str, float]:
        """What comes next, by probability."""
        clear, other = _drawn(before), _drawn(f"{before} blurred")
        return {w: (1 - self._blur) * clear[w] + self._blur * other[w] for w in WORDS}

    def _read_prompt(self, body: dict[str, Any]) -> dict[str, Any]:
        if "prompt_logprobs" not in self._ways:
            return {"choices": []}
        *_, last = body["messages"]
        text = str(last["content"])
        start = _before(body).removesuffix(text)
        entries: list[dict[str, Any] | None] = [None]
        for word in (f" {one}" for one in text.split()):
            shares = self.shares(start)
            ranked = [word, *sorted(shares, key=shares.__getitem__, reverse=True)]
            entries.append(
                {
                    str(WORDS.index(one)): {"logprob": math.log(shares[one]), "decoded_token": one}
                    for one in dict.fromkeys(ranked)
                }
            )
            start += word
        return {"choices": [{"prompt_logprobs": entries}]}


def _before(body: Mapping[str, Any]) -> str:
    return "".join(str(message["content"]) for message in body["messages"])


def _drawn(seed: str) -> dict[str, float]:
    raw = hashlib.sha256(seed.encode()).digest()
    weights = [math.exp(byte / 32) for byte in raw[: len(WORDS)]]
    return {word: w / sum(weights) for word, w in zip(WORDS, weights, strict=True)}


def _entry(word: str, shares: Mapping[str, float], top: int) -> dict[str, Any]:
    ranked = sorted(shares, key=shares.__getitem__, reverse=True)[:top]
    return {
        "token": word,
        "logprob": math.log(shares[word]),
        "top_logprobs": [{"token": one, "logprob": math.log(shares[one])} for one in ranked],
    }
