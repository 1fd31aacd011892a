"""What in a wrong file contradicts itself, as far as its parts can still be read.

A file whose shape is right is cross-checked when it is compiled (`fleet/catalog.py`). One whose
shape is wrong never gets there; so that its operator need not come back for the rest, names
that stand twice and references to nothing are looked for here, in the same words.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def clashes(given: Mapping[str, Any]) -> Iterator[str]:
    """The problems, each with its path. What has not the shape it should is passed over."""
    yield from _ambiguous_models(given)
    for part, what in (("plans", "plan"), ("keys", "key")):
        seen: set[str] = set()
        for path, entry in _entries(given, part):
            name = entry.get("name")
            if isinstance(name, str) and name in seen:
                yield f'{path}.name: the {what} "{name}" is there already'
            elif isinstance(name, str):
                seen.add(name)
    yield from _references(given)


def _ambiguous_models(given: Mapping[str, Any]) -> Iterator[str]:
    owners: dict[str, str] = {}
    for path, model in _entries(given, "models"):
        aliases = model.get("aliases")
        named = [(f"{path}.name", model.get("name"))]
        if isinstance(aliases, list):
            # one that a model gives twice was told already
            named += [
                (f"{path}.aliases[{number}]", alias)
                for number, alias in enumerate(aliases)
                if alias not in aliases[:number]
            ]
        named += _adapters(path, model)
        for where, name in named:
            if isinstance(name, str) and owners.setdefault(name, where) != where:
                yield f'{where}: "{name}" is ambiguous, it is also {owners[name]}'


def _adapters(path: str, model: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The adapters of a model's variants, or of its short form; each once, with its path."""
    parts = [(f"{path}.{where}", one) for where, one in _entries(model, "variants")]
    seen: list[object] = []
    for inside, variant in parts or [(path, model)]:
        for where, adapter in _entries(variant, "adapters"):
            name = adapter.get("name")
            if name not in seen:
                seen.append(name)
                yield f"{inside}.{where}.name", name


def _references(given: Mapping[str, Any]) -> Iterator[str]:
    models = [entry.get("name") for _, entry in _entries(given, "models")]
    for path, model in _entries(given, "models"):
        fallbacks = model.get("fallbacks")
        for number, name in enumerate(fallbacks if isinstance(fallbacks, list) else ()):
            if isinstance(name, str) and name not in models:
                yield f'{path}.fallbacks[{number}]: "{name}" is no model'
    plans = [entry.get("name") for _, entry in _entries(given, "plans")]
    for path, key in _entries(given, "keys"):
        plan = key.get("plan")
        if isinstance(plan, str) and plan != "default" and plan not in plans:
            yield f'{path}.plan: "{plan}" is no plan'


def _entries(given: Mapping[str, Any], part: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The mappings of a list at the top of the file, each with its path."""
    entries = given.get(part)
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if isinstance(entry, dict):
            yield f"{part}[{index}]", entry
