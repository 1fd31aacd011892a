from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigInvalid
from gateway.launch.placement import FoundGpu, Need, place

H100 = "NVIDIA H100 80GB HBM3"


def gpus(count: int, name: str = H100, memory: float = 80.0, free: float = 80.0) -> list[FoundGpu]:
    return [FoundGpu(f"GPU-{name[-1]}{n}", name, memory, free) for n in range(count)]


def need(engine: str, **given: Any) -> Need:
    return Need("models[0].variants[0].deploy", engine, **{"gpu": "H100", **given})


def places(needs: list[Need], found: list[FoundGpu]) -> dict[str, list[str]]:
    return {name: [gpu.id for gpu in chosen] for name, chosen in place(needs, found).items()}


def problems(needs: list[Need], found: list[FoundGpu]) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as told:
        place(needs, found)
    return told.value.problems


def test_engines_are_spread_where_there_is_room() -> None:
    found = places([need("a", ratio=0.4), need("b", ratio=0.4)], gpus(2))
    assert found == {"a": ["GPU-30"], "b": ["GPU-31"]}


def test_engines_share_a_gpu_up_to_its_memory() -> None:
    found = places([need("a", ratio=0.5), need("b", gib=40)], gpus(1))
    assert found == {"a": ["GPU-30"], "b": ["GPU-30"]}


def test_engines_are_packed_where_spreading_leaves_no_room() -> None:
    """Spread, 0.6 with 0.3 and 0.5 with 0.4 leave two halves of the room for 0.2."""
    ratios = {"a": 0.6, "b": 0.5, "c": 0.4, "d": 0.3, "e": 0.2}
    found = places([need(name, ratio=ratio) for name, ratio in ratios.items()], gpus(2))
    assert found["a"] == found["c"] == ["GPU-30"]
    assert found["b"] == found["d"] == found["e"] == ["GPU-31"]


def test_large_engines_choose_first() -> None:
    found = places([need("small", ratio=0.1), need("large", gpus=2, ratio=0.9)], gpus(2))
    assert found["large"] == ["GPU-30", "GPU-31"]
    assert found["small"] == ["GPU-30"]


def test_one_that_takes_whatever_is_free_is_alone() -> None:
    found = gpus(1, free=60.0)
    assert places([need("a")], found) == {"a": ["GPU-30"]}
    assert len(problems([need("a"), need("b")], found)) == 1
    assert len(problems([need("a"), need("b", ratio=0.1)], found)) == 1


def test_what_others_use_is_not_free() -> None:
    (told,) = problems([need("a", ratio=0.9)], gpus(1, free=70.0))
    assert told == (
        "models[0].variants[0].deploy.gpu: a asks for 1 × H100 with 72.0 GiB free on each; "
        f"there are: {H100} (70.0 GiB left)"
    )


def test_another_kind_of_gpu_will_not_do() -> None:
    (told,) = problems([need("a", ratio=0.9)], gpus(2, "NVIDIA L4", 22, 22))
    assert "asks for 1 × H100; there are: NVIDIA L4 (22.0 GiB left), NVIDIA L4" in told


def test_a_machine_without_gpus_says_so() -> None:
    (told,) = problems([need("a", gpus=2)], [])
    assert "asks for 2 × H100, and no GPU was found here; leave gpu out" in told


def test_each_engine_without_a_place_is_told() -> None:
    assert len(problems([need("a", gpus=3), need("b", gpus=4)], gpus(2))) == 2


@given(
    needs=st.lists(
        st.builds(
            need,
            st.uuids().map(str),
            gpus=st.integers(1, 3),
            ratio=st.one_of(st.none(), st.floats(0.05, 1)),
        ),
        max_size=6,
    ),
    count=st.integers(1, 4),
)
def test_no_gpu_is_promised_twice(needs: list[Need], count: int) -> None:
    try:
        placed = place(needs, gpus(count))
    except ConfigInvalid:
        return
    by_engine = {one.engine: one for one in needs}
    assert placed.keys() == by_engine.keys()
    for gpu in gpus(count):
        sizes = [by_engine[name].of(gpu) for name, chosen in placed.items() if gpu in chosen]
        assert (
            len(sizes) == 1
            or (None not in sizes and sum(size or 0 for size in sizes) <= gpu.free_gib + 1e-6)
            or not sizes
        )
    assert all(len(set(chosen)) == by_engine[name].gpus for name, chosen in placed.items())
