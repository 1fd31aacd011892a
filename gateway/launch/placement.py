"""Which engine gets which GPUs. No I/O.

An engine gets GPUs of the kind it asks for that have its share of memory free. Engines are spread
where there is room and packed where there is not; those with the most GPUs and the largest
shares choose first. One that takes whatever is free (TGI, a llama.cpp that was not planned)
shares its GPUs with no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import ConfigInvalid
from gateway.sizing.gpus import is_same_gpu


@dataclass(frozen=True, slots=True)
class FoundGpu:
    """A GPU of this machine. `id`: as CUDA_VISIBLE_DEVICES names it; sizes in GiB."""

    id: str
    name: str
    memory_gib: float
    free_gib: float


@dataclass(frozen=True, slots=True)
class Need:
    """What an engine takes of each of its GPUs: a ratio of its memory, or GiB; None is all."""

    path: str
    engine: str
    gpu: str
    gpus: int = 1
    ratio: float | None = None
    gib: float | None = None

    def of(self, gpu: FoundGpu) -> float | None:
        """GiB of this GPU; None: all that is free."""
        return gpu.memory_gib * self.ratio if self.ratio is not None else self.gib


def place(needs: Sequence[Need], found: Sequence[FoundGpu]) -> Mapping[str, tuple[FoundGpu, ...]]:
    """The GPUs of each engine, by its name. Raises ConfigInvalid for those without a place."""
    spread, problems = _placed(needs, found, spreads=True)
    if problems:
        packed, problems = _placed(needs, found, spreads=False)
        if problems:
            raise ConfigInvalid(tuple(problems))
        return packed
    return spread


def _placed(
    needs: Sequence[Need], found: Sequence[FoundGpu], *, spreads: bool
) -> tuple[dict[str, tuple[FoundGpu, ...]], list[str]]:
    room = {gpu.id: gpu.free_gib for gpu in found}
    engines = {gpu.id: 0 for gpu in found}
    placed: dict[str, tuple[FoundGpu, ...]] = {}
    problems: list[str] = []

    def has_room(need: Need, gpu: FoundGpu) -> bool:
        size = need.of(gpu)
        if size is None:
            return engines[gpu.id] == 0
        return size <= room[gpu.id]

    for need in sorted(needs, key=lambda need: _largeness(need, found), reverse=True):
        fitting = [gpu for gpu in found if is_same_gpu(need.gpu, gpu.name) and has_room(need, gpu)]
        fitting.sort(
            key=lambda gpu: (engines[gpu.id], -room[gpu.id]) if spreads else (room[gpu.id],)
        )
        chosen = tuple(fitting[: need.gpus])
        if len(chosen) < need.gpus:
            problems.append(_problem(need, found, room))
            continue
        placed[need.engine] = chosen
        for gpu in chosen:
            size = need.of(gpu)
            room[gpu.id] = 0.0 if size is None else room[gpu.id] - size
            engines[gpu.id] += 1
    return placed, problems


def _largeness(need: Need, found: Sequence[FoundGpu]) -> tuple[int, float]:
    sizes = [need.of(gpu) or gpu.memory_gib for gpu in found if is_same_gpu(need.gpu, gpu.name)]
    return need.gpus, max(sizes, default=0.0)


def _problem(need: Need, found: Sequence[FoundGpu], room: Mapping[str, float]) -> str:
    if not found:
        return (
            f"{need.path}.gpu: {need.engine} asks for {need.gpus} × {need.gpu}, and no GPU was "
            "found here; leave gpu out for an engine on CPUs"
        )
    sizes = {
        f"{size:.1f} GiB"
        for gpu in found
        if (size := need.of(gpu)) is not None and is_same_gpu(need.gpu, gpu.name)
    }
    each = f" with {' or '.join(sorted(sizes))} free on each" if sizes else ""
    listed = ", ".join(f"{gpu.name} ({room[gpu.id]:.1f} GiB left)" for gpu in found)
    return (
        f"{need.path}.gpu: {need.engine} asks for {need.gpus} × {need.gpu}{each}; there are: "
        f"{listed}"
    )
