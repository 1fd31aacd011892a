"""Ask both sides every prompt, and let both read what A wrote from where they differ.

Both get a prompt one after the other, in turns who is first, so that neither always finds the
machine warm; with several prompts at a time that is no longer so, and times are of a busy engine.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import anyio

from gateway.quality.entry import Entry
from gateway.quality.item import Item, failed_item, item_of, side_of
from gateway.quality.positions import read_positions
from gateway.quality.reader import Reader
from gateway.quality.views import Views, read_on, shared_views
from gateway.remote.answer import Answer
from gateway.remote.models import NotReady, failure_words
from gateway.remote.prompt_file import Prompt

_REFUSED = (400, 422)
_FEWER = (5, 0)


@dataclass(slots=True)
class Comparison:
    """`keep` gets every item as soon as it is there."""

    a: Reader
    b: Reader
    keep: Callable[[Item], None]
    concurrency: int = 1

    async def prepare(self, prompt: Prompt) -> list[str]:
        """Ask both for one token; how many logprobs they give. Raises NotReady.

        What had to be changed to be answered.
        """
        notes: list[str] = []
        for name, reader in (("A", self.a), ("B", self.b)):
            wanted = reader.asking.top_logprobs
            await _first_answer(name, reader, prompt)
            given = reader.asking.top_logprobs
            if given != wanted:
                notes.append(f"{name} gives {given or 'no'} logprobs for each token, not {wanted}")
        fewest = min(self.a.asking.top_logprobs, self.b.asking.top_logprobs)
        if not fewest:
            notes.append("without logprobs there is no divergence, agreement or perplexity")
        return notes

    async def run(self, entries: Sequence[Entry]) -> None:
        """Compare on these prompts. The first is done alone: it teaches how to read."""
        waiting = iter(entries)
        for entry in waiting:
            await self._one(entry)
            if self.a.way is not None and self.b.way is not None:
                break
        async with anyio.create_task_group() as workers:
            for _ in range(self.concurrency):
                workers.start_soon(self._work, waiting)

    async def _work(self, waiting: Iterator[Entry]) -> None:
        for entry in waiting:
            await self._one(entry)

    async def _one(self, entry: Entry) -> None:
        sides = (self.a, self.b) if entry.number % 2 == 0 else (self.b, self.a)
        answers = {id(side): await side.write(entry.prompt) for side in sides}
        a, b = answers[id(self.a)], answers[id(self.b)]
        self.keep(await self._compared(entry, a, b))

    async def _compared(self, entry: Entry, a: Answer, b: Answer) -> Item:
        for name, answer in (("A", a), ("B", b)):
            if answer.failure is not None:
                words = failure_words(answer.failure, name)
                return failed_item(entry.number, entry.key, words)
        views = await self._views(entry.prompt, a, b)
        return item_of(
            entry.number,
            entry.key,
            side_of(a, entry.grade(a.text)),
            side_of(b, entry.grade(b.text)),
            views,
        )

    async def _views(self, prompt: Prompt, a: Answer, b: Answer) -> Views:
        written_a, written_b = read_positions(a.logprobs), read_positions(b.logprobs)
        if not written_a or not written_b:
            return Views()
        await self.a.learn(prompt, written_a)
        await self.b.learn(prompt, written_b)
        shared = shared_views(written_a, written_b)
        start = len(shared.b)
        more_b = await self.b.read(prompt, written_a, start)
        more_a = await self.a.read(prompt, written_a, start) if more_b else ()
        return read_on(shared, more_a, more_b)


async def _first_answer(name: str, reader: Reader, prompt: Prompt) -> None:
    asking = reader.asking
    for count in (asking.top_logprobs, *(few for few in _FEWER if few < asking.top_logprobs)):
        reader.asking = replace(asking, top_logprobs=count, max_tokens=1)
        answer = await reader.write(prompt)
        reader.asking = replace(asking, top_logprobs=count)
        if answer.failure is None:
            if not answer.logprobs:
                reader.asking = replace(asking, top_logprobs=0)
            break
        if answer.failure.status not in _REFUSED:
            raise NotReady(failure_words(answer.failure, f"a first question to {name}"))
    else:
        raise NotReady(f"{name} refuses every form of the first question")
    if not reader.asking.top_logprobs:
        reader.way = "none"
