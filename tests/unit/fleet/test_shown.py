from gateway.fleet.shown import NAMES, shown
from gateway.fleet.state import FleetState
from tests.support.configs import a_catalog, a_model, a_variant


def test_a_client_is_told_names_and_no_address() -> None:
    catalog = a_catalog(a_model("m", variants=[a_variant("fp8", "http://10.0.3.11:8000")]))
    (variant,) = catalog.models["m"].variants
    told = dict(shown(variant, variant.replicas[0]))
    assert told == {
        b"x-gateway-model": b"m",
        b"x-gateway-variant": b"m:fp8",
        b"x-gateway-replica": b"r0",
    }
    assert [name.decode() for name in told] == list(NAMES)


def test_letters_that_a_header_may_not_have_are_written_in_ascii() -> None:
    name = "modèle\x00:100%"
    catalog = a_catalog(a_model(name, url="http://a.test:80"))
    (variant,) = catalog.models[name].variants
    told = dict(shown(variant, variant.replicas[0]))
    assert told[b"x-gateway-model"] == b"mod%C3%A8le%00:100%25"


def test_a_reload_that_renames_a_replica_is_told_at_once() -> None:
    def named(name: str) -> dict[str, object]:
        replica = {"url": "http://a.test:80", "name": name}
        return a_model("m", variants=[a_variant("fp8") | {"replicas": [replica]}])

    fleet = FleetState(a_catalog(named("blue")))
    (state,) = fleet
    fleet.apply(a_catalog(named("green")))
    assert dict(state.shown)[b"x-gateway-replica"] == b"green"
