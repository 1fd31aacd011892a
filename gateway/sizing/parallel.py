"""Which parallelism a model allows: what must divide what.

Source: vLLM 0.33: `config/model.py` (heads), `layers/vocab_parallel_embedding.py` (vocabulary),
`layers/linear.py` and `layers/quantization` (widths and groups of scales).
"""

from collections.abc import Iterator

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Architecture, Attention, Experts, Mlp, State
from gateway.sizing.quantization import Quantization
from gateway.sizing.units import round_up
from gateway.sizing.weights import VOCAB_MULTIPLE


def obstacles(
    model: Architecture, tensor_parallel: int, quantization: Quantization
) -> Iterator[str]:
    """Why the model cannot be cut into so many pieces; nothing when it can."""
    parallel = tensor_parallel
    if round_up(model.vocab, VOCAB_MULTIPLE) % parallel:
        yield f"the vocabulary of {model.vocab}"
    for mixer in dict.fromkeys(model.mixers):
        if mixer.heads % parallel:
            yield f"{mixer.heads} {'channels' if isinstance(mixer, State) else 'heads'}"
        elif isinstance(mixer, Attention):
            few, many = sorted((mixer.kv_heads, parallel))
            if many % few:
                yield f"{mixer.kv_heads} KV heads"
    for feed in dict.fromkeys(layer.feed for layer in model.layers):
        if isinstance(feed, Mlp | Experts):
            yield from _width(feed.intermediate, parallel, quantization)
        if isinstance(feed, Experts) and feed.shared:
            yield from _width(feed.shared, parallel, quantization)


def _width(width: int, parallel: int, quantization: Quantization) -> Iterator[str]:
    if width % parallel:
        yield f"the intermediate size of {width}"
    elif parallel > 1 and quantization.group > 1 and width // parallel % quantization.group:
        yield (
            f"the intermediate size of {width} in {quantization.name}'s groups of "
            f"{quantization.group}"
        )


def check_parallel(
    model: Architecture, tensor_parallel: int, pipeline_parallel: int, quantization: Quantization
) -> None:
    """Raises PlanInvalid that says what does not divide, and what is possible."""
    if pipeline_parallel > len(model.layers):
        raise PlanInvalid(
            f"--pipeline-parallel {pipeline_parallel}: the model has {len(model.layers)} layers"
        )
    found = next(obstacles(model, tensor_parallel, quantization), None)
    if found is None:
        return
    possible = [n for n in range(1, 65) if not any(obstacles(model, n, quantization))]
    hint = f"possible: {', '.join(map(str, possible))}"
    gpus = tensor_parallel * pipeline_parallel
    ways = [n for n in possible if gpus % n == 0 and gpus // n <= len(model.layers)]
    if ways:
        best = max(ways)
        hint += f"; with {gpus} GPUs: --tensor-parallel {best} --pipeline-parallel {gpus // best}"
    raise PlanInvalid(f"tensor parallelism of {tensor_parallel} does not divide {found}; {hint}")
