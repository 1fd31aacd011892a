import pytest

from gateway.telemetry.tracing import trace_id

VALID = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_trace_id_of_a_valid_traceparent() -> None:
    assert trace_id(VALID) == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "given", [None, b"", b"junk", VALID[:-1], b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01"]
)
def test_anything_else_has_none(given: bytes | None) -> None:
    assert trace_id(given) is None
