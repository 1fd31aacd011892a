import msgspec
import pytest

from gateway.wire.tgi_parameters import Parameters, read_parameters


@pytest.mark.parametrize(
    ("raw", "parameters"),
    [
        (None, Parameters()),
        (b"null", Parameters()),
        (b'{"max_new_tokens":5,"best_of":2,"top_k":1}', Parameters(5, 2)),
        (b'{"max_new_tokens":"many"}', Parameters()),
        (b"[]", Parameters()),
    ],
)
def test_what_can_be_read_is_read(raw: bytes | None, parameters: Parameters) -> None:
    assert read_parameters(None if raw is None else msgspec.Raw(raw)) == parameters
