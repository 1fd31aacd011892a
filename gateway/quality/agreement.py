"""How near two distributions over the next token are. No I/O.

Engines tell only the likeliest tokens, so the divergence is computed over those that both tell,
those that only A tells, and all others as one. Merging outcomes never makes a divergence larger
(data-processing inequality; Cover and Thomas, "Elements of Information Theory", 2nd ed., section
2.8), and what B gave to tokens it did not tell is taken as near to A's view as it can have been:
what comes out is a lower bound. With 20 tokens on either side it is close.
"""

import math

from gateway.quality.positions import Position

_SMALLEST = 1e-10  # a share below this is rounding


def divergence(a: Position, b: Position) -> float:
    """KL(a || b) in nats, or the least it can be."""
    shared = a.top.keys() & b.top.keys()
    p = [math.exp(a.top[token]) for token in shared]
    q = [math.exp(b.top[token]) for token in shared]
    only_a = [math.exp(a.top[token]) for token in a.top.keys() - shared]
    rest_p, rest_q = _rest(p), _rest(q)
    told = min(math.fsum(only_a), rest_p)
    most = min(len(only_a) * _most_untold(b), rest_q)
    taken = min(rest_q * told / rest_p, most)
    p += [told, rest_p - told]
    q += [taken, rest_q - taken]
    return max(0.0, math.fsum(map(_term, p, q)))


def _term(p: float, q: float) -> float:
    return p * math.log(p / max(q, _SMALLEST)) if p > _SMALLEST else 0.0


def _rest(told: list[float]) -> float:
    return max(_SMALLEST, 1.0 - math.fsum(told))


def _most_untold(position: Position) -> float:
    """The largest share that a token can have had that was not told.

    No more than the least likely of the likeliest; the token that was there may be told beside
    them, however unlikely it was, so it does not count.
    """
    shares = [math.exp(value) for token, value in position.top.items() if token != position.token]
    rest = _rest([math.exp(value) for value in position.top.values()])
    return min([rest, *shares])


def agrees(a: Position, b: Position) -> bool:
    """Whether both find the same token likeliest."""
    return a.best == b.best


def logprob_of(token: bytes, position: Position) -> float:
    """What a position gave to a token, in nats; of one that was not told, the most it can be."""
    if token in position.top:
        return position.top[token]
    if token == position.token:
        return position.logprob
    return math.log(_most_untold(position))


def first_difference(a: tuple[Position, ...], b: tuple[Position, ...]) -> int | None:
    """The place of the first token that differs; None when neither goes on where they agree."""
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one.token != other.token:
            return place
    return None if len(a) == len(b) else min(len(a), len(b))
