"""The experiment of docs/overload.md with a fraction of its load: it measures, and would tell."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from tests.bench.overload.__main__ import bench, falls_short, options
from tests.bench.overload.outcome import Offered, Run
from tests.bench.overload.plot import plotted


def a_run(calls: Sequence[Offered] = (), name: str = "queue", load: float = 1.0) -> Run:
    return Run(name, load, capacity=10.0, from_s=10, to_s=20, calls=calls)


def served(caller: str = "modest", at_s: float = 10.0, tokens: int = 100) -> Offered:
    return Offered(caller, at_s, 200, 1.0, tokens)


def test_goodput_is_what_came_in_time_of_what_could() -> None:
    late = Offered("greedy", 10, 504, 8.0, 100)
    before, after = served(at_s=8.0), served(at_s=19.5)
    assert a_run([served(), before, after, late]).goodput == 1.0
    assert a_run().goodput == 0


def test_callers_are_told_apart() -> None:
    run = a_run([served(), Offered("modest", 11, 503, 0.01, 9), Offered("greedy", 11, 0, 8, 9)])
    assert (run.served_ratio("modest"), run.served_ratio("greedy")) == (0.5, 0)
    assert (run.refused_ratio("modest"), run.refused_ratio("greedy")) == (0.5, 0)
    assert (run.took_s("modest", 0.5), run.took_s("greedy", 0.5)) == (1.0, None)
    assert run.refused_s() == 0.01
    assert run.summary()["modest_p95_s"] == 1.0


def test_too_little_goodput_or_a_starved_caller_falls_short() -> None:
    assert not falls_short(a_run([served()]))
    assert falls_short(a_run([served(tokens=94)]))
    assert falls_short(a_run([served(), Offered("modest", 11, 503, 0.01, 9)]))


def test_the_plot_is_an_svg_with_three_bars_for_each_run() -> None:
    text = plotted([a_run([served()], name) for name in ("queue", "none")])
    assert ET.fromstring(text).tag.endswith("svg")
    assert text.count('class="bar"') == 6


@pytest.mark.timeout(90)
@pytest.mark.integration
def test_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = "--loads 2 --warm-up 1 --seconds 1 --capacity-seconds 1 --token-ms 10 --patience 2"
    chosen = options([*short.split(), "--plot", str(tmp_path / "plot.svg")])
    anyio.run(bench, chosen)
    assert capsys.readouterr().out.count('"goodput"') == 2
    assert (tmp_path / "plot.svg").read_text().startswith("<svg")
