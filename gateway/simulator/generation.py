"""One answer as it comes out of the engine: tokens in time, text as it may be shown."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio

from gateway.simulator.answers import Speaker
from gateway.simulator.scheduler import Work
from gateway.simulator.tokens import Detokenizer


@dataclass(frozen=True, slots=True)
class Step:
    """One token. `text` may be empty while characters or stop strings are held back.

    `finish` is `stop`, `length` or `abort` on the last one, else None; `stop` the string hit;
    `number` counts the tokens so far.
    """

    token: int
    text: str
    finish: str | None = None
    stop: str | None = None
    number: int = 0


class Generation:
    """A request in the scheduler and its answer. `abort` ends it from the engine's side."""

    def __init__(
        self, work: Work, speaker: Speaker, stops: tuple[str, ...], *, holds_always: bool = False
    ) -> None:
        self.work = work
        self._speaker = speaker
        self._text = Detokenizer(stops, holds_always=holds_always)
        self._steps: deque[Step] = deque()
        self._more = anyio.Event()
        self.is_over = False

    def produce(self) -> None:
        """The engine has computed one more token."""
        if self.is_over:
            return
        token = next(self._speaker)
        last = self.work.produced >= self.work.max_tokens
        text = self._text.feed(token, last=last)
        finish = "length" if last else None
        if self._text.hit is not None:
            finish = "stop"
        self._put(Step(token, text, finish, self._text.hit, self.work.produced))

    def abort(self) -> None:
        """The engine gives up."""
        if not self.is_over:
            self._put(Step(0, "", "abort", number=self.work.produced))

    async def steps(self) -> AsyncIterator[Step]:
        """Every token in its time, the last one included."""
        while True:
            while self._steps:
                step = self._steps.popleft()
                yield step
                if step.finish is not None:
                    return
            self._more = anyio.Event()
            await self._more.wait()

    def _put(self, step: Step) -> None:
        self._steps.append(step)
        self.is_over = step.finish is not None
        self._more.set()
