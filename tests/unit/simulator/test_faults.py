import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.faults import FAULTS, Fault, FaultBox, Injection, read_fault, told_usage
from tests.support.fake_clock import FakeClock

EXAMPLES = {"events": "3", "bytes": "100", "HTTP status": "503", "factor": "20"}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_read_as_it_is_written(name: str) -> None:
    wanted = FAULTS[name]
    value = "" if wanted is None else EXAMPLES.get(wanted, "null")
    written = f"{name}={value}" if value else name
    assert read_fault(f"  {written} ") == Fault(name, value)


def test_options_stand_behind_semicolons() -> None:
    fault = read_fault("status=503; retry-after=2;code=7;nothing")
    assert fault == Fault("status", "503", {"retry-after": "2", "code": "7"})
    assert fault.number == 503


def test_a_fault_without_a_value_has_the_number_zero() -> None:
    assert Fault("drip").number == 0


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("", "unknown fault ''; known: refuse, "),
        ("explode", "unknown fault 'explode'"),
        ("drip=3", "drip takes no value"),
        ("reset-after", "reset-after needs a number: reset-after=N (events)"),
        ("reset-after=soon", "needs a number"),
        ("slow=fast", "slow needs a number: slow=N (factor)"),
        ("usage", "usage needs a kind: usage=missing, null or negative, not ''"),
        ("usage=odd", "usage needs a kind"),
        ("error-event-first;code=bad", "code needs a number, not 'bad'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_fault(written)
    assert problem in str(refused.value)


@given(st.text())
def test_any_text_is_a_fault_or_refused(text: str) -> None:
    try:
        fault = read_fault(text)
    except ValueError:
        return
    assert fault.name in FAULTS


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (None, {"usage": 7}),
        (Fault("drip"), {"usage": 7}),
        (Fault("usage", "missing"), {}),
        (Fault("usage", "null"), {"usage": None}),
    ],
)
def test_usage_is_told_as_the_fault_wants(fault: Fault | None, told: object) -> None:
    assert told_usage(fault, 7) == told


def test_negative_usage_is_an_object_of_negative_counts() -> None:
    told = told_usage(Fault("usage", "negative"), 7)["usage"]
    assert isinstance(told, dict)
    assert max(told.values()) < 0


def test_nothing_is_drawn_where_nothing_is_injected() -> None:
    assert FaultBox().draw(0.0, 0.0) is None


def test_a_count_is_used_up() -> None:
    box = FaultBox()
    box.inject(Injection(Fault("drip"), count=2))
    assert [box.draw(0.0, 0.5) for _ in range(3)] == [Fault("drip"), Fault("drip"), None]
    assert box.injections == []


def test_a_time_passes() -> None:
    box, clock = FaultBox(), FakeClock()
    box.inject(Injection(Fault("drip"), until_s=clock.now_s() + 5))
    clock.pass_s(4.9)
    assert box.draw(clock.now_s(), 0.5) == Fault("drip")
    clock.pass_s(0.1)
    assert box.draw(clock.now_s(), 0.5) is None


def test_chance_decides_and_an_improbable_fault_leaves_room_for_the_next() -> None:
    box = FaultBox()
    box.inject(Injection(Fault("refuse"), probability=0.25))
    box.inject(Injection(Fault("drip")))
    assert box.draw(0.0, 0.2) == Fault("refuse")
    assert box.draw(0.0, 0.3) == Fault("drip")


def test_the_oldest_that_applies_wins() -> None:
    box = FaultBox()
    box.inject(Injection(Fault("refuse"), count=1))
    box.inject(Injection(Fault("drip")))
    assert [box.draw(0.0, 0.0) for _ in range(2)] == [Fault("refuse"), Fault("drip")]


def test_what_is_cleared_is_gone() -> None:
    box = FaultBox()
    box.inject(Injection(Fault("refuse")))
    box.clear()
    assert box.draw(0.0, 0.0) is None
