"""Tell of every change of a replica's condition: one log line, one count, always with a reason."""

import logging

from gateway.fleet.replica_state import ReplicaState
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Teller:
    """Call it after a change."""

    def __init__(self, metrics: Metrics) -> None:
        self._transitions = metrics.transitions

    def __call__(self, state: ReplicaState) -> None:
        variant, condition = state.variant, state.condition
        reason = "" if state.reason is None else state.reason.value
        self._transitions.cell(
            variant.model, variant.name, state.name, condition.value, reason
        ).add()
        log.log(
            logging.INFO if state.is_usable else logging.WARNING,
            F.REPLICA_STATE,
            extra={
                F.MODEL: variant.model,
                F.VARIANT: variant.name,
                F.REPLICA: state.name,
                F.STATE: condition.value,
                F.REASON: reason,
            },
        )
