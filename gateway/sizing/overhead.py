"""What lies on a GPU beside the model: libraries, communication, CUDA graphs, the context.

These are the parts whose mechanism is not open to arithmetic: what drivers and NCCL take was
measured, and ranges say how far it may be off.

Sources: vLLM 0.19 start-up logs on H100 (non-torch memory of TP 1, TP 2, TP 4 and PP runs);
published start-up logs of older versions for GPUs without NVLink.
"""

from dataclasses import dataclass

from gateway.sizing.gpus import Gpu
from gateway.sizing.units import GIB, MIB

CONTEXT_BYTES = int(0.3 * GIB)
"""The CUDA context and libraries, taken before vLLM measures what is free."""

_GRAPH_BYTES = int(0.236 * MIB)
_LARGEST_CAPTURE = 512


@dataclass(frozen=True, slots=True)
class Range:
    """A size with the bounds it may lie in, in bytes."""

    likely: float
    low: float
    high: float


def library_bytes(gpu: Gpu, tensor_parallel: int, pipeline_parallel: int) -> Range:
    """What libraries take outside of torch: kernels and, with several GPUs, NCCL.

    Hopper and newer GPUs reduce inside the NVLink switch, whose buffers are large.
    """
    if tensor_parallel > 1:
        if gpu.has_link and (gpu.at_least(9) or not gpu.is_cuda):
            return Range(2.1 * GIB, 1.6 * GIB, 2.6 * GIB)
        if gpu.has_link:
            return Range(1.0 * GIB, 0.5 * GIB, 2.0 * GIB)
        return Range(0.45 * GIB, 0.2 * GIB, 1.0 * GIB)
    if pipeline_parallel > 1:
        return Range(0.07 * GIB, 0.05 * GIB, 0.5 * GIB)
    return Range(0.25 * GIB, 0.1 * GIB, 0.5 * GIB)


def capture_sizes(sequences: int, largest: int = _LARGEST_CAPTURE) -> list[int]:
    """The batch sizes that CUDA graphs are captured for: up to twice the sequences."""
    limit = min(2 * sequences, largest)
    sizes = [1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16)]
    return [size for size in sizes if size <= limit]


def graph_bytes(layers: int, sequences: int, *, largest: int = _LARGEST_CAPTURE) -> Range:
    """What CUDA graphs take, as vLLM estimates it before it sizes the KV cache.

    Each captured size is recorded twice, in pieces and, up to the number of sequences, whole;
    both grow with the layers. Measured on an H100: 0.5 to 1.85 GiB.
    """
    sizes = capture_sizes(sequences, largest)
    captured = len(sizes) + sum(size <= sequences for size in sizes)
    likely = float(layers * captured * _GRAPH_BYTES)
    return Range(likely, likely * 0.5, likely * 1.6)
