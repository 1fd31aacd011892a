"""The JSON Schema of the configuration file, both forms of a model included."""

import copy
from typing import Any

from gateway.config.document import Document
from gateway.config.models import SHORT_FORM


def json_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    schema = Document.model_json_schema()
    defs = schema["$defs"]
    model = defs["Model"]
    short = copy.deepcopy(model)
    del short["properties"]["variants"]
    for name in sorted(SHORT_FORM - {"url"}):
        short["properties"][name] = copy.deepcopy(defs["Variant"]["properties"][name])
    short["properties"]["url"] = copy.deepcopy(defs["Replica"]["properties"]["url"])
    short["required"] = ["name", "engine"]
    addressed = [{"required": [way]} for way in ("url", "replicas", "discovery")]
    short["oneOf"] = [*addressed, {"required": ["deploy"], "not": {"anyOf": addressed}}]
    found = [{"required": [way]} for way in ("replicas", "discovery")]
    defs["Variant"]["oneOf"] = [*found, {"required": ["deploy"], "not": {"anyOf": found}}]
    short["description"] = "One name with one variant."
    defs["FullModel"], defs["ShortModel"] = model, short
    defs["Model"] = {"anyOf": [{"$ref": "#/$defs/ShortModel"}, {"$ref": "#/$defs/FullModel"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
