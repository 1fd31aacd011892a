"""Is an answer right? Against a reference, by rules that need no model. No I/O.

- exact: the same text, but for case, spaces, quotes and a full stop at its end.
- choice: the letter that the answer settles on ("the answer is (B)", "B.", "B) because ...").
- numeric: the last number in the answer, as GSM8K is scored (Cobbe et al., 2021).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

from gateway.remote.wrong_input import WrongInput

Rule = Literal["exact", "choice", "numeric"]
_FIELDS = ("reference", "references", "answer", "expected", "target")
_NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
# "I" is a word more often than a choice, unless it stands alone
_SETTLED = re.compile(r"(?i:answer|choice|option)\b[^A-Za-z0-9]*(?i:is|:)?[\s:*(\"'\[]*([A-HJ])\b")
_LEADING = re.compile(r"^[\s*(\"'\[]*([A-J])(?:[).:,*\]\"']|\s*(?:\n|$))")
_ALONE = re.compile(r"\(([A-J])\)")
_TOLERANCE = 1e-6


def references_of(more: Mapping[str, object], place: str) -> tuple[str, ...]:
    """The right answers that an entry of the prompts file names; none where it names none."""
    for name in _FIELDS:
        given = more.get(name)
        if given is None:
            continue
        values = given if isinstance(given, list) else [given]
        if not values or not all(isinstance(v, str | int | float) for v in values):
            raise WrongInput(f"{place}: {name} must be text, a number, or a list of these")
        return tuple(str(value) for value in values)
    return ()


def rule_for(references: Sequence[str], asked: str) -> Rule:
    """The rule to use: `asked`, or with "auto" the one that the first reference looks like."""
    match asked:
        case "exact" | "choice" | "numeric":
            return asked
        case _:
            first = references[0].strip()
            if re.fullmatch(r"[A-J]", first):
                return "choice"
            return "numeric" if number_in(first) is not None and _is_number(first) else "exact"


def is_right(answer: str, references: Sequence[str], rule: Rule) -> bool:
    """Whether the answer says what one of the references says."""
    match rule:
        case "exact":
            return _plain(answer) in {_plain(one) for one in references}
        case "choice":
            letter = chosen(answer)
            return letter is not None and letter in {one.strip().upper() for one in references}
        case _:
            found = number_in(answer)
            wanted = [number_in(one) for one in references]
            return found is not None and any(
                one is not None and math.isclose(found, one, rel_tol=_TOLERANCE, abs_tol=1e-9)
                for one in wanted
            )


def chosen(answer: str) -> str | None:
    """The letter A to J that an answer settles on; None when it settles on none."""
    settled: list[str] = _SETTLED.findall(answer)
    if settled:
        return settled[-1]
    leading = _LEADING.match(answer)
    if leading:
        return leading[1]
    alone: list[str] = _ALONE.findall(answer)
    return alone[-1] if alone else None


def number_in(text: str) -> float | None:
    """The last number in a text; thousands may be set off by commas."""
    found: list[str] = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text.strip().removeprefix("$").removesuffix("%")) is not None


def _plain(text: str) -> str:
    return " ".join(text.split()).strip("\"'` ").removesuffix(".").strip("\"'` ").casefold()
