"""Read a trace: when requests came, and how long they and their answers were. No I/O.

Three published forms and one plain one are understood, as CSV with a header or as JSON lines:
Azure's LLM inference traces (TIMESTAMP as date and time, ContextTokens, GeneratedTokens),
BurstGPT (Timestamp in seconds, Request tokens, Response tokens), Mooncake (timestamp in
milliseconds, input_length, output_length), and `at_s`, `prompt_tokens`, `output_tokens`.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.remote.wrong_input import WrongInput


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """One request, `at_s` seconds after the first."""

    at_s: float
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class _Form:
    """The names of a form's columns; `per_second`: how many of its time units a second has."""

    at: str
    prompt: str
    output: str
    per_second: float


_FORMS = (
    _Form("at_s", "prompt_tokens", "output_tokens", 1.0),
    _Form("TIMESTAMP", "ContextTokens", "GeneratedTokens", 1.0),
    _Form("Timestamp", "Request tokens", "Response tokens", 1.0),
    _Form("timestamp", "input_length", "output_length", 1000.0),
)


def read_trace(text: str, name: str) -> tuple[TraceEntry, ...]:
    """In order of time, the first at 0. Raises WrongInput, which names the line."""
    entries = [_entry(row, f"{name} line {number}") for number, row in _rows(text, name)]
    if not entries:
        raise WrongInput(f"{name} has no requests")
    entries.sort(key=lambda entry: entry.at_s)
    first_s = entries[0].at_s
    return tuple(TraceEntry(e.at_s - first_s, e.prompt_tokens, e.output_tokens) for e in entries)


def _rows(text: str, name: str) -> Iterator[tuple[int, Mapping[str, object]]]:
    text = text.removeprefix("\ufeff")
    if not text.lstrip().startswith("{"):
        yield from enumerate(csv.DictReader(text.splitlines()), 2)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as exc:
                raise WrongInput(f"{name} line {number}: not JSON: {exc.msg.lower()}") from exc
            if not isinstance(row, dict):
                raise WrongInput(f"{name} line {number}: must be an object")
            yield number, row


def _entry(row: Mapping[str, object], place: str) -> TraceEntry:
    form = next((f for f in _FORMS if {f.at, f.prompt, f.output} <= row.keys()), None)
    if form is None:
        known = "; ".join(f"{f.at}, {f.prompt}, {f.output}" for f in _FORMS)
        raise WrongInput(f"{place}: the columns must be one of: {known}")
    return TraceEntry(
        at_s=_time(row[form.at], place) / form.per_second,
        prompt_tokens=max(1, _tokens(row[form.prompt], place)),
        output_tokens=max(1, _tokens(row[form.output], place)),
    )


def _tokens(value: object, place: str) -> int:
    try:
        count = float(str(value))
    except ValueError:
        count = -1.0
    if not 0 <= count < 1e9:
        raise WrongInput(f"{place}: {value!r} is no number of tokens")
    return int(count)


def _time(value: object, place: str) -> float:
    text = str(value).strip()
    try:
        seconds = float(text)
    except ValueError:
        seconds = _date(text)
    if not math.isfinite(seconds):
        raise WrongInput(f"{place}: {text!r} is no time: seconds or 2023-11-16 18:17:03.97")
    return seconds


def _date(text: str) -> float:
    """Seconds since 1970; not a number when it is no date. Digits beyond microseconds are cut."""
    whole, dot, part = text.partition(".")
    digits = part[: len(part) - len(part.lstrip("0123456789"))]
    zone = part[len(digits) :]
    try:
        moment = datetime.fromisoformat(f"{whole}{dot}{digits[:6]}{zone}")
    except ValueError:
        return math.nan
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
