import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.gpus import _OTHER_NAMES, GPUS, find_gpu


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("H100", "H100"),
        ("h100", "H100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("a100", "A100-80GB"),
        ("A100 40G", "A100-40GB"),
        ("V100 32G", "V100-32GB"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("rtx_3090", "RTX-3090"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-32GB", "V100-32GB"),
        ("AMD Instinct MI300X", "MI300X"),
    ],
)
def test_a_gpu_is_found_by_the_names_people_and_drivers_use(name: str, found: str) -> None:
    assert find_gpu(name).name == found


def test_every_other_name_leads_to_a_gpu() -> None:
    assert {find_gpu(name).name for name in _OTHER_NAMES} <= {gpu.name for gpu in GPUS}


def test_names_are_unique_and_every_gpu_says_where_it_is_from() -> None:
    assert len({gpu.name for gpu in GPUS}) == len(GPUS)
    assert all(gpu.source and gpu.memory_gib > 0 and gpu.bandwidth_gb_s > 0 for gpu in GPUS)


def test_an_unknown_gpu_is_told_with_what_is_near_and_what_is_known() -> None:
    with pytest.raises(PlanInvalid, match=r'"H10" is not known, did you mean .*known: T4.*L4'):
        find_gpu("H10")
    with pytest.raises(PlanInvalid, match=r'"Voodoo 2" is not known; known: '):
        find_gpu("Voodoo 2")


def test_another_gpu_can_be_planned_for_by_its_memory() -> None:
    gpu = find_gpu("Voodoo 2", 12.5)
    assert (gpu.name, gpu.memory_gib, gpu.is_cuda) == ("Voodoo 2", 12.5, True)


def test_memory_that_is_given_wins_over_the_table() -> None:
    assert find_gpu("H100", 40).memory_gib == 40
    assert find_gpu("H100", 40).capability == (9, 0)


def test_capability_is_of_cuda_only() -> None:
    assert find_gpu("H100").at_least(8, 9)
    assert not find_gpu("A100").at_least(8, 9)
    assert not find_gpu("MI300X").at_least(7)
    assert not find_gpu("MI300X").is_cuda
