"""From what probes say and attempts come to, to whether a replica is used. Pure.

Two failed probes in a row take a replica out, one good probe brings it back; what an engine
says of itself (loading, asleep) counts at once, and so does one that is not there where its
variant may wake. Nobody is taken out before the first probe.

A replica that looks well and fails is *ejected*: for a time that doubles with every ejection
and is forgotten while it serves. Then we try it out ourselves, and it is *on trial*, one request
at a time, until one succeeds. Only what stands out is ejected: never the last of a variant, never
so many that less than `panic_ratio` of it would be left, and nobody while the others fail as well.

Source: Envoy's outlier detection (consecutive failures, success rate, panic threshold), for
fleets of a few replicas.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.errors import (
    DeadlineExceeded,
    EngineDraining,
    EngineMisconfigured,
    EngineOverloaded,
    EngineSilent,
    GatewayError,
    Source,
    StreamStalled,
)

FAILURES_TO_LEAVE = 2
_JITTER = 0.1  # many gateways do not try a replica at the same moment
_MOST_REMEMBERED = 16
_FADE = 0.8
_MIN_ATTEMPTS = 20
_MIN_DISTANCE = 0.2
_DEVIATIONS = 3.0


class Condition(StrEnum):
    """What we think of a replica."""

    UNKNOWN = "unknown"
    READY = "ready"
    LOADING = "loading"
    ASLEEP = "asleep"
    AWAY = "away"
    MISCONFIGURED = "misconfigured"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    EJECTED = "ejected"
    TRIAL = "trial"


class Reason(StrEnum):
    """Why a replica's condition has changed."""

    PROBE_PASSED = "probe_passed"
    PROBE_FAILED = "probe_failed"
    LOADING = "engine_loading"
    ASLEEP = "engine_asleep"
    AWAY = "engine_away"
    MODEL_MISSING = "model_missing"
    CREDENTIALS_REFUSED = "credentials_refused"
    FAILURES = "consecutive_failures"
    TIMEOUTS = "consecutive_timeouts"
    SUCCESS_RATE = "success_rate"
    DRAINING = "engine_draining"
    REFUSED = "engine_misconfigured"
    TIME_UP = "ejection_over"
    RESTARTED = "engine_restarted"
    TRIAL_PASSED = "trial_passed"
    TRIAL_FAILED = "trial_failed"
    NOT_READY = "endpoint_not_ready"
    TERMINATING = "endpoint_terminating"
    GONE = "endpoint_gone"
    RETURNED = "endpoint_ready"


class Sign(StrEnum):
    """What a failed attempt says of its replica."""

    FAILURE = "failure"
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    MISCONFIGURED = "misconfigured"


@dataclass(frozen=True, slots=True)
class HealthRules:
    """What the operator allows; the keys of `health` in the configuration."""

    consecutive_failures: int = 5
    consecutive_timeouts: int = 2
    ejection_s: float = 30.0
    max_ejection_s: float = 300.0
    panic_ratio: float = 0.5


@dataclass(frozen=True, slots=True)
class Ejection:
    """A replica gets no requests until `until_s`, and one at a time while it is on trial."""

    reason: Reason
    until_s: float
    on_trial: bool = False


# out on purpose: no fault, and no part of what should be serving
IDLE = (Condition.ASLEEP, Condition.AWAY)
# the engine itself has said that it will not answer: asking all the same cannot help
_SAID = {Reason.DRAINING: Condition.DRAINING, Reason.REFUSED: Condition.MISCONFIGURED}
_REASONS = {
    Condition.UNKNOWN: Reason.PROBE_PASSED,
    Condition.READY: Reason.PROBE_PASSED,
    Condition.LOADING: Reason.LOADING,
    Condition.ASLEEP: Reason.ASLEEP,
    Condition.AWAY: Reason.AWAY,
    Condition.MISCONFIGURED: Reason.MODEL_MISSING,
}


