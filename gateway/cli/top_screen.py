"""What `gateway top` shows of a view, as tables. Pure but for rich's rendering."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.fleet.health import IDLE
from gateway.live.view import KeysView, ReplicaView, Traffic, View
from gateway.telemetry.bounds import INTER_TOKEN_S, TTFT_S

_UNKNOWN: Final = "-"
_FULL: Final = 0.9
_FAILURES: Final = 5
_KEYS: Final = 5
_LINES_AROUND: Final = 12  # headings, rules and figures
_BAD: Final = "bold red"
_WARN: Final = "yellow"
_IDLE: Final = "dim"


def screen(view: View, *, height: int | None, away: str | None = None) -> RenderableType:
    """`height` in lines bounds how many failures and keys are shown; None: all that are few.

    `away`: why this view is old.
    """
    replicas = sum(len(v.replicas) for model in view.models for v in model.variants)
    room = 1000 if height is None else max(0, height - replicas - _LINES_AROUND)
    keys = min(_KEYS, room // 2)
    parts: list[RenderableType] = [_head(view, away), _figures(view), _fleet(view)]
    if view.limits.keys and keys:
        parts.append(_limits(view.limits, keys))
    failures = min(_FAILURES, room - keys)
    if view.failures and failures > 0:
        parts.append(_failures(view, failures))
    return Group(*parts)


def _head(view: View, away: str | None) -> Text:
    when = datetime.fromtimestamp(view.time_unix_s, UTC).astimezone().strftime("%H:%M:%S")
    workers = "" if view.workers == 1 else f" · {view.workers} workers"
    head = Text(f"sluicegate {view.version}{workers} · {when}", style="bold")
    if away is not None:
        head.append(f"\nwaiting for the gateway: {away}", style=_BAD)
    if view.draining:
        head.append("\nthis gateway is shutting down", style=_BAD)
    for problem in view.config_problems:
        head.append(f"\nthe configuration file is refused: {problem}", style=_BAD)
    return head


def _figures(view: View) -> Text:
    total = view.total
    if total is None:
        return Text(f"{view.in_flight} in flight · measuring")
    ttft, gap = _quantiles(total)
    text = Text(
        f"{_rate(total.requests_per_s)} req/s · {view.in_flight} in flight · "
        f"{_rate(total.output_tokens_per_s)} tok/s out · {_rate(total.input_tokens_per_s)} in · "
        f"first token {ttft} · between tokens {gap} · "
    )
    style = _BAD if total.failures_per_s else ""
    text.append(f"{_rate(total.failures_per_s)} failed/s", style=style)
    text.append(f" · {_rate(total.refused_per_s)} refused/s")
    return text


def _quantiles(total: Traffic) -> tuple[str, str]:
    """p50, p95 and p99 of both."""
    return tuple(  # type: ignore[return-value]  # of two
        _UNKNOWN
        if one is None
        else "/".join(seconds(value, bounds[-1]) for value in (one.p50_s, one.p95_s, one.p99_s))
        for one, bounds in ((total.ttft, TTFT_S), (total.inter_token, INTER_TOKEN_S))
    )


def _fleet(view: View) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for name in ("variant", "replica", "health"):
        table.add_column(name, overflow="fold")
    for name in ("run", "wait", "kv", "req/s", "tok/s", "ttft p95", "gap p95"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in view.models:
        for variant in model.variants:
            for replica in variant.replicas:
                table.add_row(variant.variant, replica.replica, *_row(replica, view.workers))
    return table


def _row(replica: ReplicaView, workers: int) -> Iterator[RenderableType]:
    yield _health(replica, workers)
    yield _count(replica.in_flight if replica.running is None else replica.running)
    yield Text(_count(replica.waiting), style=_WARN if replica.waiting else "")
    used = replica.kv_cache_used_ratio
    yield Text(
        _UNKNOWN if used is None else f"{used:.0%}", style=_BAD if (used or 0) >= _FULL else ""
    )
    traffic = replica.traffic
    if traffic is None:
        yield from [_UNKNOWN] * 4
        return
    yield _rate(traffic.requests_per_s)
    yield _rate(traffic.output_tokens_per_s)
    yield _UNKNOWN if traffic.ttft is None else seconds(traffic.ttft.p95_s, TTFT_S[-1])
    gap = traffic.inter_token
    yield _UNKNOWN if gap is None else seconds(gap.p95_s, INTER_TOKEN_S[-1])


def _health(replica: ReplicaView, workers: int) -> Text:
    text = replica.condition
    if replica.condition != "ready" and replica.reason:
        text += f" ({replica.reason.replace('_', ' ')})"
    if not replica.usable:
        return Text(text, style=_IDLE if replica.condition in IDLE else _BAD)
    if replica.usable_by < workers:
        return Text(f"{text}, for {replica.usable_by} of {workers} workers", style=_WARN)
    return Text(text, style="green" if replica.condition == "ready" else _WARN)


def _limits(limits: KeysView, count: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("key")
    table.add_column("left")
    for key in limits.keys[:count]:
        left = ", ".join(f"{one.left}/{one.burst} {one.rule}" for one in key.limits)
        is_out = any(one.left == 0 for one in key.limits)
        table.add_row(key.key, Text(left, style=_WARN if is_out else ""))
    more = limits.omitted + len(limits.keys[count:])
    if more:
        table.add_row(Text(f"{more} more", style="dim"), "")
    if limits.store_state not in ("ok", "unknown"):
        table.add_row(Text(f"Redis is away ({limits.store_state})", style=_BAD), "")
    return table


def _failures(view: View, count: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("failed at", "what", "where", "request id"):
        table.add_column(name, overflow="ellipsis", no_wrap=True)
    for line in view.failures[:count]:
        when = datetime.fromtimestamp(line.time, UTC).astimezone().strftime("%H:%M:%S")
        what = f"{line.status} {line.error_code or line.outcome}"
        where = " ".join(filter(None, (line.variant or line.model, line.replica)))
        style = _BAD if line.error_source in ("engine", "gateway") else ""
        table.add_row(when, Text(what, style=style), where or _UNKNOWN, line.request_id)
    return table


def seconds(value: float, highest: float) -> str:
    """For people: `12 ms`, `1.2 s`; with `>=` where the histogram ends."""
    least = ">=" if value >= highest else ""
    if value >= 1:
        return f"{least}{value:.1f} s"
    return f"{least}{value * 1000:.{0 if value >= 0.01 else 1}f} ms"


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _count(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.0f}"
