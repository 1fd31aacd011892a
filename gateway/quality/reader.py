"""What one endpoint thinks along an answer, by whatever way it offers.

The way is found once, with an answer of the endpoint's own: only a way by which it thinks what it
thought when it wrote is used. Where none is, only the part that both wrote alike is compared.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from gateway.quality.forced import WAYS, Asking, Way, beginnings, tail_of, thinks_alike
from gateway.quality.positions import Position, read_positions, read_prompt_positions
from gateway.remote.answer import Answer, Question
from gateway.remote.endpoint import AskFailed
from gateway.remote.prompt_file import Prompt

_CHECKED = 8  # places of an answer
_LESSONS = 4  # answers


class _Choice(msgspec.Struct):
    logprobs: msgspec.Raw = msgspec.Raw(b"null")


class _Whole(msgspec.Struct):
    choices: list[_Choice] = []


class Askable(Protocol):
    """What is needed of an endpoint."""

    async def stream(self, question: Question) -> Answer: ...

    async def whole(self, method: str, path: str, body: object = None) -> bytes:
        """Raises AskFailed."""
        ...


class Reader:
    """One side. `way` None: not known yet."""

    def __init__(self, endpoint: Askable, asking: Asking, *, max_steps: int = 256) -> None:
        self.endpoint = endpoint
        self.asking = asking
        self.way: Way | None = None if asking.top_logprobs else "none"
        self._max_steps = max_steps
        self._lessons = 0

    async def write(self, prompt: Prompt) -> Answer:
        """Its own answer."""
        body = msgspec.json.encode(self.asking.body(prompt))
        return await self.endpoint.stream(Question(self.asking.path, body))

    async def learn(self, prompt: Prompt, written: Sequence[Position]) -> None:
        """Find the way, with an answer of its own; some answers are too short or too odd."""
        if self.way is not None:
            return
        for way in WAYS:
            if await self._works(way, prompt, written):
                self.way = way
                return
        self._lessons += 1
        if self._lessons >= _LESSONS:
            self.way = "none"

    async def read(
        self, prompt: Prompt, answer: Sequence[Position], start: int
    ) -> tuple[Position | None, ...]:
        """Its view of the tokens from `start` on; None where that cannot be known."""
        if self.way in (None, "none") or start >= len(answer):
            return ()
        if self.way == "prompt_logprobs":
            return (await self._prompt(prompt, answer))[start:]
        views: list[Position | None] = []
        texts = beginnings(answer)
        for text in texts[start : start + self._max_steps]:
            try:
                views.append(None if text is None else await self._next(prompt, text, self.way))
            except AskFailed:
                break
        return tuple(views)

    async def _works(self, way: Way, prompt: Prompt, written: Sequence[Position]) -> bool:
        if way == "prompt_logprobs":
            read = await self._prompt(prompt, written)
            return thinks_alike(read[1:], written[1:])
        texts = beginnings(written)
        known = [place for place in range(1, len(written)) if texts[place] is not None]
        places = known[:: max(1, len(known) // _CHECKED)][:_CHECKED]
        views: list[Position | None] = []
        for place in places:
            try:
                views.append(await self._next(prompt, texts[place] or "", way))
            except AskFailed:
                return False
        return thinks_alike(views, [written[place] for place in places])

    async def _prompt(
        self, prompt: Prompt, answer: Sequence[Position]
    ) -> tuple[Position | None, ...]:
        text = b"".join(position.token for position in answer).decode(errors="replace")
        body = self.asking.reading(prompt, text, "prompt_logprobs")
        try:
            whole = await self.endpoint.whole("POST", self.asking.path, body)
        except AskFailed:
            return ()
        return tail_of(read_prompt_positions(whole), answer)

    async def _next(self, prompt: Prompt, text: str, way: Way) -> Position | None:
        """What it thinks after `text`; None when it does not tell. Raises AskFailed."""
        body = self.asking.reading(prompt, text, way)
        whole = await self.endpoint.whole("POST", self.asking.path, body)
        try:
            choices = msgspec.json.decode(whole, type=_Whole).choices
        except msgspec.DecodeError:
            return None
        positions = read_positions([choices[0].logprobs]) if choices else ()
        return positions[0] if positions else None
