import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from gateway.api.admin_usage import usage_router
from gateway.limits.memory_store import MemoryStore
from gateway.limits.store import Usage
from tests.support.asked_app import ask
from tests.support.fake_clock import FakeClock

CLOCK = FakeClock()
TODAY = datetime.fromtimestamp(CLOCK.unix_s(), UTC).date()
YESTERDAY = (TODAY - timedelta(days=1)).isoformat()


def a_store() -> MemoryStore:
    store = MemoryStore(CLOCK)
    today = TODAY.isoformat()
    long_ago = (TODAY - timedelta(days=30)).isoformat()
    for usage in (
        Usage(today, "b", "org/m", 10, 5, 2, 1, 0),
        Usage(today, "b", "org/m", 1, 1, 0, 1, 1),
        Usage(today, "a", 'm,"x"', 7, 3, 0, 1, 0),
        Usage(YESTERDAY, "a", "m", 100, 50, 0, 4, 1),
        Usage(long_ago, "a", "m", 1, 1, 0, 1, 0),
    ):
        store.record(usage)
    return store


async def asked(**query: str) -> httpx.Response:
    router = usage_router(a_store(), CLOCK, SecretStr("admin"))
    return await ask(router, path="/admin/usage", key="admin", params=query)


async def test_the_last_thirty_days_are_shown_with_their_sums() -> None:
    told: dict[str, Any] = (await asked()).json()
    assert told["to"] == TODAY.isoformat()
    assert told["from"] == (TODAY - timedelta(days=29)).isoformat()
    assert [(one["day"], one["key"], one["model"]) for one in told["usage"]] == [
        (YESTERDAY, "a", "m"),
        (TODAY.isoformat(), "a", 'm,"x"'),
        (TODAY.isoformat(), "b", "org/m"),
    ]
    assert told["usage"][2] == {
        "day": TODAY.isoformat(),
        "key": "b",
        "model": "org/m",
        "input_tokens": 11,
        "output_tokens": 6,
        "cached_tokens": 2,
        "requests": 2,
        "errors": 1,
    }
    assert told["total"] == {
        "input_tokens": 118,
        "output_tokens": 59,
        "cached_tokens": 2,
        "requests": 7,
        "errors": 2,
    }


async def test_days_and_a_key_can_be_chosen() -> None:
    told = (await asked(**{"from": YESTERDAY, "to": YESTERDAY, "key": "a"})).json()
    assert [one["requests"] for one in told["usage"]] == [4]
    assert (await asked(key="nobody")).json()["usage"] == []


async def test_csv_can_be_read_back_whatever_the_names_hold() -> None:
    answer = await asked(format="csv")
    assert answer.headers["content-type"].startswith("text/csv")
    first = (TODAY - timedelta(days=29)).isoformat()
    name = f'attachment; filename="usage-{first}-{TODAY}.csv"'
    assert answer.headers["content-disposition"] == name
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["model"] for row in rows] == ["m", 'm,"x"', "org/m"]
    assert rows[0] == {
        "day": YESTERDAY,
        "key": "a",
        "model": "m",
        "input_tokens": "100",
        "output_tokens": "50",
        "cached_tokens": "0",
        "requests": "4",
        "errors": "1",
    }


@pytest.mark.parametrize(
    ("query", "param", "message"),
    [
        ({"from": "2026-13-01"}, "from", "from: must be a valid date"),
        ({"from": "0001-01-01"}, "from", "from: must be greater than or equal to 2020-01-01"),
        ({"to": "9999-12-31"}, "to", "to: must be less than or equal to 2999-12-31"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "from", "from: 2026-11-02 is after"),
        ({"from": "2024-01-01", "to": "2026-01-01"}, "from", "from: at most 400 days"),
        ({"format": "xml"}, "format", "format: must be 'json' or 'csv'"),
        ({"first": "2026-11-02"}, "first", "first: unknown field"),
    ],
)
async def test_a_wrong_period_is_told(query: dict[str, str], param: str, message: str) -> None:
    answer = await asked(**query)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert error["message"].startswith(message)


@pytest.mark.parametrize(("days", "status"), [(400, 200), (401, 400)])
async def test_four_hundred_days_are_the_most(days: int, status: int) -> None:
    first = TODAY - timedelta(days=days - 1)
    assert (await asked(**{"from": first.isoformat()})).status_code == status
