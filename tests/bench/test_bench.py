"""The benchmark itself, with a fraction of its load: it measures, counts and cleans up."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench import usage
from tests.bench.candidates import Candidate, also, sluicegate
from tests.bench.processes import BenchFailed, Cores, cores, need_free, started
from tests.bench.report import as_data, line, medians, table
from tests.bench.rows import Row, RowName, Sizes, StreamSizes, measure
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc"),
]

_LITTLE = Sizes(
    seconds=0.4,
    warm_s=0.1,
    connections=4,
    streams=StreamSizes(5, 8, 5, rounds=2, spread_s=0.02),
    many_streams=StreamSizes(20, 5, 20, rounds=1, spread_s=0.02),
)


def _measured(name: RowName, candidate: Candidate, on: Cores | None = None) -> Row:
    (row,) = measure(name, [candidate], on or cores(), _LITTLE)
    return row


@pytest.mark.parametrize("name", [RowName.REQUESTS, RowName.LARGE_BODIES])
def test_requests_are_answered_and_cost_something(name: RowName) -> None:
    row = _measured(name, sluicegate())
    assert row.error is None
    assert row.figures["errors"] == 0
    assert row.figures["requests_per_s"] > 0
    assert row.figures["cpu_us"] > 0
    assert row.figures["rss_mb"] > 1


@pytest.mark.parametrize("name", [RowName.STREAMS, RowName.MANY_STREAMS])
def test_streams_bring_every_chunk(name: RowName) -> None:
    row = _measured(name, sluicegate())
    assert row.error is None
    assert row.figures["errors"] == 0
    assert row.figures["chunks_missing"] == 0
    assert row.figures["chunks_per_s"] > 0
    assert 0 < row.figures["ttft_p50_ms"] <= row.figures["ttft_p99_ms"]


def test_the_lateness_of_chunks_is_measured_with_and_without_the_gateway() -> None:
    figures = _measured(RowName.MANY_STREAMS, sluicegate()).figures
    for kind in ("", "direct_"):
        in_order = [figures[f"{kind}late_{part}_ms"] for part in ("p50", "p99", "max")]
        assert in_order == sorted(in_order)
        assert in_order[0] > 0
    part = figures["late_p50_ms"] - figures["direct_late_p50_ms"]
    assert figures["added_late_p50_ms"] == part


def test_everything_runs_on_one_core_where_there_is_no_other() -> None:
    one = frozenset({min(os.sched_getaffinity(0))})
    row = _measured(RowName.REQUESTS, sluicegate(), Cores(one, one))
    assert row.error is None


def test_a_candidate_that_ends_says_why() -> None:
    words = ("-c", "import sys; sys.exit('no such option')")
    row = _measured(RowName.REQUESTS, Candidate("broken", (sys.executable, *words)))
    assert row.error == "broken ended with 1: no such option"
    assert "FAILED" in line(row)
    assert not medians([row])


def test_a_candidate_that_cannot_be_started_says_why() -> None:
    row = _measured(RowName.REQUESTS, also("none", str(free_port()), "./no-such-program {port}"))
    assert row.error == "cannot start ./no-such-program: No such file or directory"


@pytest.mark.parametrize("port", ["", "http", "0", "65536"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(BenchFailed, match="is not a port"):
        also("other", port, "true")


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BenchFailed, match=f"cannot use port {port}: Address already in use"):
            need_free(port)


def test_children_of_a_candidate_are_ended_too(tmp_path: Path) -> None:
    script = "sleep 600 & sleep 600 & wait"
    with started(["sh", "-c", script], cores().measured, tmp_path / "log") as process:
        end_s = time.monotonic() + 10
        while len(family := usage.family(process.pid)) < 3:
            assert time.monotonic() < end_s
            time.sleep(0.01)
    end_s = time.monotonic() + 10
    while any(_lives(pid) for pid in family):
        assert time.monotonic() < end_s
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    return usage.rss_mb((pid,)) > 0


def test_cpu_of_children_that_ended_still_counts() -> None:
    before = usage.cpu(os.getpid())
    busy = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", busy], check=True, timeout=20)
    used = usage.cpu(os.getpid()).since(before)
    assert used.user_s + used.system_s >= 0.15


def test_the_median_of_the_repeats_is_reported() -> None:
    rows = [_a_row("a", cpu_us=value) for value in (10.0, 90.0, 20.0)]
    assert medians(rows)["a", RowName.REQUESTS]["cpu_us"] == 20


def test_large_bodies_are_compared_with_small_ones() -> None:
    rows = [_a_row("a", cpu_us=80.0), _a_row("a", RowName.LARGE_BODIES, cpu_us=290.0)]
    assert medians(rows)["a", RowName.LARGE_BODIES]["extra_us"] == 210


def test_the_table_has_a_column_for_each_candidate() -> None:
    rows = [_a_row("a", requests_per_s=5000.0), Row("b", RowName.REQUESTS, {}, "failed")]
    drawn = table(rows)
    columns = {str(column.header): list(column.cells) for column in drawn.columns}
    assert "5,000" in columns["a"]
    assert set(columns["b"]) == {"-"}


def test_the_data_has_every_row_and_the_machine() -> None:
    data = as_data([_a_row("a", cpu_us=1.0)], cores(), repeat=1)
    assert data["rows"] == [
        {"candidate": "a", "name": "requests", "figures": {"cpu_us": 1.0}, "error": None}
    ]
    assert data["machine"]


def test_help_is_there_without_measuring() -> None:
    command = [sys.executable, "-m", "tests.bench", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0
    assert "--vllm-router" in done.stdout


def _a_row(candidate: str, name: RowName = RowName.REQUESTS, **figures: float) -> Row:
    return Row(candidate, name, figures)
