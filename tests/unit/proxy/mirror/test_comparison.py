import msgspec

from gateway.proxy.mirror.comparison import REMEMBERED, Comparison, Comparisons, Side


def a_comparison(request_id: str) -> Comparison:
    sides = {"client": Side("m", "r0"), "shadow": Side("s", "r0")}
    return Comparison(1.0, request_id, "m", "s", "chat", False, True, True, 1.0, None, None, sides)


def test_the_last_ones_are_known_the_newest_first() -> None:
    known = Comparisons()
    for number in range(REMEMBERED + 2):
        known.add(a_comparison(f"id-{number}"))
    ids = [one.request_id for one in known]
    assert len(ids) == REMEMBERED
    assert (ids[0], ids[-1]) == (f"id-{REMEMBERED + 1}", "id-2")


def test_what_is_unknown_of_a_side_is_left_out() -> None:
    told = msgspec.to_builtins(a_comparison("id"))
    assert told["answers"]["shadow"] == {"variant": "s", "replica": "r0"}
