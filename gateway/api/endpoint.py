"""What a path means to the gateway."""

from dataclasses import dataclass

from gateway.proxy.dialect import Dialect
from gateway.wire.ask import Operation


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An inference endpoint. `model` None: the body names the model."""

    operation: Operation
    dialect: Dialect
    model: str | None = None
