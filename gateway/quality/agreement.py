"""How near two distributions over the next token are. No I/O.

Engines tell only the likeliest tokens, so the divergence is computed over those that both tell,
and all others as one: merging outcomes never makes a divergence larger, so what comes out is a
lower bound of the true one (data-processing inequality; Cover and Thomas, "Elements of
Information Theory", 2nd ed., section 2.8 and problem 4.3). With 20 tokens on either side the rest
is rarely more than a few per mille.
"""

import math

from gateway.quality.positions import Position

_SMALLEST = 1e-10  # a rest below this is rounding


def divergence(a: Position, b: Position) -> float:
    """KL(a || b) in nats; None-like 0 where both told nothing but the same token."""
    shared = a.top.keys() & b.top.keys()
    p = [math.exp(a.top[token]) for token in shared]
    q = [math.exp(b.top[token]) for token in shared]
    p.append(_rest(p))
    q.append(_rest(q))
    nats = math.fsum(
        x * math.log(x / max(y, _SMALLEST)) for x, y in zip(p, q, strict=True) if x > 0
    )
    return max(0.0, nats)


def _rest(told: list[float]) -> float:
    left = 1.0 - math.fsum(told)
    return max(_SMALLEST, left)


def agrees(a: Position, b: Position) -> bool:
    """Whether both find the same token likeliest."""
    return a.best == b.best


def logprob_of(token: bytes, position: Position) -> float:
    """What a position gave to a token, in nats; of one that was not told, the most it can be.

    That is no more than the least likely one that was told, and no more than what these left.
    """
    if token in position.top:
        return position.top[token]
    if token == position.token:
        return position.logprob
    left = _rest([math.exp(value) for value in position.top.values()])
    return min([math.log(left), *position.top.values()])


def first_difference(a: tuple[Position, ...], b: tuple[Position, ...]) -> int | None:
    """The place of the first token that differs; None when neither goes on where they agree."""
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one.token != other.token:
            return place
    return None if len(a) == len(b) else min(len(a), len(b))
