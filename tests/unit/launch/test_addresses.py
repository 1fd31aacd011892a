from typing import Any

import pytest

from gateway.config.document import Document
from gateway.errors import ConfigInvalid
from gateway.launch.addresses import Addressed, addressed, with_known_addresses

TWO = {"name": "two", "engine": "vllm", "deploy": {"replicas": 2}}


def a_document(*models: dict[str, Any]) -> Document:
    return Document.model_validate({"models": models})


def at(*models: dict[str, Any], taken: tuple[int, ...] = ()) -> Addressed:
    return addressed(a_document(*models), lambda port: port not in taken)


def urls(document: Document) -> list[list[str]]:
    return [[r.url for r in v.replicas] for m in document.models for v in m.variants]


def problem(*models: dict[str, Any], taken: tuple[int, ...] = ()) -> str:
    with pytest.raises(ConfigInvalid) as told:
        at(*models, taken=taken)
    (one,) = told.value.problems
    return one


def test_ports_are_given_out_in_the_order_of_the_file() -> None:
    found = at(TWO, {"name": "one", "engine": "llamacpp", "quantization": "q4", "deploy": {}})
    assert urls(found.document) == [
        ["http://127.0.0.1:8101", "http://127.0.0.1:8102"],
        ["http://127.0.0.1:8103"],
    ]
    assert [engine.name for engine in found.engines] == ["two/r0", "two/r1", "one:q4/r0"]
    assert [engine.port for engine in found.engines] == [8101, 8102, 8103]


def test_a_port_that_is_taken_or_written_somewhere_is_left_out() -> None:
    written = {"name": "one", "engine": "vllm", "url": "http://localhost:8102"}
    found = at(TWO, written, taken=(8101,))
    assert urls(found.document)[0] == ["http://127.0.0.1:8103", "http://127.0.0.1:8104"]


def test_of_an_autoscaled_entry_the_fewest_are_started() -> None:
    scaled = {"min": 3, "max": 5, "running_per_replica": 10}
    found = at({"name": "m", "engine": "vllm", "deploy": {"autoscaling": scaled}})
    assert len(found.engines) == 3


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "[::1]"])
def test_a_url_on_this_machine_is_used_as_it_is(host: str) -> None:
    url = f"http://{host}:9000"
    found = at({"name": "m", "engine": "vllm", "url": url, "deploy": {}})
    assert urls(found.document) == [[url]]
    assert [engine.port for engine in found.engines] == [9000]


def test_without_a_port_it_is_that_of_http() -> None:
    assert at({"name": "m", "engine": "vllm", "url": "http://localhost", "deploy": {}}).engines[
        0
    ].port == 80  # fmt: skip


def test_engines_elsewhere_and_those_without_an_entry_are_left_to_others() -> None:
    found = at(
        {"name": "far", "engine": "vllm", "url": "http://10.0.0.1:8000", "deploy": {}},
        {"name": "near", "engine": "vllm", "url": "http://localhost:8000"},
    )
    assert found.engines == ()


def test_replicas_keep_their_names() -> None:
    replicas = [{"url": "http://localhost:9000", "name": "a"}, {"url": "http://far:9000"}]
    (engine,) = at({"name": "m", "engine": "vllm", "replicas": replicas, "deploy": {}}).engines
    assert engine.name == "m/a"


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"deploy": {"gpus": 2, "nodes": 2}}, "deploy.nodes: 2 nodes"),
        ({"url": "http://localhost:1", "deploy": {"replicas": 2}}, "says 2, replicas lists 1"),
        ({"url": "https://localhost:9000", "deploy": {}}, "listens at http://"),
        ({"url": "http://localhost:9000/x", "deploy": {}}, "listens at http://"),
        ({"url": "http://localhost:9001", "deploy": {}}, "9001 is taken by another program"),
        (
            {
                "replicas": [{"url": "http://localhost:9000"}, {"url": "http://127.0.0.1:9000"}],
                "deploy": {},
            },
            "port 9000 is models[0].variants[0].replicas[0].url already",
        ),
    ],
)
def test_what_cannot_be_here_is_told_with_its_path(model: dict[str, Any], told: str) -> None:
    said = problem({"name": "m", "engine": "vllm", **model}, taken=(9001,))
    assert said.startswith("models[0].variants[0].")
    assert told in said


def test_a_changed_file_keeps_the_addresses_of_its_engines() -> None:
    known = at(TWO).document
    elsewhere = {"name": "new", "engine": "vllm", "url": "http://b:1"}
    changed = with_known_addresses(a_document(TWO | {"aliases": ["x"]}, elsewhere), known)
    assert urls(changed) == [*urls(known), ["http://b:1"]]


@pytest.mark.parametrize(
    "model", [TWO | {"name": "new"}, TWO | {"deploy": {"replicas": 3}}, TWO | {"engine": "tgi"}]
)
def test_an_engine_that_was_not_started_so_needs_a_new_start(model: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match="start it again"):
        with_known_addresses(a_document(model), at(TWO).document)
