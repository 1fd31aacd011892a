import pytest

from gateway.experiment.over_http import Router


def test_places_go_into_the_command() -> None:
    router = Router.parsed("theirs=run --port {port} --metrics {spare} --at=[{port}] {urls} 'a b'")
    assert router.name == "theirs"
    assert router.with_places(["http://a", "http://b"], 1, 2) == [
        "run", "--port", "1", "--metrics", "2", "--at=[1]", "http://a", "http://b", "a b",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "name", "name=", "=run {urls} {port}", "n=run {urls}", "n=run {port}"]
)
def test_a_command_without_places_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        Router.parsed(text)
