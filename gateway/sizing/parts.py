"""The parts of a model whose weights are treated alike."""

from enum import StrEnum


class Part(StrEnum):
    """What a weight belongs to. `ABSORBED` are the 16-bit copies that latent attention keeps."""

    EMBEDDING = "embedding"
    HEAD = "head"
    NORM = "norm"
    ATTENTION = "attention"
    STATE = "state"
    MLP = "mlp"
    EXPERTS = "experts"
    ROUTER = "router"
    TOWER = "tower"
    ROPE = "rope"
    ABSORBED = "absorbed"
