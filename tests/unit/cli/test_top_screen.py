import io
from typing import Any

import pytest
from rich.console import Console

from gateway.cli.top_screen import screen, seconds
from gateway.live.compose import view_of
from gateway.live.view import KeysView, View
from tests.support.live import ROUTE, a_key, a_line, a_moment, a_replica_now, a_view


def shown(view: View, height: int | None = None, width: int = 200, **more: Any) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, emoji=False, highlight=False)
    console.print(screen(view, height=height, **more))
    return out.getvalue()


def test_it_says_what_the_page_says() -> None:
    text = shown(a_view())
    assert "5.0 req/s · 4 in flight · 100 tok/s out · 0.0 in" in text
    assert "0.5 failed/s · 0.0 refused/s" in text
    assert "between tokens 12 ms/15 ms/15 ms" in text
    row = next(line for line in text.splitlines() if line.startswith("m:fp8"))
    assert row.split()[:6] == ["m:fp8", "r0", "ready", "3", "1", "50%"]
    assert "30/60 requests_per_minute" in text
    assert "502 engine_error" in text
    assert "req_1" in text


def test_without_rates_it_is_measuring() -> None:
    text = shown(view_of(None, a_moment(failures=[])))
    assert "4 in flight · measuring" in text
    assert "failed at" not in text


@pytest.mark.parametrize(
    ("replica", "words"),
    [
        ({"condition": "unhealthy", "reason": "probe_failed", "usable": False}, "(probe failed)"),
        ({"condition": "away", "reason": "engine_away", "usable": False}, "(engine away)"),
        ({"condition": "trial", "reason": "ejection_over"}, "trial (ejection over)"),
        ({"condition": "unknown", "reason": None}, "unknown"),
    ],
)
def test_a_replica_that_is_not_well_says_why(replica: dict[str, Any], words: str) -> None:
    assert words in shown(a_view(replicas=[a_replica_now(**replica)]))


def test_workers_that_do_not_agree_are_told() -> None:
    text = shown(a_view(workers=4, usable_by={ROUTE: 3.0}))
    assert "4 workers" in text
    assert "ready, for 3 of 4 workers" in text


def test_what_is_unknown_is_a_dash_and_running_is_then_our_own() -> None:
    replica = a_replica_now(running=None, waiting=None, kv_cache_used_ratio=None)
    row = next(
        line
        for line in shown(a_view(replicas=[replica], in_flight={ROUTE: 7.0})).splitlines()
        if line.startswith("m:fp8")
    )
    assert row.split()[3:6] == ["7", "-", "-"]


def test_trouble_of_the_gateway_itself_is_at_the_top() -> None:
    view = a_view(
        draining=True,
        config_problems=("models: required",),
        limits=KeysView(store_state="local", keys=[a_key(left=0)], omitted=3),
    )
    text = shown(view, away="no answer")
    for words in ("waiting for the gateway: no answer", "shutting down", "models: required"):
        assert words in text
    assert "Redis is away (local)" in text
    assert "3 more" in text


def test_a_small_terminal_shows_the_fleet_first() -> None:
    view = a_view(failures=[a_line(request_id=f"req_{number}") for number in range(50)])
    for height in (5, 14, 24, 50):
        assert "m:fp8" in shown(view, height=height)
    assert "failed at" not in shown(view, height=5)
    assert shown(view, height=50).count("req_") == 5
    assert len(shown(view, height=24).splitlines()) <= 24


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0042, "4.2 ms"), (0.042, "42 ms"), (1.25, "1.2 s"), (10.0, ">=10.0 s")],
)
def test_times_read_well(value: float, text: str) -> None:
    assert seconds(value, 10.0) == text
