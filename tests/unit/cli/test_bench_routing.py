import json
import sys
from pathlib import Path

import pytest

from gateway.experiment.plan import CONTENDERS
from tests.support.command import Outcome, run_command

ROUTER = """\
import json, sys, os
port, *urls = sys.argv[1:]
replicas = [{"url": url} for url in urls]
model = {"name": "simulated", "policy": "prefix-affinity",
         "variants": [{"engine": "vllm", "replicas": replicas}]}
path = os.path.join(os.path.dirname(__file__), "gateway.yaml")
json.dump({"models": [model]}, open(path, "w"))
os.execv(sys.executable, [sys.executable, "-m", "gateway", "serve", "--config", path,
         "--host", "127.0.0.1", "--port", port])
"""
SHORT = ("--replicas", "2", "--duration", "12", "--warmup", "2")


def bench(*words: str) -> Outcome:
    return run_command("bench", "routing", *words)


def test_policies_are_compared_in_a_table_and_in_files(tmp_path: Path) -> None:
    markdown, page = tmp_path / "table.md", tmp_path / "page.html"
    files = ("--markdown", str(markdown), "--html", str(page), "--plots", str(tmp_path))
    outcome = bench(*SHORT, "--workload", "chat", *files)
    assert outcome.code == 0
    for policy in CONTENDERS:
        assert policy in outcome.out
        assert policy in markdown.read_text()
    assert "<svg" in page.read_text()
    assert "prefix-affinity" in (tmp_path / "routing-chat.svg").read_text()


def test_the_same_as_data() -> None:
    chosen = ("--workload", "rag", "--policy", "round-robin", "--processes", "2")
    (told,) = json.loads(bench(*SHORT, *chosen, "--json").out)
    assert (told["workload"], told["router"], told["replicas"]) == ("rag", "round-robin", 2)
    assert told["calls"] > 0


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_a_router_is_measured_over_http(tmp_path: Path) -> None:
    script = tmp_path / "router.py"
    script.write_text(ROUTER)
    router = f"ours={sys.executable} {script} {{port}} {{urls}}"
    outcome = bench(
        "--replicas", "2", "--duration", "4", "--warmup", "0.5", "--workload", "shared",
        "--router", router, "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    (told,) = json.loads(outcome.out)
    assert (told["router"], told["failed"]) == ("ours", 0)
    assert told["calls"] > 0
    assert told["hit_ratio"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workload", "poems"), 'workload "poems" is unknown; known: chat'),
        (("--policy", "best"), 'policy "best" is unknown; known: least-loaded'),
        (("--duration", "5", "--warmup", "5"), "--warmup must be less than --duration"),
        (("--router", "name"), "must be NAME=COMMAND"),
        (("--router", "a=b {port}"), "the words {urls} and {port}"),
        (("--html", "/nowhere/at/all.html"), "its folder does not exist"),
        (("--plots", "/nowhere/at/all"), "is no folder"),
    ],
)
def test_wrong_input_is_told_before_anything_runs(words: tuple[str, ...], said: str) -> None:
    outcome = bench(*words)
    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.integration
def test_a_router_that_ends_at_once_is_a_failure() -> None:
    router = f"broken={sys.executable} -c pass {{port}} {{urls}}"
    outcome = bench("--replicas", "1", "--workload", "chat", "--router", router)
    assert outcome.code == 1
    assert "broken ended with 0" in outcome.err


@pytest.mark.integration
def test_a_router_that_is_not_there_is_a_failure() -> None:
    outcome = bench("--replicas", "1", "--workload", "chat", "--router", "a=/no/such {port} {urls}")
    assert outcome.code == 1
    assert "a: /no/such: No such file" in outcome.err
