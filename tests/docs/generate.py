"""The parts of docs/ that the code knows best: `python -m tests.docs.generate` writes them.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; the rest of a page is
written by hand.
"""

import ast
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from gateway import errors
from gateway.app import build
from gateway.cli.main import app
from gateway.config.base import Section
from gateway.config.document import Document
from gateway.config.models import SHORT_FORM
from gateway.config.secrets import Secret
from gateway.config.settings import PREFIX, Settings, load_settings
from gateway.errors import GatewayError
from gateway.fleet.health import Condition, Reason
from gateway.routing import POLICIES
from gateway.telemetry import fields
from gateway.telemetry.exposition import Shown
from tests.docs import faults, sizing
from tests.docs.words import ADVICE, CONDITIONS, EVENTS, FIELDS, REASONS
from tests.support.configs import a_document

DOCS = Path(__file__).parents[2] / "docs"
WIDTH = 100
_PART = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def filled(page: str) -> str:
    """The page with every generated part as the code has it now."""
    return _PART.sub(lambda m: f"{m['begin']}{PARTS[m['name']]()}\n{m['end']}", page)


def parts_of(page: str) -> list[str]:
    """The names of the generated parts of a page."""
    return [match["name"] for match in _PART.finditer(page)]


def pages() -> list[Path]:
    """Every page with a generated part."""
    return [page for page in sorted(DOCS.rglob("*.md")) if parts_of(page.read_text())]


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


def _code(text: object) -> str:
    return f"`{text}`"


# --- configuration


def configuration() -> str:
    """Every key of the configuration file, a table for each section."""
    return "\n\n".join(_section(path, kind) for path, kind in _sections("", Document))


