"""The rows: what is sent, and which figures come out of it.

For each row a candidate and the engine are started anew, so that no row sees what another one
left behind; a short load before the measured one makes them warm.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import assert_never

from tests.bench import usage
from tests.bench.candidates import KEY, Candidate, Serving, serving, wait_until_it_answers
from tests.bench.engine import MODEL
from tests.bench.load import Plan, Result
from tests.bench.processes import BenchFailed, Cores, need_free, run_load, started
from tests.support.ports import free_port

_SMALL_BODY_BYTES = 1_000
_LARGE_BODY_BYTES = 220_000
_SLACK_S = 30.0


class RowName(StrEnum):
    """What is measured."""

    REQUESTS = "requests"
    LARGE_BODIES = "large-bodies"
    STREAMS = "streams"
    MANY_STREAMS = "many-streams"


@dataclass(frozen=True, slots=True)
class StreamSizes:
    """So many streams at once, `rounds` one after the other on each connection."""

    streams: int
    chunks: int
    interval_ms: int
    rounds: int
    spread_s: float

    @property
    def lasts_s(self) -> float:
        return self.spread_s + self.rounds * self.chunks * self.interval_ms / 1000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much load; the tests take less of it. `engine_port` None: a free one."""

    seconds: float = 4.0
    warm_s: float = 1.0
    connections: int = 32
    streams: StreamSizes = StreamSizes(200, 128, 20, rounds=2, spread_s=1.0)
    many_streams: StreamSizes = StreamSizes(1000, 80, 100, rounds=1, spread_s=1.0)
    engine_port: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate's figures of one row. `error`: what went wrong first, None if nothing did."""

    candidate: str
    name: RowName
    figures: Mapping[str, float]
    error: str | None = None


def measure(
    name: RowName, candidates: Sequence[Candidate], cores: Cores, sizes: Sizes
) -> Iterator[Row]:
    """This row of each candidate. What cannot be measured is a row with an error."""
    pace = sizes.many_streams if name is RowName.MANY_STREAMS else sizes.streams
    with _engine(pace, cores, sizes.engine_port or free_port()) as engine_port:
        direct = None
        if name is RowName.MANY_STREAMS:
            direct = run_load(_streams(engine_port, pace), cores.work)
            if direct.error is not None:
                raise BenchFailed(f"without a gateway: {direct.error}")
        for candidate in candidates:
            try:
                with serving(candidate, engine_port, cores.measured) as served:
                    row = _row(name, served, cores, sizes, direct)
                    yield Row(candidate.name, name, *row)
            except BenchFailed as failure:
                yield Row(candidate.name, name, {}, str(failure))


def _row(
    name: RowName, served: Serving, cores: Cores, sizes: Sizes, direct: Result | None
) -> tuple[Mapping[str, float], str | None]:
    meter = Meter(served.pid, cores)
    closed = partial(_requests, served.port)
    meter.run(closed(8, sizes.warm_s, _SMALL_BODY_BYTES))
    match name:
        case RowName.REQUESTS:
            one = meter.run(closed(1, sizes.seconds * 0.75, _SMALL_BODY_BYTES))
            figures = {
                "latency_p50_us": one.latency_p50_us,
                "latency_p99_us": one.latency_p99_us,
            }
            many = meter.run(closed(sizes.connections, sizes.seconds, _SMALL_BODY_BYTES))
            figures = _per_request(meter, many) | figures
        case RowName.LARGE_BODIES:
            meter.run(closed(8, sizes.warm_s / 2, _LARGE_BODY_BYTES))
            many = meter.run(closed(sizes.connections, sizes.seconds, _LARGE_BODY_BYTES))
            figures = _per_request(meter, many)
        case RowName.STREAMS:
            figures = _per_chunk(meter, meter.run(_streams(served.port, sizes.streams)))
        case RowName.MANY_STREAMS:
            assert direct is not None
            many = meter.run(_streams(served.port, sizes.many_streams))
            figures = _per_chunk(meter, many) | _lateness(many, direct)
        case _:
            assert_never(name)
    figures |= {"rss_mb": meter.rss_mb, "errors": meter.errors}
    return figures, meter.error


class Meter:
    """What one candidate has used and how often it failed."""

    def __init__(self, pid: int, cores: Cores) -> None:
        self.cpu = usage.Cpu(0, 0)
        self.rss_mb = 0.0
        self.errors = 0
        self.error: str | None = None
        self._pid = pid
        self._cores = cores

    def run(self, plan: Plan) -> Result:
        """Run a load; `cpu` is what it cost, from its first connection to its last."""
        before, pids = usage.cpu(self._pid), usage.family(self._pid)

        def look() -> None:
            self.rss_mb = max(self.rss_mb, usage.rss_mb(pids))

        result = run_load(plan, self._cores.work, look)
        look()
        self.cpu = usage.cpu(self._pid).since(before)
        self.errors += result.errors
        self.error = self.error or result.error
        return result


def _per_request(meter: Meter, result: Result) -> dict[str, float]:
    each = meter.cpu.each_us(result.done)
    return {
        "cpu_us": each.total_us,
        "user_us": each.user_us,
        "system_us": each.system_us,
        "requests_per_s": result.done / result.seconds,
    }


def _per_chunk(meter: Meter, result: Result) -> dict[str, float]:
    each = meter.cpu.each_us(result.chunks)
    return {
        "cpu_us_per_chunk": each.total_us,
        "user_us_per_chunk": each.user_us,
        "system_us_per_chunk": each.system_us,
        "chunks_per_s": result.chunks / result.seconds,
        "ttft_p50_ms": result.ttft_p50_ms,
        "ttft_p99_ms": result.ttft_p99_ms,
        "chunks_missing": result.missing,
    }


def _lateness(result: Result, direct: Result) -> dict[str, float]:
    figures: dict[str, float] = {}
    for part in ("late_p50_ms", "late_p99_ms", "late_max_ms"):
        through, without = getattr(result, part), getattr(direct, part)
        figures |= {part: through, f"direct_{part}": without, f"added_{part}": through - without}
    return figures


def _requests(port: int, connections: int, seconds: float, body_bytes: int) -> Plan:
    return Plan(
        port=port,
        connections=connections,
        body_bytes=body_bytes,
        seconds=seconds,
        limit_s=seconds + _SLACK_S,
        model=MODEL,
        key=KEY,
    )


def _streams(port: int, sizes: StreamSizes) -> Plan:
    return Plan(
        port=port,
        connections=sizes.streams,
        body_bytes=_SMALL_BODY_BYTES,
        rounds=sizes.rounds,
        chunks=sizes.chunks,
        spread_s=sizes.spread_s,
        limit_s=sizes.lasts_s + _SLACK_S,
        model=MODEL,
        key=KEY,
    )


@contextmanager
def _engine(pace: StreamSizes, cores: Cores, port: int) -> Iterator[int]:
    """The fake engine's port, once it answers."""
    need_free(port)
    command = [sys.executable, "-m", "tests.bench.engine", str(port)]
    command += [str(pace.chunks), str(pace.interval_ms)]
    with TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / "log"
        with started(command, cores.work, log) as process:
            wait_until_it_answers("the engine", process, port, log)
            yield port
