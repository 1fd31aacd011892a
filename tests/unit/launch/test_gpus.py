import stat
from pathlib import Path

import pytest

from gateway.launch.gpus import GpusUnknown, find_gpus, read_gpus, visible
from gateway.launch.placement import FoundGpu

ANSWER = """\
GPU-1111, NVIDIA H100 80GB HBM3, 81559, 81078
GPU-2222, NVIDIA L4, 23034, 512
"""


def a_driver(folder: Path, script: str) -> dict[str, str]:
    """A machine whose nvidia-smi is this script."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_a_line_is_a_gpu() -> None:
    one, two = read_gpus(ANSWER)
    assert (one.id, one.name) == ("GPU-1111", "NVIDIA H100 80GB HBM3")
    assert one.memory_gib == pytest.approx(79.65, abs=0.01)
    assert two.free_gib == 0.5


def test_memory_that_is_shared_with_the_cpus_is_that_of_the_table() -> None:
    (gpu,) = read_gpus("GPU-1, NVIDIA GB10, [N/A], [N/A]\n\n")
    assert gpu.memory_gib == gpu.free_gib == 119.6


@pytest.mark.parametrize("answer", ["GPU-1, NVIDIA L4", "GPU-1, NVIDIA L4, x, y", "G, ?, [N/A], 1"])
def test_what_cannot_be_read_is_told(answer: str) -> None:
    with pytest.raises(GpusUnknown, match="cannot be read"):
        read_gpus(answer)


@pytest.mark.parametrize(
    ("devices", "seen"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        ("GPU-b, 0", [1, 0]),
        ("0,9,1", [0]),
        ("GPU-x,0", []),
    ],
)
def test_we_may_use_what_is_visible_to_us(devices: str | None, seen: list[int]) -> None:
    gpus = [FoundGpu(f"GPU-{letter}bc", "NVIDIA L4", 22, 22) for letter in "aby"]
    assert visible(gpus, devices) == [gpus[number] for number in seen]


def test_no_driver_is_no_gpu(tmp_path: Path) -> None:
    assert find_gpus({"PATH": str(tmp_path)}) == []


def test_the_driver_is_asked(tmp_path: Path) -> None:
    environ = a_driver(tmp_path, f"cat <<E\n{ANSWER}E")
    assert [gpu.id for gpu in find_gpus(environ)] == ["GPU-1111", "GPU-2222"]
    assert [gpu.id for gpu in find_gpus(environ | {"CUDA_VISIBLE_DEVICES": "1"})] == ["GPU-2222"]


def test_a_driver_without_gpus_is_no_gpu(tmp_path: Path) -> None:
    assert find_gpus(a_driver(tmp_path, "echo No devices were found; exit 6")) == []


def test_a_driver_that_fails_is_told_in_its_words(tmp_path: Path) -> None:
    with pytest.raises(GpusUnknown, match="couldn't communicate"):
        find_gpus(a_driver(tmp_path, 'echo "it couldn\'t communicate"; exit 9'))
    with pytest.raises(GpusUnknown, match="no word why"):
        find_gpus(a_driver(tmp_path, "exit 9"))
    (tmp_path / "nvidia-smi").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(GpusUnknown, match="does not answer"):
        find_gpus({"PATH": str(tmp_path)})
