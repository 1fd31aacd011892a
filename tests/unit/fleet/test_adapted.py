from typing import Any

import pytest

from gateway.errors import ConfigInvalid
from gateway.fleet.adapted import place_of
from gateway.fleet.loadable import Adapter
from tests.support.configs import a_catalog, a_document, a_model, a_variant

SQL = {"name": "sql", "path": "/adapters/sql"}


def problems(*models: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigInvalid) as raised:
        a_catalog(*models)
    return raised.value.problems


def test_an_adapter_is_a_model_on_the_engines_of_the_one_that_it_adapts() -> None:
    catalog = a_catalog(a_model("m", served_model="org/m", adapters=[SQL]))
    (variant,) = catalog.models["sql"].variants
    assert (variant.name, variant.model, variant.tag) == ("sql", "sql", None)
    assert variant.adapter == Adapter("sql", "/adapters/sql")
    assert variant.of is catalog.models["m"].variants[0]
    assert variant.engines is variant.of
    assert variant.engines.engines is variant.of
    assert catalog.names["sql"].first is variant


def test_it_has_the_tags_of_the_variants_that_have_it() -> None:
    catalog = a_catalog(
        a_model(
            "m",
            variants=[
                a_variant("fp8", adapters=[SQL], weight=1),
                a_variant("int4"),
                a_variant("awq", adapters=[SQL]),
            ],
            mirror={"to": "m:int4"},
        )
    )
    assert [one.name for one in catalog.models["sql"].variants] == ["sql:fp8", "sql:awq"]
    assert catalog.names["sql:awq"].first.engines.name == "m:awq"
    assert "sql:int4" not in catalog.names
    assert {(one.weight, one.mirror) for one in catalog.models["sql"].variants} == {(None, None)}


def test_what_deploy_starts_its_engines_with_need_not_be_written_again() -> None:
    deploy = {"lora_adapters": [{"name": "sql", "source": "org/sql"}]}
    catalog = a_catalog(a_model("m", deploy=deploy))
    assert catalog.models["sql"].variants[0].adapter == Adapter("sql")
    both = a_catalog(a_model("m", deploy=deploy, adapters=[SQL]))
    assert both.models["sql"].variants[0].adapter == Adapter("sql", "/adapters/sql")


def test_llama_cpp_has_none_that_can_be_asked_for() -> None:
    deploy = {"lora_adapters": [{"name": "sql", "source": "org/sql"}]}
    catalog = a_catalog(a_model("m", engine="llamacpp", deploy=deploy))
    assert "sql" not in catalog.models
    (problem,) = problems(a_model("m", engine="llamacpp", adapters=[{"name": "sql"}]))
    assert problem.startswith("models[0].variants[0].adapters[0]: llamacpp mixes all its adapters")


def test_only_vllm_can_be_told_to_load_one() -> None:
    assert problems(a_model("m", engine="tgi", adapters=[SQL])) == (
        "models[0].variants[0].adapters[0].path: only vllm can be told to load an adapter",
    )


def test_names_that_clash_are_told_where_they_stand() -> None:
    assert problems(a_model("m", adapters=[SQL, SQL])) == (
        'models[0].variants[0].adapters[1].name: "sql" is there already',
    )
    assert problems(a_model("m", adapters=[{"name": "other"}]), a_model("other")) == (
        'models[0].variants[0].adapters[0].name: "other" is ambiguous, it is also models[1].name',
    )
    two = [a_model(name, adapters=[SQL]) for name in ("m", "n")]
    assert problems(*two) == (
        'models[1].variants[0].adapters[0].name: "sql" is ambiguous, it is also '
        "models[0].variants[0].adapters[0].name",
    )


def test_an_adapter_is_no_fallback() -> None:
    model = a_model("m", adapters=[SQL])
    assert problems(model, a_model("n", fallbacks=["sql"])) == (
        'models[1].fallbacks[0]: "sql" is an adapter, not a model',
    )


def test_the_place_of_one_that_only_deploy_has() -> None:
    deploy = {"lora_adapters": [{"name": "x", "source": "x"}, {"name": "sql", "source": "x"}]}
    given = a_document(a_model("m", deploy=deploy)).models[0]
    assert place_of(given, "sql") == "variants[0].deploy.lora_adapters[1].name"
    with pytest.raises(KeyError):
        place_of(given, "unknown")
