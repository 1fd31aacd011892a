import pytest

from gateway.sizing.gpus import find_gpu
from gateway.sizing.overhead import capture_sizes, graph_bytes, library_bytes
from gateway.sizing.units import GIB


@pytest.mark.parametrize(
    ("gpu", "tensor", "pipeline", "likely"),
    [
        ("H100", 1, 1, 0.25),
        ("H100", 2, 1, 2.1),
        ("H100", 1, 2, 0.07),
        ("A100", 2, 1, 1.0),
        ("RTX-3090", 2, 1, 0.45),
        ("MI300X", 8, 1, 2.1),
    ],
)
def test_libraries_take_more_where_gpus_talk(
    gpu: str, tensor: int, pipeline: int, likely: float
) -> None:
    found = library_bytes(find_gpu(gpu), tensor, pipeline)
    assert found.likely / GIB == pytest.approx(likely)
    assert found.low < found.likely < found.high


def test_graphs_are_captured_for_few_sizes_up_to_twice_the_sequences() -> None:
    assert len(capture_sizes(1024)) == 51
    assert capture_sizes(4) == [1, 2, 4, 8]
    assert capture_sizes(1024, 1024)[-1] == 1024


def test_graphs_grow_with_layers_and_sequences() -> None:
    small, large = graph_bytes(28, 1024), graph_bytes(80, 1024)
    assert 0.5 < small.likely / GIB < 0.8
    assert 1.6 < large.likely / GIB < 2.0
    assert graph_bytes(28, 8).likely < small.likely / 4
    assert small.low < small.likely < small.high