@dataclass(frozen=True, slots=True)
class Health:
    """What probes say of one replica (`probed`, `failures` in a row), and its ejection.

    `ejections` is how often it was ejected lately; `served_since_s` when the last one ended.
    """

    probed: Condition = Condition.UNKNOWN
    failures: int = 0
    ejection: Ejection | None = None
    ejections: int = 0
    served_since_s: float = 0.0

    @property
    def looks_well(self) -> bool:
        """Whether probes have nothing against it."""
        return self.probed in (Condition.UNKNOWN, Condition.READY)

    @property
    def is_usable(self) -> bool:
        """Whether it may be picked like any other."""
        return self.looks_well and self.ejection is None

    @property
    def is_on_trial(self) -> bool:
        return self.looks_well and self.ejection is not None and self.ejection.on_trial

    @property
    def may_serve_in_panic(self) -> bool:
        """Whether we alone think that it is not well."""
        return self.looks_well and (self.ejection is None or self.ejection.reason not in _SAID)

    @property
    def condition(self) -> Condition:
        """What is shown: the worse of what probes say and what attempts came to."""
        ejection = self.ejection
        if ejection is None or not self.looks_well:
            return self.probed
        if ejection.on_trial:
            return Condition.TRIAL
        return _SAID.get(ejection.reason, Condition.EJECTED)


@dataclass(slots=True)
class Record:
    """What the attempts on one replica have come to lately; the ordinary case is two stores."""

    succeeded: float = 0.0
    failed: float = 0.0
    failures: int = 0
    timeouts: int = 0
    refusals: int = 0

    def add_success(self) -> None:
        self.succeeded += 1
        if self.failures:
            self.failures = self.timeouts = self.refusals = 0

    def add_failure(self, sign: Sign) -> None:
        self.failed += 1
        if sign is Sign.OVERLOADED:
            return  # it answers: only being full much more often than its siblings counts
        self.failures += 1
        if sign is Sign.TIMEOUT:
            self.timeouts += 1
        elif sign is Sign.MISCONFIGURED:
            self.refusals += 1

    def fade(self) -> None:
        """Let what is past count less; once every few seconds."""
        self.succeeded *= _FADE
        self.failed *= _FADE

    @property
    def attempts(self) -> float:
        return self.succeeded + self.failed

    @property
    def success_rate(self) -> float | None:
        """None: no attempts lately."""
        attempts = self.attempts
        return self.succeeded / attempts if attempts >= 1 else None


def sign_of(failure: GatewayError) -> Sign | None:
    """None: it says nothing of the replica, since the client or the gateway brought it about.

    How long a whole call may take is up to the client: a deadline is not held against the engine.
    """
    if failure.source is not Source.ENGINE or isinstance(failure, DeadlineExceeded):
        return None
    match failure:
        case EngineDraining():
            return Sign.DRAINING
        case EngineMisconfigured():
            return Sign.MISCONFIGURED
        case EngineOverloaded():
            return Sign.OVERLOADED
        case EngineSilent() | StreamStalled():
            return Sign.TIMEOUT
        case _:
            return Sign.FAILURE


def after_probe(health: Health, seen: Condition, now_s: float = 0.0) -> Health:
    """The health after one more probe. `seen` is UNHEALTHY when the probe failed.

    An engine that was away and is back is a new one: its drain is over, and its first ejection
    becomes a trial. One that keeps coming and going waits for its time.
    """
    if seen is not Condition.UNHEALTHY:
        was_away = health.probed in (Condition.UNHEALTHY, Condition.LOADING, Condition.AWAY)
        health = replace(health, probed=seen, failures=0)
        if was_away and health.looks_well and health.ejection is not None:
            return _restarted(health, health.ejection.reason, now_s)
        return health
    failures = health.failures + 1
    if failures < FAILURES_TO_LEAVE and health.probed is not Condition.UNHEALTHY:
        return replace(health, failures=failures)
    return replace(health, probed=Condition.UNHEALTHY, failures=failures)


def _restarted(health: Health, reason: Reason, now_s: float) -> Health:
    if reason is Reason.DRAINING:
        return readmitted(health, now_s)
    return on_trial(health) if health.ejections <= 1 else health


