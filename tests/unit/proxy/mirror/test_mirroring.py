"""Mirrored calls through a whole exchange, whose engines answer what the test says."""

import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

from gateway.engines import ENGINES
from gateway.engines.adapter import Load
from gateway.errors import EngineFault, EngineUnreachable
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease, ReplicaState
from gateway.proxy.attempt import StreamBounds
from gateway.proxy.mirror.mirroring import Mirroring
from gateway.routing import POLICIES
from gateway.wire.ask import Operation
from tests.support.configs import a_catalog, a_model
from tests.support.counted import counted
from tests.support.fake_client import FakeClient
from tests.support.fake_upstream import FakeResponse, FakeUpstream
from tests.support.running import until
from tests.unit.proxy.test_exchange import WHOLE, Bench, stream, whole

OTHER = WHOLE.replace(b'"hi"', b'"ho"')


class Mirrors:
    """A model `m` whose calls are all mirrored to `s`; `shadow`: what `s` answers."""

    def __init__(
        self,
        *shadow: FakeResponse | Exception,
        answer: FakeResponse | Exception | None = None,
        to: str = "s",
        shadow_model: dict[str, Any] | None = None,
        **mirror: Any,
    ) -> None:
        self.bench = Bench(answer or whole())
        rules = {"to": to, "sample": 1} | mirror
        m = a_model("m", engine="vllm", url="http://m.test:80", mirror=rules)
        self.bench.fleet.apply(a_catalog(m, a_model("s", **(shadow_model or {}))))
        self.upstream = FakeUpstream(*shadow)
        self.bench.responses += [one for one in shadow if isinstance(one, FakeResponse)]
        self.mirroring = Mirroring(
            fleet=self.bench.fleet,
            engines=ENGINES,
            policies={name: new() for name, new in POLICIES.items()},
            upstream=self.upstream,
            bounds=replace(StreamBounds(), max_answer_bytes=4096),
            metrics=self.bench.metrics,
            clock=self.bench.clock,
            rng=random.Random(0),
        )
        self.bench.exchange._mirroring = self.mirroring

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.mirroring.run)
            await until(lambda: self.mirroring._tasks is not None, 5)
            yield
            await until(lambda: not self.mirroring.held, 5)
            self.mirroring.stop()

    async def run(self, **more: Any) -> dict[str, Any]:
        """One call, and its shadow; the call's line in the log."""
        async with self.running():
            return await self.bench.run(**more)

    def of(self, model: str) -> ReplicaState:
        (state,) = [one for one in self.bench.fleet if one.variant.model == model]
        return state

    @property
    def outcomes(self) -> dict[str, float]:
        return counted(self.bench.metrics, "gateway_mirror_calls", "outcome")

    @property
    def skipped(self) -> dict[str, float]:
        return counted(self.bench.metrics, "gateway_mirror_skipped", "reason")


async def test_a_shadow_is_asked_the_same_and_its_answer_compared() -> None:
    mirrors = Mirrors(FakeResponse(200, [OTHER]))
    line = await mirrors.run(fields={"temperature": 0}, traceparent=b"00-1-2-01")
    assert mirrors.bench.client.body == WHOLE
    assert (line["outcome"], line["model"], line["attempts"]) == ("ok", "m", 1)
    ((origin, request),) = mirrors.upstream.sent
    (_, original) = mirrors.bench.upstream.sent[0]
    assert origin.host == "s.test"
    assert json.loads(request.body) == json.loads(original.body) | {"model": "s"}
    assert (b"x-request-id", b"id-1-mirror") in request.headers
    assert not [name for name, _ in request.headers if name == b"traceparent"]
    assert (mirrors.outcomes, mirrors.skipped) == ({"compared": 1}, {})
    (one,) = mirrors.mirroring.comparisons
    assert (one.request_id, one.greedy, one.same, one.first_difference) == ("id-1", True, False, 1)
    assert one.answers["client"].text is None


