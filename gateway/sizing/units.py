"""Whole-number arithmetic and the unit of memory: GiB, 2^30 bytes, as GPUs and engines tell it."""

GIB = 1 << 30
MIB = 1 << 20


def ceil_div(amount: int, size: int) -> int:
    """How many of `size` hold `amount`."""
    return -(-amount // size)


def round_up(amount: int, multiple: int) -> int:
    """The next multiple that is not smaller."""
    return ceil_div(amount, multiple) * multiple


def gib(amount: float) -> float:
    """Bytes as GiB."""
    return amount / GIB