def reason_for(health: Health) -> Reason:
    """Why probes have brought a replica to its condition."""
    if health.looks_well and health.ejection is not None:
        return Reason.RESTARTED if health.ejection.on_trial else health.ejection.reason
    return _REASONS.get(health.probed, Reason.PROBE_FAILED)


def why_eject(record: Record, sign: Sign, rules: HealthRules) -> Reason | None:
    """Why the replica that has just failed should be ejected, if it should."""
    if sign is Sign.DRAINING:
        return Reason.DRAINING
    # one odd refusal may be about its request, two in a row are about the replica
    if record.refusals >= FAILURES_TO_LEAVE:
        return Reason.REFUSED
    if record.timeouts >= rules.consecutive_timeouts:
        return Reason.TIMEOUTS
    if record.failures >= rules.consecutive_failures:
        return Reason.FAILURES
    return None


def may_eject(reason: Reason, others: Sequence[tuple[Health, Record]], rules: HealthRules) -> bool:
    """Whether a usable replica may be ejected, given its siblings in the variant.

    What the engine itself has said needs no leave.
    """
    if reason in _SAID:
        return True
    left = [record for health, record in others if health.is_usable]
    serving = 1 + sum(health.probed not in IDLE for health, _ in others)
    if not left or len(left) < rules.panic_ratio * serving:
        return False
    failing = sum(record.failures > 0 for record in left)
    return failing * 2 <= len(left)


def is_panic(healths: Sequence[Health], rules: HealthRules) -> bool:
    """Whether so few replicas of a variant are left that the ejected must serve as well."""
    usable = sum(health.is_usable for health in healths)
    serving = sum(health.probed not in IDLE for health in healths)
    return usable == 0 or usable < rules.panic_ratio * serving


def stands_out(record: Record, others: Sequence[Record]) -> bool:
    """Whether a replica succeeds much less often than its siblings, beyond chance."""
    attempts = sum(other.attempts for other in others)
    if record.attempts < _MIN_ATTEMPTS or attempts < _MIN_ATTEMPTS:
        return False
    usual = sum(other.succeeded for other in others) / attempts
    deviation = math.sqrt(usual * (1 - usual) / record.attempts)
    distance = max(_MIN_DISTANCE, _DEVIATIONS * deviation)
    return record.succeeded / record.attempts < usual - distance


def ejected(
    health: Health, reason: Reason, rules: HealthRules, now_s: float, rng: random.Random
) -> Health:
    """Out for a time: twice as long as the last time, but forgotten step by step while serving."""
    before = health.ejections
    if health.ejection is None:
        before -= int((now_s - health.served_since_s) / rules.ejection_s)
    times = min(max(0, before) + 1, _MOST_REMEMBERED)
    bound_s = min(rules.max_ejection_s, rules.ejection_s * 2.0 ** (times - 1))
    until_s = now_s + bound_s * (1 - _JITTER * rng.random())
    return replace(health, ejection=Ejection(reason, until_s), ejections=times)


def is_due(health: Health, now_s: float) -> bool:
    """Whether an ejection is over and the replica should be tried out."""
    ejection = health.ejection
    if ejection is None or ejection.on_trial or not health.looks_well:
        return False
    return now_s >= ejection.until_s


def on_trial(health: Health) -> Health:
    """An ejected replica that gets one request at a time from now on; others stay as they are."""
    if health.ejection is None:
        return health
    return replace(health, ejection=replace(health.ejection, on_trial=True))


def after_failed_trial(
    health: Health, sign: Sign, rules: HealthRules, now_s: float, rng: random.Random
) -> Health:
    """Ejected again, for longer; as long as before when it was only full."""
    if sign is Sign.OVERLOADED:
        health = replace(health, ejections=health.ejections - 1)
    reason = {Sign.DRAINING: Reason.DRAINING, Sign.MISCONFIGURED: Reason.REFUSED}.get(
        sign, Reason.TRIAL_FAILED
    )
    return ejected(health, reason, rules, now_s, rng)


def readmitted(health: Health, now_s: float) -> Health:
    """The ejection is over, and remembered for a while."""
    return replace(health, ejection=None, served_since_s=now_s)
