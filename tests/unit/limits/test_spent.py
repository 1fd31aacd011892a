import pytest

from gateway.errors import ClientGone, EngineFault, EngineRefused, GatewayError, StreamBroken
from gateway.limits.spent import spent
from gateway.wire.usage import Usage

GONE = ClientGone("left")


@pytest.mark.parametrize(
    ("usage", "output", "failure", "attempts", "requests", "tokens"),
    [
        (Usage(90, 20), 7, None, 1, 1, 110),
        (None, 7, None, 1, 1, 107),
        (None, 0, None, 1, 1, 100),
        (None, 7, StreamBroken("x"), 1, 1, 107),
        (Usage(90, 20), 7, StreamBroken("x"), 1, 1, 110),
        (None, 7, GONE, 1, 1, 107),
        (None, 0, GONE, 1, 1, 100),
        (None, 0, GONE, 0, 0, 0),
        (None, 0, EngineFault("x"), 3, 0, 0),
        (None, 0, EngineRefused("x"), 1, 0, 0),
    ],
)
def test_what_a_call_costs(
    usage: Usage | None,
    output: int,
    failure: GatewayError | None,
    attempts: int,
    requests: int,
    tokens: int,
) -> None:
    assert spent(100, usage, output, failure, attempts) == (requests, tokens)
