import json
from typing import Any

import pytest

from gateway.config.document import Document
from gateway.config.models import SHORT_FORM
from gateway.config.schema import json_schema


@pytest.fixture
def defs() -> dict[str, Any]:
    found: dict[str, Any] = json_schema()["$defs"]
    return found


def test_the_schema_is_json_and_says_which_dialect() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(schema["properties"]) == set(Document.model_fields)


def test_a_model_has_both_forms(defs: dict[str, Any]) -> None:
    assert defs["Model"] == {
        "anyOf": [{"$ref": "#/$defs/ShortModel"}, {"$ref": "#/$defs/FullModel"}]
    }


def test_the_short_form_has_its_keys_in_place_of_variants(defs: dict[str, Any]) -> None:
    short, full = set(defs["ShortModel"]["properties"]), set(defs["FullModel"]["properties"])
    assert short == full - {"variants"} | SHORT_FORM
    assert defs["ShortModel"]["additionalProperties"] is False


def test_the_short_form_has_a_url_or_replicas_or_leaves_both_to_what_deploys_it(
    defs: dict[str, Any],
) -> None:
    addressed = [{"required": [way]} for way in ("url", "replicas", "discovery")]
    assert defs["ShortModel"]["oneOf"] == [
        *addressed,
        {"required": ["deploy"], "not": {"anyOf": addressed}},
    ]
    found = addressed[1:]
    assert defs["Variant"]["oneOf"] == [
        *found,
        {"required": ["deploy"], "not": {"anyOf": found}},
    ]


def test_every_reference_leads_somewhere(defs: dict[str, Any]) -> None:
    def references(value: object) -> list[str]:
        match value:
            case dict():
                own = [value["$ref"]] if "$ref" in value else []
                return own + [r for inner in value.values() for r in references(inner)]
            case list():
                return [r for inner in value for r in references(inner)]
            case _:
                return []

    assert {r.removeprefix("#/$defs/") for r in references(json_schema())} <= set(defs)


def test_every_key_says_what_it_is(defs: dict[str, Any]) -> None:
    silent = [
        f"{name}.{key}"
        for name, section in {**defs, "Document": json_schema()}.items()
        for key, field in section.get("properties", {}).items()
        if not field.get("description") and "$ref" not in field
    ]
    assert silent == []
