"""The tables of the chart's README, from the types of its values and their defaults."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from tests.chart.own_values import Own
from tests.chart.render import CHART

_PART = re.compile(r"(<!-- generated: values -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page with its tables as they should be."""
    return _PART.sub(lambda found: f"{found[1]}{values()}\n{found[2]}", page)


def values() -> str:
    """A table for each section."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    return "\n\n".join(
        f"### `{name}`\n\n{_about(field.annotation, field.description)}\n\n"
        + "\n".join(("| key | default | meaning |", "| --- | --- | --- |", *rows))
        for name, field, rows in _sections(defaults)
    )


def _sections(defaults: Mapping[str, Any]) -> Iterator[tuple[str, Any, list[str]]]:
    for key, field in Own.model_fields.items():
        name = field.alias or key
        yield name, field, list(_rows(name, field, defaults[name]))


def _about(kind: Any, description: str | None) -> str:
    is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
    return (kind.__doc__ if is_section else description) or ""


def _rows(path: str, field: Any, default: Any) -> Iterator[str]:
    kind = field.annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for key, inner in kind.model_fields.items():
            name = inner.alias or key
            shown = default.get(name, inner.get_default())
            yield from _rows(f"{path}.{name}", inner, shown)
    else:
        shown = json.dumps(default).replace("|", "\\|")
        yield f"| `{path}` | `{shown}` | {field.description} |"
