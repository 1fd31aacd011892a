"""Answers, positions and comparisons that no model made."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.quality.item import Item, Side, item_of
from gateway.quality.positions import Position
from gateway.quality.report import Compared, Report
from gateway.quality.summary import summary_of
from gateway.quality.verdict import Thresholds
from gateway.quality.views import Views, shared_views


def a_position(token: str, **shares: float) -> Position:
    """`token` is what was written; `shares` are probabilities of the likeliest tokens."""
    told = shares or {token: 0.9}
    top = {one.encode(): math.log(share) for one, share in told.items()}
    own = top.get(token.encode(), math.log(0.01))
    return Position(token.encode(), own, top)


def along(*tokens: str, share: float = 0.9) -> tuple[Position, ...]:
    """Positions at which one token is likely, and "x" takes most of the rest."""
    return tuple(a_position(token, **{token: share, "x": 0.9 * (1 - share)}) for token in tokens)


def a_side(text: str = "a b", **changes: object) -> Side:
    side = Side(text, tokens=2, finish="stop", ttft_ms=10.0, tpot_ms=5.0)
    fields: Mapping[str, object] = {name: getattr(side, name) for name in side.__struct_fields__}
    return Side(**{**fields, **changes})  # type: ignore[arg-type]


def an_item(
    number: int = 0, a: Side | None = None, b: Side | None = None, views: Views | None = None
) -> Item:
    if views is None:
        views = shared_views(along("a", " b"), along("a", " b", share=0.8))
    return item_of(number, f"k{number}", a or a_side(), b or a_side(), views)


def a_report(items: Sequence[Item] | None = None, **changes: object) -> Report:
    items = [an_item(i) for i in range(5)] if items is None else items
    report = Report(
        a=Compared("http://a", "m:bf16", "prefill"),
        b=Compared("http://b", "m:fp8", "prefill"),
        asked={"prompts": "p.jsonl"},
        at="2026-11-25T12:00:00+00:00",
        tool="sluicegate 0",
        items=items,
        summary=summary_of(items, random.Random(1)),
        thresholds=Thresholds(),
    )
    return replace(report, **changes)  # type: ignore[arg-type]
