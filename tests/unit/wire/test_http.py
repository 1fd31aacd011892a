import msgspec
import pytest

from gateway.wire.http import Origin, UpstreamRequest


def test_a_request_says_nothing_that_was_not_given() -> None:
    request = UpstreamRequest("GET", "/health")
    assert (request.headers, request.body) == ((), b"")


def test_origins_that_say_the_same_are_the_same_place() -> None:
    assert {Origin("http", "engine", 80): 1}[Origin("http", "engine", 80, "", None)] == 1


@pytest.mark.parametrize(
    "other",
    [
        Origin("https", "engine", 80),
        Origin("http", "other", 80),
        Origin("http", "engine", 81),
        Origin("http", "engine", 80, "/v2"),
        Origin("http", "engine", 80, "", "/ca.pem"),
    ],
)
def test_origins_that_differ_in_anything_share_no_connection(other: Origin) -> None:
    assert other != Origin("http", "engine", 80)


def test_neither_can_be_changed() -> None:
    with pytest.raises(AttributeError):
        Origin("http", "engine", 80).port = 81  # type: ignore[misc]
    with pytest.raises(AttributeError):
        UpstreamRequest("GET", "/").path = "/other"  # type: ignore[misc]
    assert msgspec.structs.asdict(UpstreamRequest("GET", "/"))["path"] == "/"
