from typing import Any

import pytest

from gateway.fleet.catalog import Variant, seed_of, url_of
from gateway.fleet.discovery.endpoint import Endpoint, Standing
from gateway.wire.http import Origin
from tests.support.configs import a_catalog, a_model, a_variant


def the_variant(**given: Any) -> Variant:
    variants = [{"engine": "vllm", **given}]
    return a_catalog(a_model("m", variants=variants)).models["m"].variants[0]


def test_what_a_name_means_first() -> None:
    split = {"name": "s", "parts": [{"to": "m:b", "weight": 1}, {"to": "m", "weight": 1}]}
    model = a_model("m", variants=[a_variant("a"), a_variant("b")])
    names = a_catalog(model, splits=[split]).names
    assert [names[name].first.name for name in ("m", "m:b", "s")] == ["m:a", "m:b", "m:b"]


def test_a_pod_that_is_found_is_a_replica_of_its_own() -> None:
    variant = the_variant(discovery={"dns": "engines.svc", "port": 8000, "path": "/behind"})
    one, other = (
        variant.replica_at(Endpoint(name, "10.0.0.1", 8000, Standing.TERMINATING))
        for name in ("pod-a", "pod-b")
    )
    assert one.url == other.url == "http://10.0.0.1:8000/behind"
    assert one.key != other.key
    assert (one.name, one.is_found, one.standing) == ("pod-a", True, Standing.TERMINATING)


def test_several_replicas_may_come_by_discovery_or_are_listed() -> None:
    one, other = {"url": "http://a"}, {"url": "http://b"}
    assert not the_variant(replicas=[one]).may_have_several
    assert the_variant(replicas=[one, other]).may_have_several
    assert the_variant(discovery={"dns": "engines.svc", "port": 8000}).may_have_several


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        (Origin("http", "h", 80), "http://h:80"),
        (Origin("https", "::1", 8443, "/behind"), "https://[::1]:8443/behind"),
    ],
)
def test_an_address_is_written_as_people_do(origin: Origin, url: str) -> None:
    assert url_of(origin) == url


def test_a_seed_is_the_same_in_every_process() -> None:
    assert seed_of("m:fp8") == 4311435922812411397
