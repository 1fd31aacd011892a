import random

import pytest

from gateway.cli.compare_job import Job
from gateway.cli.progress import Bar
from gateway.quality.entry import entries_of
from gateway.quality.forced import Asking
from gateway.quality.side import Target
from gateway.quality.verdict import Thresholds
from gateway.remote.address import headers_of, origin_of
from gateway.remote.endpoint import Endpoint
from gateway.remote.models import NotReady
from gateway.remote.prompt_file import a_prompt
from tests.support.simulated import an_engine

ENTRIES = entries_of([a_prompt("one"), a_prompt("two")], "auto", "f")


def a_job(*urls: str) -> Job:
    one, two = (
        Endpoint(origin_of(url), headers_of(None), timeout_s=5) for url in (urls[0], urls[-1])
    )
    return Job(
        targets=(Target(urls[0], "sim"), Target(urls[-1], None)),
        endpoints=(one, two),
        entries=ENTRIES,
        asking=Asking("", max_tokens=4),
        forced_tokens=8,
        name="f",
        rule="auto",
        concurrency=1,
        resume=None,
    )


@pytest.mark.integration
async def test_both_sides_are_asked_and_named() -> None:
    async with an_engine() as engine:
        job = a_job(engine.engine.url)
        with Bar() as bar:
            await job.run(bar)
    report = job.report(Thresholds(), random.Random(1), "now", is_interrupted=False)
    assert (report.a.model, report.b.model, report.b.way) == ("sim", "sim", "none")
    assert report.summary.same is not None
    assert report.summary.same.value == 1
    assert "no logprobs" in report.notes[0]


def test_nothing_done_is_nothing_to_report() -> None:
    with pytest.raises(NotReady, match="before anything was compared"):
        a_job("http://h").report(Thresholds(), random.Random(1), "now", is_interrupted=True)
