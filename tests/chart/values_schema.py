"""`helm/values.schema.json`: the gateway's configuration, and the chart's own values.

A model has one schema for its short and its full form, so that Helm names the key that is wrong
and not two forms that both do not fit.
"""

import copy
from collections.abc import Iterator
from typing import Any

from gateway.config.document import Document
from gateway.config.models import SHORT_FORM
from tests.chart.own_values import Own

Schema = dict[str, Any]


def values_schema() -> Schema:
    """JSON Schema, draft 2020-12."""
    gateway, own = Document.model_json_schema(), Own.model_json_schema(by_alias=True)
    defs = {**gateway.pop("$defs")}
    _deployed(defs)
    for name, section in own.pop("$defs").items():
        # a value file says only what differs
        section.pop("required", None)
        defs[f"Chart{name}"] = _renamed(section)
    properties = {**gateway["properties"], **_renamed(own)["properties"], "global": {}}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the chart sluicegate",
        "type": "object",
        "additionalProperties": False,
        "required": gateway["required"],
        "properties": properties,
        "$defs": defs,
    }
    return dict(_plain(whole))


def _deployed(defs: dict[str, Schema]) -> None:
    """Both forms of a model in one; engines that the chart starts need no address.

    That one of the forms is whole is checked by the chart's templates, in better words.
    """
    model, variant = defs["Model"], defs["Variant"]
    for name in sorted(SHORT_FORM - {"url"}):
        model["properties"][name] = copy.deepcopy(variant["properties"][name])
    model["properties"]["url"] = copy.deepcopy(defs["Replica"]["properties"]["url"])
    model["required"] = ["name"]
    variant["required"] = ["engine"]


def _renamed(section: Schema) -> Schema:
    """References to the chart's own sections, which may be named as the gateway's are."""
    made = {key: _renamed(v) if isinstance(v, dict) else v for key, v in section.items()}
    if isinstance(reference := made.get("$ref"), str):
        made["$ref"] = reference.replace("#/$defs/", "#/$defs/Chart")
    return made


def _plain(section: Schema) -> Iterator[tuple[str, Any]]:
    """Without titles; and null beside a type, not as one of two schemas that both fail."""
    for key, value in section.items():
        match key, value:
            case "anyOf", [dict(one), {"type": "null"}]:
                yield from _or_null(dict(_plain(one)))
            case "title", str() if "properties" not in section and "type" in section:
                pass
            case "title", str() if "$defs" not in section:
                pass
            case "default", _:
                pass
            case _, dict():
                yield key, dict(_plain(value))
            case _, list():
                yield key, [dict(_plain(v)) if isinstance(v, dict) else v for v in value]
            case _:
                yield key, value


def _or_null(one: Schema) -> Iterator[tuple[str, Any]]:
    for key, value in one.items():
        match key:
            case "type":
                yield key, [value, "null"]
            case "enum":
                yield key, [*value, None]
            case _:
                yield key, value
