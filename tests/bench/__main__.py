"""The data-plane benchmark: `make bench`, or `python -m tests.bench --help`.

A fast fake engine and the load share one core, the gateway has another; docs/performance.md
says what the figures mean. Exit status: 0, 1 when something failed, 2 for wrong options.
"""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

if sys.platform != "linux":
    print(
        "the benchmark needs Linux: it reads /proc and gives each process its own core",
        file=sys.stderr,
    )
    sys.exit(1)

from rich.console import Console

from tests.bench.candidates import (
    Candidate,
    also,
    collector,
    compiled,
    limited,
    redis_server,
    sluicegate,
    traced,
    vllm_router,
)
from tests.bench.processes import BenchFailed, Cores, allow_open_files, cores
from tests.bench.report import as_data, line, table
from tests.bench.rows import Row, RowName, Sizes, measure

_EPILOG = """\
COMMAND of --also must stay in the foreground and listen on PORT. In it, {engine} stands for
the fake engine's URL, {port} for PORT, {key} for the key of the calls; the model is "m".
  python -m tests.bench --also haproxy 9000 'haproxy -f my.cfg' --engine-port 9101

Compare rows of one run only. CPU per request and per chunk hold on a busy machine; requests/s
and times do not."""


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measure what the gateway costs per request and per streamed chunk.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--compiled", metavar="PYTHON", help="measure also the wheel installed for this python"
    )
    parser.add_argument(
        "--also",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "PORT", "COMMAND"),
        help="measure also another proxy; can be given again",
    )
    parser.add_argument(
        "--vllm-router",
        action="store_true",
        help="measure also vllm-router, installed from PyPI into build/ (about 130 MB)",
    )
    parser.add_argument(
        "--limits", action="store_true", help="measure also with limits, in memory and in Redis"
    )
    parser.add_argument(
        "--traces", action="store_true", help="measure also with traces, sampled and not"
    )
    parser.add_argument(
        "--row",
        action="append",
        type=RowName,
        choices=list(RowName),
        metavar="ROW",
        help=f"only this row, one of {', '.join(RowName)}; can be given again",
    )
    parser.add_argument(
        "--repeat", type=_count, default=1, metavar="N", help="so often; medians are shown [1]"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=4.0, metavar="S", help="length of request rows [4]"
    )
    parser.add_argument(
        "--engine-port", type=_port, metavar="PORT", help="the fake engine's port [a free one]"
    )
    parser.add_argument("--json", action="store_true", help="data on stdout, lines on stderr")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    chosen = options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    apart = cores()
    if not apart.are_apart:
        _say("only one core may be used here: all share it, and no figure means much")
    rows: list[Row] = []
    status = 0
    try:
        allow_open_files()
        _measure_all(chosen, apart, rows)
    except BenchFailed as failure:
        _say(f"failed: {failure}")
        status = 1
    except KeyboardInterrupt:
        _say("stopped; what was measured until then:")
        status = 130
    _show(chosen, apart, rows)
    return status or int(any(row.error is not None for row in rows))


def _measure_all(chosen: argparse.Namespace, apart: Cores, rows: list[Row]) -> None:
    """All candidates of a row one after the other, then the next row; then all again."""
    candidates = _candidates(chosen)
    sizes = replace(Sizes(), seconds=chosen.seconds, engine_port=chosen.engine_port)
    with ExitStack() as stack:
        if chosen.limits:
            port = stack.enter_context(redis_server(apart.work))
            candidates += limited(port, chosen.compiled)
        if chosen.traces:
            port = stack.enter_context(collector(apart.work))
            candidates += traced(port, chosen.compiled)
        for _ in range(chosen.repeat):
            for name in chosen.row or RowName:
                for row in measure(name, candidates, apart, sizes):
                    rows.append(row)
                    print(line(row), file=sys.stderr if chosen.json else sys.stdout, flush=True)


def _candidates(chosen: argparse.Namespace) -> list[Candidate]:
    candidates = [sluicegate()]
    if chosen.compiled:
        candidates.append(compiled(chosen.compiled))
    candidates += [also(*given) for given in chosen.also]
    if chosen.vllm_router:
        try:
            candidates += vllm_router()
        except BenchFailed as failure:
            _say(f"going on without vllm-router: {failure}")
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise BenchFailed(f"two candidates have the same name: {', '.join(names)}")
    return candidates


def _show(chosen: argparse.Namespace, apart: Cores, rows: list[Row]) -> None:
    if chosen.json:
        json.dump(as_data(rows, apart, chosen.repeat), sys.stdout, indent=2)
        print()
    elif rows:
        Console(width=200 if not sys.stdout.isatty() else None).print(table(rows))


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not a port")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0.1 <= number <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.1 and 600")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
