"""Read the configuration file, and report everything that is wrong with it at once.

YAML 1.1 without its traps: duplicate keys are errors, aliases are bounded. Every problem starts
with the path of what it is about.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from typing_extensions import override

from gateway.config.base import Section
from gateway.config.clashes import clashes
from gateway.config.document import Document
from gateway.config.models import SHORT_FORM, Model
from gateway.errors import ConfigInvalid

MAX_BYTES = 4 * 1024 * 1024
_MAX_ALIASES = 100


def load_document(path: Path) -> Document:
    """Raises ConfigInvalid with every problem of the file."""
    try:
        with path.open("rb") as file:
            written = file.read(MAX_BYTES + 1)
        if len(written) > MAX_BYTES:
            raise ConfigInvalid((f"{path}: larger than {MAX_BYTES // 1024 // 1024} MiB",))
        text = written.decode("utf-8")
    except OSError as exc:
        reason = exc.strerror or "cannot be read"
        raise ConfigInvalid((f"{path}: {reason.lower()}",)) from exc
    except UnicodeDecodeError as exc:
        raise ConfigInvalid((f"{path}: not valid UTF-8 at byte {exc.start}",)) from exc
    return read_document(text)


def read_document(text: str) -> Document:
    """Raises ConfigInvalid with every problem of the text."""
    try:
        given = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as exc:
        raise ConfigInvalid((_yaml_problem(exc),)) from exc
    except (yaml.YAMLError, RecursionError, ValueError) as exc:
        raise ConfigInvalid(("the file is not valid YAML",)) from exc
    if not isinstance(given, dict):
        raise ConfigInvalid(("the file must hold a mapping that begins with `models:`",))
    try:
        return Document.model_validate(given)
    except ValidationError as exc:
        errors = exc.errors(include_input=False, include_url=False, include_context=False)
        raise ConfigInvalid((*_problems(errors, given), *clashes(given))) from exc


class _StrictLoader(yaml.SafeLoader):
    """YAML with unique keys and few aliases."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._aliases = 0

    @override
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > _MAX_ALIASES:
                raise yaml.MarkedYAMLError(problem="too many aliases", problem_mark=None)
        return super().compose_node(parent, index)

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                # a few nested ones can make a file of gigabytes
                raise yaml.MarkedYAMLError(
                    problem="merge keys (<<) cannot be used", problem_mark=key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} must be text", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f'the key "{key}" is given twice', problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _yaml_problem(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}{error.problem or 'not valid YAML'}"


def _problems(errors: Sequence[ErrorDetails], given: dict[str, Any]) -> Iterator[str]:
    locations = [error["loc"] for error in errors]
    for error in errors:
        location = error["loc"]
        # a list whose items are wrong counts as too short as well, which helps nobody
        if error["type"] == "too_short" and any(
            other[: len(location)] == location and len(other) > len(location) for other in locations
        ):
            continue
        yield _problem(error, _as_written(location, given))


def _problem(error: ErrorDetails, location: Sequence[int | str]) -> str:
    path = _path(location)
    match error["type"]:
        case "extra_forbidden":
            known = list(_keys_at(error["loc"][:-1]))
            key = str(error["loc"][-1])
            if key in known:
                return f"{path}: belongs to each of the variants, once they are given"
            near = difflib.get_close_matches(key, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(known)}"
            return f"{path}: unknown key; {hint}"
        case "missing":
            return f"{path}: required"
        case "value_error":
            return f"{path}: {error['msg'].removeprefix('Value error, ')}"
        case "tuple_type":
            return f"{path}: must be a list"
        case "too_short" | "string_too_short":
            return f"{path}: must not be empty"
        case "model_type" | "model_attributes_type":
            return f"{path}: must be a mapping"
        case _:
            _, _, rule = error["msg"].partition(" should ")
            return f"{path}: must {rule}" if rule else f"{path}: {error['msg']}"


def _as_written(location: Sequence[int | str], given: dict[str, Any]) -> Sequence[int | str]:
    """The path in the operator's words: the short form of a model has no variants to name."""
    match location:
        case ("models", int(index), "variants", 0, *rest):
            written = given["models"][index]
            if isinstance(written, dict) and "variants" not in written:
                if rest[:2] == ["replicas", 0] and "url" in written:
                    rest = rest[2:]
                if rest == ["replicas"] and "replicas" not in written:
                    rest = ["url"]
                return ("models", index, *rest)
        case _:
            pass
    return location


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path or "the file"


def _keys_at(location: Sequence[int | str]) -> Iterator[str]:
    """The keys that the section at a path knows."""
    section: type[Section] = Document
    for step in location:
        if isinstance(step, str) and (field := section.model_fields.get(step)):
            section, *_ = (*_sections_in(field.annotation), section)
    yield from section.model_fields
    if section is Model:
        yield from sorted(SHORT_FORM)


def _sections_in(kind: object) -> Iterator[type[Section]]:
    """The sections that a field of this type may hold."""
    if isinstance(kind, type) and issubclass(kind, Section):
        yield kind
    for inner in get_args(kind):
        yield from _sections_in(inner)