def _sections(path: str, kind: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    yield path, kind
    for name, field in kind.model_fields.items():
        if (inner := _inner(field.annotation)) is not None and inner is not Secret:
            many = "[]" if _is_list(field) else ""
            yield from _sections(f"{path}.{name}{many}".removeprefix("."), inner)


def _section(path: str, kind: type[Section]) -> str:
    title = f"### `{path}`\n\n" if path else "### Top level\n\n"
    rows = [
        (_code(f"{path}.{name}".removeprefix(".")), _type(field), _default(field), _text(field))
        for name, field in kind.model_fields.items()
    ]
    return f"{title}{inspect.getdoc(kind)}\n\n{_table(('key', 'type', 'default', 'meaning'), rows)}"


def secrets() -> str:
    """The three ways to give a secret."""
    rows = [(_code(name), _text(field)) for name, field in Secret.model_fields.items()]
    return _table(("key", "meaning"), rows)


def short_form() -> str:
    """The keys that a model takes in place of `variants`."""
    return ", ".join(map(_code, sorted(SHORT_FORM)))


def policies() -> str:
    """Every routing policy, in the words of its module."""
    rows = []
    for name, new in POLICIES.items():
        text = inspect.getdoc(inspect.getmodule(new)) or ""
        rows.append((_code(name), text.splitlines()[0]))
    return _table(("policy", "picks"), rows)


def environment() -> str:
    """Every variable that is read."""
    rows = [
        (_code(PREFIX + name.upper()), _type(field), _default(field), _text(field))
        for name, field in Settings.model_fields.items()
    ]
    return _table(("variable", "type", "default", "meaning"), rows)


def _text(field: FieldInfo) -> str:
    if not field.description:
        raise ValueError(f"a field has no description: {field!r}")
    return field.description


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.default:
        case None | () | {}:
            return "none"
        case BaseModel():
            return "see below"
        case bool(value):
            return _code(str(value).lower())
        case tuple(values):
            return _code(json.dumps(values))
        case value:
            return _code(value)


def _is_list(field: FieldInfo) -> bool:
    return getattr(field.annotation, "__origin__", None) is tuple


def _inner(kind: object) -> type[Section] | None:
    """The section that a field holds, if it holds any."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return kind
    return next((found for inner in get_args(kind) if (found := _inner(inner))), None)


def _type(field: FieldInfo) -> str:
    inner = _inner(field.annotation)
    if inner is Secret and get_origin(field.annotation) is dict:
        return "mapping of names to [secrets](#secrets)"
    if inner is Secret:
        return "[secret](#secrets)"
    if inner is not None:
        return "list of mappings" if _is_list(field) else "mapping"
    annotation: Any = field.rebuild_annotation()
    return _words(TypeAdapter(annotation).json_schema())


def _words(schema: Mapping[str, Any]) -> str:
    match schema:
        case {"anyOf": [*choices]}:
            return " or ".join(_words(c) for c in choices if c != {"type": "null"})
        case {"const": value}:
            return _code(value)
        case {"enum": [*values]}:
            return ", ".join(map(_code, values))
        case {"type": "array", "items": items}:
            return f"list of {_words(items)}"
        case {"type": "boolean"}:
            return "yes or no"
        case {"type": "integer" | "number" as kind}:
            return f"{'whole number' if kind == 'integer' else 'number'}{_bounds(schema)}"
        case {"type": "object"}:
            return "Kubernetes' own"
        case {"type": "string"}:
            return "path" if schema.get("format") == "path" else "text"
        case _:
            raise ValueError(f"no words for {schema}")


def _bounds(schema: Mapping[str, Any]) -> str:
    low, above, high = (schema.get(k) for k in ("minimum", "exclusiveMinimum", "maximum"))
    given = [
        f"from {low:g}" if low is not None else "",
        f"above {above:g}" if above is not None else "",
        f"to {high}" if high is not None else "",
    ]
    return "".join(f" {bound}" for bound in given if bound)


# --- command line


def commands() -> str:
    """The help of every command, as it is printed."""
    words = [(c.name or c.callback.__name__).split() for c in app.registered_commands if c.callback]
    for group in app.registered_groups:
        inner = group.typer_instance.registered_commands if group.typer_instance else []
        names = [c.name or c.callback.__name__ for c in inner if c.callback]
        words += [[str(group.name)], *([str(group.name), name] for name in names)]
    return "\n\n".join(f"## `gateway {' '.join(w)}`\n\n```text\n{_help(*w)}\n```" for w in words)


def usage() -> str:
    """The help of the command itself."""
    return f"```text\n{_help()}\n```"


def _help(*command: str) -> str:
    shown = CliRunner().invoke(
        app, [*command, "--help"], prog_name="gateway", terminal_width=WIDTH, color=False
    )
    lines = [line.rstrip() for line in shown.output.strip().splitlines()]
    return "\n".join(lines)


# --- errors


def failures() -> list[type[GatewayError]]:
    """Every failure that has a name of its own."""
    return [
        kind
        for name, kind in vars(errors).items()
        if inspect.isclass(kind)
        and issubclass(kind, GatewayError)
        and kind is not GatewayError
        and not name.startswith("_")
    ]


def error_table() -> str:
    """Every failure: what the client gets, what it means, what to do."""
    rows = [
        (
            str(kind.status),
            "null" if kind.code is None else _code(kind.code),
            _code(kind.type),
            kind.source.value,
            f"{_code(kind.__name__)}: {_one_line(inspect.getdoc(kind))}",
            ADVICE[kind],
        )
        for kind in sorted(failures(), key=lambda kind: kind.status)
    ]
    return _table(("status", "code", "type", "source", "what happened", "what to do"), rows)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


# --- telemetry


def metrics() -> str:
    """Every metric that `GET /metrics` can show."""
    rows = [
        (
            _code(_full_name(metric)),
            metric.kind,
            ", ".join(map(_code, metric.labels)),
            metric.text,
        )
        for metric in all_metrics()
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


def _full_name(metric: Shown) -> str:
    return f"{metric.name}_total" if metric.kind == "counter" else metric.name


def all_metrics() -> list[Shown]:
    """Every metric of a gateway that has just been built."""
    gateway = build(a_document(), load_settings({}), environ={})
    return list(gateway.books._metrics._instruments.shown())


def names_told() -> tuple[list[str], list[str]]:
    """Log events and log fields, as telemetry/fields.py lists them."""
    events: list[str] = []
    told: list[str] = []
    source = inspect.getsource(fields)
    second = source[: source.index("# log fields")].count("\n")
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.value, ast.Constant):
            (events if statement.lineno <= second else told).append(str(statement.value.value))
    return events, told


def log_events() -> str:
    """Every event that is logged."""
    return _table(("event", "when"), [(_code(name), EVENTS[name]) for name in names_told()[0]])


def log_fields() -> str:
    """Every field of a log line."""
    return _table(("field", "holds"), [(_code(name), FIELDS[name]) for name in names_told()[1]])


# --- health


def conditions() -> str:
    """Every condition of a replica."""
    rows = [(_code(name.value), *CONDITIONS[name]) for name in Condition]
    return _table(("condition", "means", "gets requests"), rows)


def reasons() -> str:
    """Every reason for a change of condition."""
    rows = [(_code(reason.value), REASONS[reason]) for reason in Reason]
    return _table(("reason", "what has happened"), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "configuration": configuration,
    "secrets": secrets,
    "short-form": short_form,
    "policies": policies,
    "environment": environment,
    "usage": usage,
    "commands": commands,
    "errors": error_table,
    "metrics": metrics,
    "log-events": log_events,
    "log-fields": log_fields,
    "conditions": conditions,
    "reasons": reasons,
    "faults-engines": lambda: _table(*faults.engines()),
    "faults-clients": lambda: _table(*faults.clients()),
    "faults-redis": lambda: _table(*faults.stores()),
    "faults-processes": lambda: _table(*faults.processes()),
    "gpus": lambda: _table(*sizing.gpus()),
    "levers": lambda: _table(*sizing.levers()),
    "measured": lambda: _table(*sizing.measured()),
    "mean-error": lambda: f"KV cache: {sizing.mean_error()}.",
    "throughputs": lambda: _table(*sizing.throughputs()),
    "throughput-error": lambda: f"Throughput: {sizing.throughput_error()}.",
    "steps": lambda: _table(*sizing.steps()),
    "roofline": lambda: _table(*sizing.roofline()),
    "architectures": lambda: _table(*sizing.architectures()),
    "quantizations": lambda: _table(*sizing.quantizations()),
    "hardware": lambda: _table(*sizing.hardware()),
    "gguf": lambda: _table(*sizing.gguf()),
}


def main() -> None:
    """Write every generated part anew."""
    for page in pages():
        text = page.read_text()
        if (current := filled(text)) != text:
            page.write_text(current)
            print(f"wrote {page.relative_to(DOCS.parent)}")


if __name__ == "__main__":
    main()
