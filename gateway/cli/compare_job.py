"""One run of `gateway compare`: both endpoints, the prompts, and the file it may go on from."""

import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from gateway import __version__
from gateway.cli.compare_work import WorkFile
from gateway.cli.progress import Bar
from gateway.quality.comparison import Comparison
from gateway.quality.entry import Entry
from gateway.quality.forced import Asking
from gateway.quality.item import Item
from gateway.quality.patient import Patient
from gateway.quality.reader import Reader
from gateway.quality.report import Compared, Report
from gateway.quality.side import Target
from gateway.quality.summary import summary_of
from gateway.quality.verdict import Thresholds
from gateway.quality.work_file import Header
from gateway.remote.address import shown
from gateway.remote.endpoint import Endpoint
from gateway.remote.models import NotReady, only_model


@dataclass(slots=True)
class Job:
    """A comparison that is run once. `name`: of the prompts file; `items`: what is done."""

    targets: tuple[Target, Target]
    endpoints: tuple[Endpoint, Endpoint]
    entries: list[Entry]
    asking: Asking
    forced_tokens: int
    name: str
    rule: str
    concurrency: int
    resume: Path | None
    items: dict[int, Item] = field(default_factory=dict)
    sides: list[Compared] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    async def run(self, bar: Bar) -> None:
        """Raises WrongInput and NotReady."""
        async with AsyncExitStack() as stack:
            readers: list[Reader] = []
            for target, endpoint in zip(self.targets, self.endpoints, strict=True):
                await stack.enter_async_context(endpoint)
                name = target.model or await only_model(endpoint)
                readers.append(_reader(self, endpoint, name))
            names = [
                f"{one.asking.model}@{shown(endpoint.origin)}"
                for endpoint, one in zip(self.endpoints, readers, strict=True)
            ]
            work = WorkFile(self.resume, self._header(*names), self.entries)
            self.items = work.items
            try:
                with work:
                    await self._compare(readers, work, bar)
            finally:
                self.sides = [
                    Compared(shown(endpoint.origin), one.asking.model, one.way or "none")
                    for endpoint, one in zip(self.endpoints, readers, strict=True)
                ]

    async def _compare(self, readers: list[Reader], work: WorkFile, bar: Bar) -> None:
        left = [entry for entry in self.entries if entry.number not in work.items]
        bar.begin("prompts", len(self.entries), done=len(work.items))
        if not left:
            return

        def keep(item: Item) -> None:
            work.keep(item)
            bar.advance(failed=item.failure is not None)

        comparison = Comparison(readers[0], readers[1], keep, self.concurrency)
        self.notes += await comparison.prepare(left[0].prompt)
        await comparison.run(left)

    def _header(self, a: str, b: str) -> Header:
        asking = self.asking
        return Header(
            a=a,
            b=b,
            operation=asking.operation,
            max_tokens=asking.max_tokens,
            top_logprobs=asking.top_logprobs,
            rule=self.rule,
            body=asking.more,
        )

    def report(
        self,
        thresholds: Thresholds,
        rng: random.Random,
        at: str,
        *,
        is_interrupted: bool,
    ) -> Report:
        """Raises NotReady when nothing is done."""
        if not self.items or len(self.sides) != len(self.targets):
            raise NotReady("interrupted before anything was compared")
        items = [self.items[number] for number in sorted(self.items)]
        return Report(
            a=self.sides[0],
            b=self.sides[1],
            asked={
                "prompts": self.name,
                "count": len(self.entries),
                "operation": self.asking.operation,
                "max_tokens": self.asking.max_tokens,
                "top_logprobs": self.asking.top_logprobs,
                "rule": self.rule,
            },
            at=at,
            tool=f"sluicegate {__version__}",
            items=items,
            summary=summary_of(items, rng),
            thresholds=thresholds,
            is_interrupted=is_interrupted,
            notes=tuple(self.notes),
        )


def _reader(job: Job, endpoint: Endpoint, model: str) -> Reader:
    given = job.asking
    asking = Asking(model, given.operation, given.max_tokens, given.top_logprobs, given.more)
    return Reader(Patient(endpoint), asking, max_steps=job.forced_tokens)
