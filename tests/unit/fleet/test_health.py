import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from gateway.errors import (
    ClientGone,
    ConnectionLost,
    DeadlineExceeded,
    Draining,
    EngineDraining,
    EngineFault,
    EngineMisconfigured,
    EngineOverloaded,
    EngineRefused,
    EngineSilent,
    EngineUnreachable,
    GatewayError,
    InvalidRequest,
    NoReplica,
    RateLimited,
    StreamBroken,
    StreamStalled,
)
from gateway.fleet.health import (
    Condition,
    Ejection,
    Health,
    HealthRules,
    Reason,
    Record,
    Sign,
    after_failed_trial,
    after_probe,
    ejected,
    is_due,
    is_panic,
    may_eject,
    on_trial,
    readmitted,
    reason_for,
    sign_of,
    stands_out,
    why_eject,
)

RULES = HealthRules()
WELL = Health(Condition.READY)
AWAY = Health(Condition.UNHEALTHY)
ASLEEP = Health(Condition.ASLEEP)


class Unlucky(random.Random):
    """Draws the jitter that shortens nothing."""

    @override
    def random(self) -> float:
        return 0.0


RNG = Unlucky()


def out(
    reason: Reason = Reason.FAILURES, *, times: int = 1, probed: Condition = Condition.READY
) -> Health:
    return Health(probed, ejection=Ejection(reason, 1000.0), ejections=times)


def a_trial(times: int = 1) -> Health:
    return on_trial(out(times=times))


# --- what probes say


def test_nobody_is_out_before_the_first_probe() -> None:
    assert Health().is_usable


def test_one_failed_probe_is_forgiven_two_are_not() -> None:
    once = after_probe(WELL, Condition.UNHEALTHY)
    assert once.is_usable
    assert not after_probe(once, Condition.UNHEALTHY).is_usable


def test_one_good_probe_brings_a_replica_back() -> None:
    away = Health(Condition.UNHEALTHY, failures=9)
    assert not after_probe(away, Condition.UNHEALTHY).is_usable
    assert after_probe(away, Condition.READY) == WELL


@pytest.mark.parametrize(
    "said", [Condition.LOADING, Condition.ASLEEP, Condition.MISCONFIGURED], ids=str
)
def test_what_an_engine_says_of_itself_counts_at_once(said: Condition) -> None:
    health = after_probe(WELL, said)
    assert not health.is_usable
    assert health.condition is said


@pytest.mark.parametrize(
    ("health", "reason"),
    [
        (WELL, Reason.PROBE_PASSED),
        (AWAY, Reason.PROBE_FAILED),
        (ASLEEP, Reason.ASLEEP),
        (Health(Condition.LOADING), Reason.LOADING),
        (Health(Condition.MISCONFIGURED), Reason.MODEL_MISSING),
        (out(Reason.TIMEOUTS), Reason.TIMEOUTS),
        (out(Reason.TIMEOUTS, probed=Condition.UNHEALTHY), Reason.PROBE_FAILED),
        (a_trial(), Reason.RESTARTED),
    ],
)
def test_every_condition_has_a_reason(health: Health, reason: Reason) -> None:
    assert reason_for(health) is reason


# --- what is shown, and who may be picked


@pytest.mark.parametrize(
    ("health", "condition", "usable", "on_trial", "in_panic"),
    [
        (WELL, Condition.READY, True, False, True),
        (AWAY, Condition.UNHEALTHY, False, False, False),
        (ASLEEP, Condition.ASLEEP, False, False, False),
        (out(), Condition.EJECTED, False, False, True),
        (a_trial(), Condition.TRIAL, False, True, True),
        (out(Reason.DRAINING), Condition.DRAINING, False, False, False),
        (out(Reason.REFUSED), Condition.MISCONFIGURED, False, False, False),
        (out(probed=Condition.UNHEALTHY), Condition.UNHEALTHY, False, False, False),
        (out(probed=Condition.ASLEEP), Condition.ASLEEP, False, False, False),
    ],
)
def test_the_worse_of_probes_and_attempts_is_what_counts(
    health: Health, condition: Condition, usable: bool, on_trial: bool, in_panic: bool
) -> None:
    assert health.condition is condition
    assert health.is_usable is usable
    assert health.is_on_trial is on_trial
    assert health.may_serve_in_panic is in_panic


