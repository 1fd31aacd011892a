from pathlib import Path

import pytest

from gateway.cli.bench_setting import Given, setting_of
from gateway.loadtest.arrivals import ClosedLoop, Extent, OpenLoop, Replay
from gateway.loadtest.bench import Setting
from gateway.loadtest.requests import FromFile, Synthetic, Traced
from gateway.loadtest.sweep import Listed, Search
from gateway.remote.wrong_input import WrongInput


def a_setting(given: Given) -> Setting:
    return setting_of(given, "m", "7")[0]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("at_s,prompt_tokens,output_tokens\n0,10,5\n1,20,6\n")
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "p.txt"
    path.write_text("one\ntwo\n")
    return path


def test_without_options_it_is_an_open_loop_of_a_hundred() -> None:
    setting, words = setting_of(Given(), "m", "7")
    assert setting.load == OpenLoop(4.0)
    assert setting.extent == Extent(requests=100)
    assert isinstance(setting.prompts, Synthetic)
    assert setting.asking.ignores_end
    assert setting.rates is None
    assert words == {
        "prompts": "synthetic",
        "prompt_tokens": "256",
        "output_tokens": "64",
        "shared_tokens": 0,
    }


def test_a_closed_loop_and_its_time() -> None:
    setting = a_setting(Given(concurrency=3, think_s=1.0, duration_s=5.0))
    assert setting.load == ClosedLoop(3, 1.0)
    assert setting.extent == Extent(duration_s=5.0)


def test_a_trace_brings_its_lengths_and_its_number(trace: Path) -> None:
    setting, words = setting_of(Given(trace=trace, speed=2.0), "m", "7")
    assert isinstance(setting.load, Replay)
    assert setting.load.speed == 2.0
    assert isinstance(setting.prompts, Traced)
    assert setting.extent == Extent()
    assert words["trace"] == "t.csv"


def test_prompts_of_a_file_end_as_they_like(prompts: Path) -> None:
    setting, words = setting_of(Given(prompts=prompts), "m", "7")
    assert isinstance(setting.prompts, FromFile)
    assert not setting.asking.ignores_end
    assert words["count"] == 2
    limited = a_setting(Given(prompts=prompts, output_tokens="9"))
    assert limited.prompts.prompt(0)[1] == 9


def test_sweeps() -> None:
    assert a_setting(Given(sweep="auto")).rates == Search(1.0)
    assert a_setting(Given(sweep="auto", rate=8.0)).rates == Search(8.0)
    assert a_setting(Given(sweep="4,1,2.5")).rates == Listed((4.0, 1.0, 2.5))
    assert a_setting(Given(sweep="auto")).extent == Extent(duration_s=20.0)


def test_more_fields() -> None:
    setting = a_setting(Given(body='{"top_p": 0.5}', ignore_eos=False))
    assert setting.asking.more == {"top_p": 0.5}
    assert not setting.asking.ignores_end


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Given(rate=1.0, concurrency=2), "--concurrency and --rate exclude"),
        (Given(concurrency=2, sweep="auto"), "--concurrency and --sweep exclude"),
        (Given(trace=Path("t"), sweep="auto"), "--trace and --sweep exclude"),
        (Given(prompts=Path("p"), prompt_tokens="5"), "--prompts brings its own"),
        (Given(prompts=Path("p"), shared_prefix_tokens=5), "--prompts brings its own"),
        (Given(trace=Path("t"), output_tokens="5"), "--trace says how long"),
        (Given(trace=Path("missing.csv")), "--trace missing.csv: no such file"),
        (Given(prompts=Path("missing.txt")), "--prompts missing.txt: no such file"),
        (Given(prompt_tokens="x"), '--prompt-tokens "x" is no length'),
        (Given(output_tokens="0"), "--output-tokens must be from 1"),
        (Given(sweep="fast"), '--sweep "fast": write auto, or rates'),
        (Given(sweep="0,1"), "--sweep"),
        (Given(sweep="nan"), "--sweep"),
        (Given(body="{oops"), "--body: not JSON"),
        (Given(body="[1]"), "--body must be a JSON object"),
    ],
)
def test_contradictions_are_told(given: Given, words: str) -> None:
    with pytest.raises(WrongInput, match=words):
        a_setting(given)
