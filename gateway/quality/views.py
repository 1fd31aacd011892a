"""What both sides thought along A's answer, place by place. No I/O.

As long as both wrote the same, and at the first difference, what they thought while writing is of
one context. From there on both are made to read A's answer. Reading a text need not end in the
tokens that were written, so A's reading is held against its writing: where A does not think what
it thought, the context is another, and the place is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.quality.agreement import first_difference
from gateway.quality.forced import is_itself
from gateway.quality.positions import Position


@dataclass(frozen=True, slots=True)
class Views:
    """`b` may be shorter than `a`, and has gaps (None) where it is not known.

    `differs_at`: the place of the first token that differs; None when none does.
    """

    a: tuple[Position, ...] = ()
    b: tuple[Position | None, ...] = ()
    differs_at: int | None = None


def shared_views(a: Sequence[Position], b: Sequence[Position]) -> Views:
    """What both thought as long as they had written the same, the first difference included."""
    place = first_difference(tuple(a), tuple(b))
    reach = len(a) if place is None else place + 1
    return Views(tuple(a), tuple(b[:reach]), place)


def read_on(shared: Views, a: Sequence[Position | None], b: Sequence[Position | None]) -> Views:
    """With what both thought when they read A's answer from where `shared.b` ends."""
    start = len(shared.b)
    known_a, known_b = list(shared.a), list(shared.b)
    for place, (read_a, read_b) in enumerate(zip(a, b, strict=False), start):
        written = shared.a[place]
        if read_a is None or not is_itself(read_a, written):
            known_b.append(None)
            continue
        known_a[place] = Position(written.token, written.logprob, read_a.top)
        known_b.append(read_b)
    return Views(tuple(known_a), tuple(known_b), shared.differs_at)
