import json

import pytest

from gateway.errors import (
    EngineFault,
    EngineOverloaded,
    EngineRefused,
    GatewayError,
    InvalidRequest,
    ModelNotFound,
    NoReplica,
    RateLimited,
    StreamBroken,
)
from gateway.wire.tgi_error_body import tgi_error_body


@pytest.mark.parametrize(
    ("error", "error_type"),
    [
        (EngineOverloaded("full"), "overloaded"),
        (RateLimited("slow down"), "overloaded"),
        (EngineRefused("slow down", status=429), "overloaded"),
        (InvalidRequest("wrong"), "validation"),
        (ModelNotFound("which"), "validation"),
        (EngineRefused("wrong", status=422), "validation"),
        (EngineFault("broke"), "generation"),
        (StreamBroken("broke"), "generation"),
        (NoReplica("none"), "generation"),
    ],
)
def test_a_failure_is_told_in_tgi_s_words(error: GatewayError, error_type: str) -> None:
    assert json.loads(tgi_error_body(error)) == {"error": error.public, "error_type": error_type}
