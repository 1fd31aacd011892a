from gateway.limits.books import Books, in_range
from gateway.limits.store import Usage


def test_sums_by_day_key_and_model() -> None:
    books = Books()
    assert not books
    books.add(Usage("2026-11-25", "k", "m", 5, 2, 1))
    books.add(Usage("2026-11-25", "k", "m", 1, 1, 0, 1, 1))
    books.add(Usage("2026-11-25", "k", "other", 1))
    assert books
    assert list(books.entries()) == [
        Usage("2026-11-25", "k", "m", 6, 3, 1, 2, 1),
        Usage("2026-11-25", "k", "other", 1, 0, 0, 1, 0),
    ]


def test_old_days_are_dropped() -> None:
    books = Books()
    for day in range(1, 32):
        books.add(Usage(f"2026-10-{day:02}", "k", "m"))
    for day in range(1, 4):
        books.add(Usage(f"2026-11-{day:02}", "k", "m"))
    days = [entry.day for entry in books.entries()]
    assert len(days) == 32
    assert days[0] == "2026-10-03"


def test_days_and_keys_are_chosen() -> None:
    entries = [Usage(day, key, "m") for day in ("b", "a", "c") for key in ("y", "x")]
    assert [(e.day, e.caller) for e in in_range(entries, "a", "b", None)] == [
        ("a", "x"),
        ("a", "y"),
        ("b", "x"),
        ("b", "y"),
    ]
    assert [(e.day, e.caller) for e in in_range(entries, "c", "c", "y")] == [("c", "y")]