# --- what failures say


@pytest.mark.parametrize(
    ("failure", "sign"),
    [
        (EngineFault("x"), Sign.FAILURE),
        (EngineUnreachable("x"), Sign.FAILURE),
        (ConnectionLost("x"), Sign.FAILURE),
        (StreamBroken("x"), Sign.FAILURE),
        (EngineSilent("x"), Sign.TIMEOUT),
        (StreamStalled("x"), Sign.TIMEOUT),
        (EngineOverloaded("x"), Sign.OVERLOADED),
        (EngineDraining("x"), Sign.DRAINING),
        (EngineMisconfigured("x"), Sign.MISCONFIGURED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_failure_of_the_engine_says(failure: GatewayError, sign: Sign) -> None:
    assert sign_of(failure) is sign


CLIENTS = [
    ClientGone("x"),
    InvalidRequest("x"),
    EngineRefused("x", status=404),
    RateLimited("x"),
    DeadlineExceeded("x"),
    NoReplica("x"),
    Draining("x"),
]


@pytest.mark.parametrize("failure", CLIENTS, ids=lambda failure: type(failure).__name__)
def test_what_the_client_or_the_gateway_brought_about_says_nothing(failure: GatewayError) -> None:
    assert sign_of(failure) is None


def failed(*signs: Sign) -> Record:
    record = Record()
    for sign in signs:
        record.add_failure(sign)
    return record


@pytest.mark.parametrize(
    ("signs", "reason"),
    [
        ([Sign.FAILURE] * 4, None),
        ([Sign.FAILURE] * 5, Reason.FAILURES),
        ([Sign.TIMEOUT], None),
        ([Sign.TIMEOUT] * 2, Reason.TIMEOUTS),
        ([Sign.TIMEOUT, Sign.FAILURE, Sign.TIMEOUT], Reason.TIMEOUTS),
        ([Sign.MISCONFIGURED], None),
        ([Sign.MISCONFIGURED] * 2, Reason.REFUSED),
        ([Sign.DRAINING], Reason.DRAINING),
        ([Sign.OVERLOADED] * 50, None),
    ],
)
def test_how_many_failures_in_a_row_it_takes(signs: list[Sign], reason: Reason | None) -> None:
    assert why_eject(failed(*signs), signs[-1], RULES) is reason


def test_a_success_ends_every_row_and_is_not_the_end_of_the_rate() -> None:
    record = failed(Sign.TIMEOUT, Sign.MISCONFIGURED)
    record.add_success()
    assert (record.failures, record.timeouts, record.refusals) == (0, 0, 0)
    assert record.success_rate == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("record", "rate"),
    [(Record(), None), (Record(succeeded=0.8), None), (Record(succeeded=3, failed=1), 0.75)],
)
def test_the_rate_is_unknown_until_something_came_and_when_it_is_long_ago(
    record: Record, rate: float | None
) -> None:
    assert record.success_rate == rate


def test_what_is_past_counts_less() -> None:
    record = Record(succeeded=10, failed=5)
    record.fade()
    assert (record.succeeded, record.failed) == (8, 4)


# --- who may be ejected


def siblings(*healths: Health, failing: int = 0) -> list[tuple[Health, Record]]:
    records = [failed(Sign.FAILURE) if number < failing else Record() for number in range(9)]
    return list(zip(healths, records, strict=False))


@pytest.mark.parametrize(
    ("others", "allowed"),
    [
        (siblings(), False),
        (siblings(WELL), True),
        (siblings(AWAY), False),
        (siblings(out()), False),
        (siblings(a_trial()), False),
        (siblings(WELL, WELL), True),
        (siblings(WELL, out()), False),
        (siblings(WELL, AWAY), False),
        (siblings(WELL, ASLEEP), True),
        (siblings(WELL, WELL, out()), True),
        (siblings(WELL, out(), out()), False),
        (siblings(WELL, failing=1), False),
        (siblings(WELL, WELL, failing=1), True),
        (siblings(WELL, WELL, WELL, failing=2), False),
    ],
)
def test_only_what_stands_out_is_ejected_and_enough_is_left(
    others: list[tuple[Health, Record]], allowed: bool
) -> None:
    assert may_eject(Reason.FAILURES, others, RULES) is allowed


@pytest.mark.parametrize("reason", [Reason.DRAINING, Reason.REFUSED])
def test_what_the_engine_says_itself_needs_no_leave(reason: Reason) -> None:
    assert may_eject(reason, siblings(), RULES)


def test_without_a_panic_ratio_all_but_the_last_may_be_ejected() -> None:
    rules = HealthRules(panic_ratio=0)
    assert may_eject(Reason.FAILURES, siblings(WELL, out(), out(), out()), rules)
    assert not may_eject(Reason.FAILURES, siblings(out(), out(), out()), rules)


@pytest.mark.parametrize(
    ("healths", "panics"),
    [
        ([WELL, WELL], False),
        ([WELL, out()], False),
        ([WELL, out(), AWAY], True),
        ([WELL, out(), ASLEEP], False),
        ([out()], True),
        ([AWAY], True),
        ([ASLEEP], True),
    ],
)
def test_too_few_left_is_a_panic(healths: list[Health], panics: bool) -> None:
    assert is_panic(healths, RULES) is panics


HEALTHS = st.builds(
    Health,
    st.sampled_from([Condition.READY, Condition.UNKNOWN, Condition.UNHEALTHY, Condition.ASLEEP]),
    ejection=st.none()
    | st.builds(Ejection, st.sampled_from([Reason.FAILURES, Reason.TIMEOUTS]), st.just(1.0)),
)


@given(st.lists(HEALTHS, max_size=8), st.floats(0, 1), st.sampled_from([Reason.FAILURES, *Reason]))
def test_an_outlier_is_never_the_last_nor_leaves_a_panic(
    others: list[Health], ratio: float, reason: Reason
) -> None:
    rules = HealthRules(panic_ratio=ratio)
    if reason in (Reason.DRAINING, Reason.REFUSED):
        return
    if may_eject(reason, [(health, Record()) for health in others], rules):
        after = [*others, ejected(WELL, reason, rules, 0.0, RNG)]
        assert any(health.is_usable for health in after)
        assert not is_panic(after, rules)


# --- success rates


def a_record(succeeded: float, failures: float = 0) -> Record:
    return Record(succeeded=succeeded, failed=failures)


@pytest.mark.parametrize(
    ("own", "others", "stands"),
    [
        (a_record(10, 10), [a_record(100)], True),
        (a_record(17, 3), [a_record(100)], False),
        (a_record(5, 5), [a_record(100)], False),
        (a_record(10, 10), [a_record(10)], False),
        (a_record(10, 10), [a_record(10), a_record(10)], True),
        (a_record(10, 10), [a_record(50, 50)], False),
        (a_record(8, 12), [a_record(60, 40)], False),
        (a_record(10, 10), [], False),
    ],
)
def test_a_replica_stands_out_by_more_than_chance(
    own: Record, others: list[Record], stands: bool
) -> None:
    assert stands_out(own, others) is stands


@given(st.floats(0, 1), st.floats(20, 1e6), st.integers(1, 5))
def test_nobody_stands_out_where_all_are_alike(rate: float, attempts: float, many: int) -> None:
    record = a_record(rate * attempts, (1 - rate) * attempts)
    assert not stands_out(record, [record] * many)


# --- for how long


def until_s(health: Health) -> float:
    assert health.ejection is not None
    return health.ejection.until_s


def test_every_ejection_is_twice_as_long_as_the_last_up_to_a_bound() -> None:
    health, lengths = WELL, []
    for _ in range(6):
        health = ejected(health, Reason.FAILURES, RULES, 0.0, RNG)
        lengths.append(until_s(health))
        health = readmitted(health, 0.0)
    assert lengths == [30, 60, 120, 240, 300, 300]


def test_ejections_are_forgotten_one_by_one_while_it_serves() -> None:
    health = readmitted(out(times=4), 100.0)
    assert ejected(health, Reason.FAILURES, RULES, 129.0, RNG).ejections == 5
    assert ejected(health, Reason.FAILURES, RULES, 161.0, RNG).ejections == 3
    assert ejected(health, Reason.FAILURES, RULES, 10_000.0, RNG).ejections == 1


@given(
    times=st.integers(0, 40),
    rules=st.builds(
        HealthRules, ejection_s=st.floats(0.1, 3600), max_ejection_s=st.floats(0.1, 86_400)
    ),
    now_s=st.floats(0, 1e9),
    seed=st.integers(),
)
def test_an_ejection_grows_is_bounded_and_always_ends_in_a_trial(
    times: int, rules: HealthRules, now_s: float, seed: int
) -> None:
    served = Health(Condition.READY, ejections=times, served_since_s=now_s)
    rng = random.Random(seed)
    health = ejected(served, Reason.FAILURES, rules, now_s, rng)
    length_s = until_s(health) - now_s
    bound_s = min(rules.max_ejection_s, rules.ejection_s * 2.0 ** min(times, 15))
    assert 0.9 * bound_s - 1e-6 <= length_s <= bound_s + 1e-6
    assert not is_due(health, math.nextafter(until_s(health), -math.inf))
    assert is_due(health, until_s(health))
    trial = on_trial(health)
    assert trial.is_on_trial
    assert not is_due(trial, math.inf)
    again = after_failed_trial(trial, Sign.FAILURE, rules, now_s, RNG)
    assert again.ejections >= health.ejections
    assert is_due(again, until_s(again))


@pytest.mark.parametrize("health", [WELL, out(probed=Condition.UNHEALTHY)])
def test_only_an_ejected_replica_that_looks_well_is_due(health: Health) -> None:
    assert not is_due(health, 1e9)


def test_one_that_serves_needs_no_trial() -> None:
    assert on_trial(WELL) is WELL


@pytest.mark.parametrize(
    ("sign", "reason", "times"),
    [
        (Sign.FAILURE, Reason.TRIAL_FAILED, 3),
        (Sign.TIMEOUT, Reason.TRIAL_FAILED, 3),
        (Sign.OVERLOADED, Reason.TRIAL_FAILED, 2),
        (Sign.DRAINING, Reason.DRAINING, 3),
        (Sign.MISCONFIGURED, Reason.REFUSED, 3),
    ],
)
def test_a_trial_that_fails_is_another_ejection(sign: Sign, reason: Reason, times: int) -> None:
    health = after_failed_trial(a_trial(times=2), sign, RULES, 2000.0, RNG)
    assert health.ejection == Ejection(reason, 2000.0 + 30 * 2 ** (times - 1))
    assert health.ejections == times


def test_one_that_is_back_serves_and_is_remembered() -> None:
    health = readmitted(a_trial(times=2), 50.0)
    assert health.is_usable
    assert (health.ejections, health.served_since_s) == (2, 50.0)


# --- restarts


@pytest.mark.parametrize("away", [Condition.UNHEALTHY, Condition.LOADING])
def test_an_engine_that_has_restarted_is_tried_before_its_time(away: Condition) -> None:
    assert after_probe(out(probed=away), Condition.READY).is_on_trial


def test_one_that_keeps_restarting_waits_for_its_time() -> None:
    flapping = out(times=2, probed=Condition.UNHEALTHY)
    assert after_probe(flapping, Condition.READY).condition is Condition.EJECTED


def test_an_engine_that_drained_and_restarted_serves_at_once() -> None:
    drained = out(Reason.DRAINING, probed=Condition.UNHEALTHY)
    assert after_probe(drained, Condition.READY, 7.0) == Health(
        Condition.READY, ejections=1, served_since_s=7.0
    )


def test_probes_that_go_on_passing_end_no_ejection() -> None:
    """vLLM's /health stays 200 while a GPU hangs, and while it drains."""
    for health in (out(), out(Reason.DRAINING)):
        assert after_probe(health, Condition.READY) == health


def test_one_that_loads_after_it_was_away_stays_ejected() -> None:
    health = after_probe(out(probed=Condition.UNHEALTHY), Condition.LOADING)
    assert health.condition is Condition.LOADING
    assert after_probe(health, Condition.READY).is_on_trial
