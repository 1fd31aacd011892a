"""Why a call must not wait, or not any longer, and what its client is told. Pure."""

from enum import StrEnum
from typing import Final

from gateway.errors import ModelWaking, Overloaded
from gateway.fleet.catalog import Variant

_LEAST_S: Final = 0.5
_MOST_S: Final = 60.0
_UNKNOWN_S: Final = 1.0
_WAKING_S: Final = 10.0


class Refused(StrEnum):
    """Why; a label of metrics."""

    FULL = "full"
    LONG = "long"
    OVER = "over"
    DISPLACED = "displaced"


_WORDS: Final = {
    Refused.FULL: "too many calls wait already",
    Refused.LONG: "the wait would be longer than this call may take",
    Refused.OVER: "none was free in time",
    Refused.DISPLACED: "too many of your calls wait already",
}


_WORDS_WAKING: Final = {
    Refused.FULL: "too many calls wait for it already",
    Refused.LONG: "this call may not wait any longer",
    Refused.OVER: "it was not ready in time",
    Refused.DISPLACED: "too many of your calls wait for it already",
}


def refusal(variant: Variant, why: Refused, gone_s: float | None) -> Overloaded:
    """`gone_s`: when those that wait now will have been served; None: nobody can say."""
    after_s = _UNKNOWN_S if gone_s is None else min(_MOST_S, max(_LEAST_S, gone_s))
    return Overloaded(
        f'every replica of "{variant.model}" is busy, and {_WORDS[why]}: try again after '
        f"{after_s:.1f} s",
        retry_after_s=after_s,
    )


def waking_refusal(variant: Variant, why: Refused) -> ModelWaking:
    """The same where its engines are away. Nobody can say when they will be back."""
    return ModelWaking(
        f'"{variant.model}" is being started, and {_WORDS_WAKING[why]}: try again after '
        f"{_WAKING_S:.0f} s",
        retry_after_s=_WAKING_S,
    )
