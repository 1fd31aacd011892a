import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.gpus import find_gpu
from gateway.sizing.versions import read_version
from tests.support.models import a_model


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "0.33"), ("0.19", "0.19"), ("v0.19.1", "0.19"), ("0.11.2.post2", "0.11")],
)
def test_a_version_is_read_as_people_write_it(text: str | None, told: str) -> None:
    assert str(read_version(text)) == told


@pytest.mark.parametrize("text", ["", "new", "0", "0.8.5", "1.0", "0.x"])
def test_a_version_that_is_not_known_is_an_error(text: str) -> None:
    with pytest.raises(PlanInvalid, match=r"is not known; vLLM 0\.9 to 0\.33 are"):
        read_version(text)


def test_graphs_are_counted_and_the_share_is_larger_from_0_20() -> None:
    old, new = read_version("0.19"), read_version("0.20")
    assert (old.counts_graphs, old.utilization, old.reports_concurrency) == (False, 0.90, False)
    assert (new.counts_graphs, new.utilization, new.reports_concurrency) == (True, 0.92, True)


@pytest.mark.parametrize(
    ("version", "on_second"),
    [
        ("0.21", []),
        ("0.22", ["qwen3-8b"]),
        ("0.24", ["llama-3.1-8b", "qwen3-8b"]),
        ("0.26", ["llama-3.1-8b", "qwen3-8b", "gemma-2-2b"]),
        ("0.29", ["llama-3.1-8b", "qwen3-8b", "gemma-2-2b", "mixtral-8x7b", "bamba-9b"]),
    ],
)
def test_models_move_to_the_second_runner_in_steps(version: str, on_second: list[str]) -> None:
    names = ["llama-3.1-8b", "qwen3-8b", "gemma-2-2b", "mixtral-8x7b", "bamba-9b"]
    runner = read_version(version).uses_second_runner
    assert [name for name in names if runner(a_model(name))] == on_second


@pytest.mark.parametrize(
    ("version", "gpu", "defaults"),
    [
        (None, "H100", (8192, 1024)),
        (None, "A100", (2048, 256)),
        (None, "L4", (2048, 256)),
        (None, "B200", (16384, 1024)),
        ("0.27", "B200", (8192, 1024)),
        (None, "GB10", (2048, 256)),
        ("0.27", "GB10", (8192, 1024)),
    ],
)
def test_the_batch_depends_on_the_gpu(
    version: str | None, gpu: str, defaults: tuple[int, int]
) -> None:
    assert read_version(version).batch_defaults(find_gpu(gpu)) == defaults
