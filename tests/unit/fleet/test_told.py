import logging

import pytest

from gateway.engines.adapter import Load
from gateway.errors import EngineDraining
from gateway.fleet.health import Condition
from gateway.fleet.replica_state import Lease
from gateway.fleet.state import FleetState
from gateway.fleet.told import Teller
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.metrics import Metrics
from tests.support.configs import a_catalog, a_model, a_variant
from tests.support.counted import counted

TOLD = (F.MODEL, F.VARIANT, F.REPLICA, F.STATE, F.REASON)


def test_a_change_is_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    model = a_model("m", variants=[a_variant("fp8", "http://a")])
    fleet = FleetState(a_catalog(model), tell=Teller(metrics))
    (state,) = fleet
    with caplog.at_level(logging.INFO, "gateway.fleet.told"):
        for _ in range(2):
            fleet.probed(state, Condition.READY, Load(), 0.0)
        for _ in range(2):
            fleet.observed(Lease(state), EngineDraining("x"), 0.0)
    told = [
        (line.levelno, line.getMessage(), *(vars(line)[name] for name in TOLD))
        for line in caplog.records
    ]
    assert told == [
        (logging.INFO, F.REPLICA_STATE, "m", "m:fp8", "r0", "ready", "probe_passed"),
        (logging.WARNING, F.REPLICA_STATE, "m", "m:fp8", "r0", "draining", "engine_draining"),
    ]
    for label, counts in (
        ("model", {"m": 2}),
        ("variant", {"m:fp8": 2}),
        ("replica", {"r0": 2}),
        ("state", {"ready": 1, "draining": 1}),
        ("reason", {"probe_passed": 1, "engine_draining": 1}),
    ):
        assert counted(metrics, "gateway_replica_transitions", label) == counts
