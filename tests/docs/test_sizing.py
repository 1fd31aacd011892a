"""The figures in the sentences of docs/gpu-memory.md are those of the code."""

import pytest

from gateway.sizing.activation import logit_bytes, runner_bytes
from gateway.sizing.gpus import find_gpu
from gateway.sizing.overhead import library_bytes
from gateway.sizing.units import GIB
from gateway.sizing.versions import read_version
from tests.docs.generate import DOCS
from tests.support.models import a_model

PAGE = (DOCS / "gpu-memory.md").read_text()
H100 = find_gpu("H100")


def computed() -> dict[str, str]:
    """A sentence's words: the figure that belongs before or into them."""
    old, new = read_version("0.16"), read_version("0.17")
    alone, many = (library_bytes(H100, n, 1).likely / GIB for n in (1, 2))
    counts = runner_bytes(a_model(), read_version(None), 1024) / GIB
    return {
        "memory": f"an H100 has {H100.memory_gib:g} GiB, not 80",
        "logits": f"{logit_bytes(a_model(), new):g} bytes × sequences × vocabulary",
        "sorted": f"({logit_bytes(a_model(), old):g} before 0.17)",
        "kernels": f"CUDA kernels take {alone:.2f} GiB",
        "nccl": f"Hopper GPUs another {many - alone:.1f}.",
        "counts": f"{counts:.1f} GiB with 1024 sequences and Llama's vocabulary",
    }


@pytest.mark.parametrize("name", computed())
def test_a_sentence_has_the_figure_of_the_code(name: str) -> None:
    assert computed()[name] in PAGE