async def test_streams_are_compared_as_streams() -> None:
    mirrors = Mirrors(stream(), answer=stream())
    mirrors.mirroring.records_content = True
    await mirrors.run(streams=True)
    (one,) = mirrors.mirroring.comparisons
    assert (one.same, one.stream, one.answers["shadow"].text) == (True, True, "hi")
    assert one.answers["shadow"].ttft_ms is not None


async def test_embeddings_are_compared_by_their_angle() -> None:
    ours, theirs = (
        FakeResponse(200, [b'{"data":[{"embedding":%b}],"model":"m"}' % vector])
        for vector in (b"[1,0]", b"[1,1]")
    )
    mirrors = Mirrors(theirs, answer=ours)
    await mirrors.run(operation=Operation.EMBEDDINGS, fields={"input": "x"})
    (one,) = mirrors.mirroring.comparisons
    assert one.cosine == pytest.approx(0.7071, abs=1e-4)


async def test_nothing_of_a_shadow_counts_as_a_call_or_against_its_replica() -> None:
    mirrors = Mirrors(EngineUnreachable("away"))
    await mirrors.run()
    assert mirrors.outcomes == {"failed": 1}
    assert counted(mirrors.bench.metrics, "gateway_requests", "model") == {"m": 1}
    assert counted(mirrors.bench.metrics, "gateway_attempts", "model") == {"m": 1}
    assert mirrors.of("s").record.failures == 0


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (FakeResponse(500, [b"{}"]), "failed"),
        (FakeResponse(400, [b'{"error":{"message":"too long","code":400}}']), "refused"),
        (FakeResponse(200, [b'{"choices":[]}']), "unreadable"),
        (FakeResponse(200, [OTHER + b" " * 2000]), "too_large"),
        (ValueError("a bug"), "failed"),
    ],
)
async def test_what_came_of_it_is_counted(
    answer: FakeResponse | Exception, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    mirrors = Mirrors(answer, max_answer_bytes=1024)
    assert (await mirrors.run())["outcome"] == "ok"
    assert mirrors.outcomes == {outcome: 1}
    assert not list(mirrors.mirroring.comparisons)
    assert bool(caplog.records) == isinstance(answer, ValueError)


@pytest.mark.parametrize(
    ("more", "why"),
    [({"n": 2}, "unsupported"), ({"x": "y" * 2000}, "too_large")],
)
async def test_what_cannot_be_mirrored_is_counted(more: dict[str, Any], why: str) -> None:
    mirrors = Mirrors(max_body_bytes=1024)
    assert (await mirrors.run(fields=more))["outcome"] == "ok"
    assert (mirrors.skipped, mirrors.upstream.sent) == ({why: 1}, [])


async def test_what_the_shadows_engine_cannot_do_is_not_sent() -> None:
    mirrors = Mirrors(
        answer=FakeResponse(200, [b'{"data":[{"embedding":[1]}],"model":"m"}']),
        shadow_model={"engine": "tgi", "url": "http://s.test:80"},
    )
    await mirrors.run(operation=Operation.EMBEDDINGS, fields={"input": "x"})
    assert (mirrors.skipped, mirrors.upstream.sent) == ({"unsupported": 1}, [])


async def test_an_answer_that_is_too_large_for_the_bound_is_not_compared() -> None:
    big = WHOLE.replace(b'"hi"', b'"%b"' % (b"x" * 2000))
    mirrors = Mirrors(answer=FakeResponse(200, [big]), max_answer_bytes=1024)
    await mirrors.run()
    assert mirrors.bench.client.body == big
    assert mirrors.skipped == {"too_large": 1}


async def test_a_call_that_failed_has_nothing_to_compare() -> None:
    mirrors = Mirrors(answer=EngineFault("broken"))
    assert (await mirrors.run())["outcome"] == "engine_error"
    assert mirrors.skipped == {"unanswered": 1}


async def test_a_call_that_the_shadow_answered_itself_is_not_sent_again() -> None:
    mirrors = Mirrors()
    one = {"engine": "vllm", "quantization": "a", "replicas": [{"url": "http://a.test:80"}]}
    two = one | {"quantization": "b", "replicas": [{"url": "http://b.test:80"}]}
    model = a_model("m", variants=[one, two], mirror={"to": "m:a", "sample": 1})
    mirrors.bench.fleet.apply(a_catalog(model))
    await mirrors.run()
    assert mirrors.skipped == {"same": 1}


async def test_a_shadow_that_is_not_well_is_left_alone() -> None:
    mirrors = Mirrors()
    for _ in range(2):
        mirrors.bench.fleet.probed(mirrors.of("s"), Condition.UNHEALTHY, Load(), 1.0)
    await mirrors.run()
    assert mirrors.skipped == {"unhealthy": 1}


@pytest.mark.parametrize("most", [1, 2])
async def test_a_shadow_gets_no_call_that_would_take_a_real_ones_place(most: int) -> None:
    mirrors = Mirrors(
        shadow_model={"engine": "vllm", "url": "http://s.test:80", "concurrency": most}
    )
    lease = Lease(mirrors.of("s"))
    async with mirrors.running():
        await mirrors.bench.exchange.run(mirrors.bench.call(), mirrors.bench.client)
    assert mirrors.skipped == {"busy": 1}
    lease.release()
    assert mirrors.of("s").in_flight == 0


async def test_a_shadow_with_one_place_gets_it() -> None:
    mirrors = Mirrors(
        whole(), shadow_model={"engine": "vllm", "url": "http://s.test:80", "concurrency": 1}
    )
    await mirrors.run()
    assert mirrors.outcomes == {"compared": 1}


async def test_an_engine_in_which_requests_wait_gets_none() -> None:
    mirrors = Mirrors()
    mirrors.bench.fleet.probed(mirrors.of("s"), Condition.READY, Load(1.0, 1.0), 1.0)
    await mirrors.run()
    assert mirrors.skipped == {"busy": 1}


async def test_no_more_are_held_at_once_than_may_be() -> None:
    mirrors = Mirrors(max_in_flight=1)
    mirrors.mirroring._held["m"] = 1
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(mirrors.mirroring.run)
        await until(lambda: mirrors.mirroring._tasks is not None, 5)
        assert (await mirrors.bench.run())["outcome"] == "ok"
        mirrors.mirroring.stop()
    assert mirrors.skipped == {"full": 1}


async def test_nothing_is_mirrored_before_the_start_and_after_the_stop() -> None:
    mirrors = Mirrors()
    mirrors.mirroring.stop()
    await mirrors.bench.run()
    assert mirrors.skipped == {"stopped": 1}


async def test_a_stop_or_another_configuration_in_the_middle_of_a_call_drops_it() -> None:
    for name in ("stopped", "gone"):
        mirrors = Mirrors()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(mirrors.mirroring.run)
            await until(lambda one=mirrors: one.mirroring._tasks is not None, 5)  # type: ignore[misc]  # bound at once
            call, client = mirrors.bench.call(), FakeClient()
            ask = call.dialect.ask(call.body, call.operation, None)
            variant = mirrors.of("m").variant
            drawn = mirrors.mirroring.sampled(variant, call, ask, client)
            assert drawn is not None
            drawn.client.respond(200, (), WHOLE)
            account = mirrors.bench.books.open(call)
            account.attempt(Lease(mirrors.of("m")))
            if name == "gone":
                mirrors.bench.fleet.apply(a_catalog(a_model("m")))
            else:
                mirrors.mirroring.stop()
            drawn.over(account)
            account.close()
            mirrors.mirroring.stop()
        assert (mirrors.skipped, mirrors.mirroring.held) == ({"stopped": 1}, 0)


async def test_only_a_sample_is_drawn() -> None:
    mirrors = Mirrors(sample=0.000001)
    await mirrors.run()
    assert (mirrors.skipped, mirrors.outcomes) == ({}, {})
