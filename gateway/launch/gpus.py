"""The GPUs of this machine, as the driver tells them and as far as we may use them.

Source: `nvidia-smi --help-query-gpu`; CUDA's documentation of CUDA_VISIBLE_DEVICES, which holds
numbers or beginnings of ids, counts from 0, and ends at the first entry that is neither.
"""

import subprocess
from collections.abc import Mapping, Sequence

from gateway.errors import PlanInvalid
from gateway.launch.placement import FoundGpu
from gateway.sizing.gpus import find_gpu

_QUERY = (
    "nvidia-smi",
    "--query-gpu=uuid,name,memory.total,memory.free",
    "--format=csv,noheader,nounits",
)
_ANSWER_S = 60  # a driver that has to be loaded first takes its time
_MIB_PER_GIB = 1024


class GpusUnknown(Exception):  # named for what happened
    """The driver is there and does not answer as it should."""


def find_gpus(environ: Mapping[str, str]) -> list[FoundGpu]:
    """None where there is no NVIDIA driver. Raises GpusUnknown."""
    try:
        answer = subprocess.run(  # noqa: S603  # our own words
            _QUERY,
            capture_output=True,
            text=True,
            timeout=_ANSWER_S,
            check=False,
            env=dict(environ),
        )
    except FileNotFoundError:
        return []
    except (OSError, subprocess.TimeoutExpired) as failed:
        raise GpusUnknown("nvidia-smi does not answer") from failed
    if "No devices were found" in answer.stdout:
        return []
    if answer.returncode != 0:
        said = (answer.stdout.strip() or answer.stderr.strip()).splitlines()
        raise GpusUnknown(f"nvidia-smi failed: {said[0] if said else 'no word why'}")
    return visible(read_gpus(answer.stdout), environ.get("CUDA_VISIBLE_DEVICES"))


def read_gpus(answer: str) -> list[FoundGpu]:
    """One for each line, in the order of the bus. Raises GpusUnknown."""
    found = []
    for line in answer.splitlines():
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(",")]
        try:
            uuid, name, total, free = fields
            memory_gib = _gib(total, name)
            found.append(
                FoundGpu(
                    uuid,
                    name,
                    memory_gib,
                    memory_gib if _is_unknown(free) else float(free) / _MIB_PER_GIB,
                )
            )
        except (ValueError, PlanInvalid) as wrong:
            raise GpusUnknown("nvidia-smi lists a GPU that cannot be read") from wrong
    return found


def visible(gpus: Sequence[FoundGpu], devices: str | None) -> list[FoundGpu]:
    """Those that CUDA_VISIBLE_DEVICES leaves; None: it is not set."""
    if devices is None:
        return list(gpus)
    seen: list[FoundGpu] = []
    for entry in (word.strip() for word in devices.split(",")):
        if entry.isdigit() and int(entry) < len(gpus):
            seen.append(gpus[int(entry)])
        elif entry.startswith("GPU-") and (named := [g for g in gpus if g.id.startswith(entry)]):
            seen.append(named[0])
        else:
            break
    return seen


def _gib(total: str, name: str) -> float:
    """Memory that is shared with the CPUs (GB10) is not told: the table's then."""
    return find_gpu(name).memory_gib if _is_unknown(total) else float(total) / _MIB_PER_GIB


def _is_unknown(figure: str) -> bool:
    return figure.startswith("[")
