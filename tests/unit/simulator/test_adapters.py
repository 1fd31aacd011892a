import pytest

from gateway.simulator.adapters import Adapters
from gateway.simulator.options import EngineOptions
from gateway.simulator.refused import Refused

OPTIONS = EngineOptions(models=("base",), adapters=("a",), loads_adapters=True)


def test_they_are_listed_with_the_model_that_they_adapt() -> None:
    (one,) = Adapters(OPTIONS).listed(1.0)
    assert (one["id"], one["parent"], one["root"]) == ("a", "base", "/adapters/a")


async def test_one_is_loaded_and_unloaded_by_name() -> None:
    adapters = Adapters(OPTIONS)
    assert "added" in await adapters.load({"lora_name": "b", "lora_path": "/b"})
    assert adapters.by_name["b"] == "/b"
    assert "removed" in adapters.unload({"lora_name": "b"})
    assert "b" not in adapters.by_name


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"lora_name": "b"}, 400, "must be provided"),
        ({"lora_name": "a", "lora_path": "/a"}, 400, "already been loaded"),
        ({"lora_name": "b", "lora_path": "/missing"}, 404, "No adapter found"),
    ],
)
async def test_what_cannot_be_loaded_is_said(body: dict[str, str], status: int, words: str) -> None:
    with pytest.raises(Refused, match=words) as raised:
        await Adapters(OPTIONS).load(body)
    assert raised.value.status == status


def test_what_is_not_there_cannot_be_unloaded() -> None:
    with pytest.raises(Refused, match="cannot be found"):
        Adapters(OPTIONS).unload({"lora_name": "b"})
