"""One prompt, answered by both sides, and what was found; it survives on one line of a file.

No I/O. Token lists belong to A's answer, position by position, as far as B's view of them is
known: always up to the first difference, and beyond where B can be made to read A's answer.
"""

import msgspec

from gateway.quality.agreement import agrees, divergence, logprob_of
from gateway.quality.refusal import refuses
from gateway.quality.views import Views
from gateway.remote.answer import Answer

_DIGITS = 6


class Side(msgspec.Struct, frozen=True):
    """One answer. Times in milliseconds; None where there is none. `right` None: not graded."""

    text: str
    tokens: int
    finish: str | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    right: bool | None = None
    refused: bool = False


class Item(msgspec.Struct, frozen=True):
    """One prompt. `failure` None: both answered.

    `differs_at`: the place of the first token that differs; None when none does or when no tokens
    are known. `common_ratio`: the part of A's text (characters) that B's begins with. `positions`:
    tokens of A's answer whose distribution is known; the four lists are of those that B's view
    is known of.
    """

    number: int
    key: str
    a: Side
    b: Side
    is_same: bool
    common_ratio: float
    positions: int = 0
    differs_at: int | None = None
    kl: tuple[float, ...] = ()
    agrees: tuple[bool, ...] = ()
    a_logprobs: tuple[float, ...] = ()
    b_logprobs: tuple[float, ...] = ()
    failure: str | None = None


def side_of(answer: Answer, right: bool | None) -> Side:
    """What is kept of an answer."""
    times, tokens = answer.times_s, answer.completion_tokens
    pace = 1000 * (times[-1] - times[0]) / (tokens - 1) if len(times) > 1 and tokens > 1 else None
    return Side(
        text=answer.text,
        tokens=tokens,
        finish=answer.finish_reason,
        ttft_ms=round(1000 * (times[0] - answer.sent_s), 3) if times else None,
        tpot_ms=None if pace is None else round(pace, 4),
        right=right,
        refused=refuses(answer.text),
    )


def item_of(number: int, key: str, a: Side, b: Side, views: Views) -> Item:
    """Both sides, compared."""
    both = zip(views.a, views.b, strict=False)
    pairs = [(one, other) for one, other in both if other is not None]
    return Item(
        number=number,
        key=key,
        a=a,
        b=b,
        is_same=a.text == b.text,
        common_ratio=round(common_ratio(a.text, b.text), _DIGITS),
        positions=len(views.a),
        differs_at=views.differs_at,
        kl=tuple(round(divergence(one, other), _DIGITS) for one, other in pairs),
        agrees=tuple(agrees(one, other) for one, other in pairs),
        a_logprobs=tuple(round(logprob_of(one.token, one), _DIGITS) for one, _ in pairs),
        b_logprobs=tuple(round(logprob_of(one.token, other), _DIGITS) for one, other in pairs),
    )


def failed_item(number: int, key: str, failure: str) -> Item:
    """A prompt that one of them did not answer."""
    none = Side("", 0)
    return Item(number, key, none, none, is_same=False, common_ratio=0.0, failure=failure)


def common_ratio(a: str, b: str) -> float:
    """The part of `a`, in characters, that `b` begins with; 1 of an empty one."""
    if not a:
        return 1.0
    same = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        same += 1
    return same / len(a)
