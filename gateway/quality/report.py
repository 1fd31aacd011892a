"""What a comparison found, as data: the JSON of `gateway compare --json`. No I/O.

The form has a version of its own: fields are added to it, and never renamed or taken away
without a new one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gateway.figures.quantiles import significant
from gateway.quality.item import Item
from gateway.quality.summary import Summary
from gateway.quality.verdict import Thresholds, Verdict, verdict_of

VERSION = 1
_WORST = 10


@dataclass(frozen=True, slots=True)
class Compared:
    """One side. `way`: how it was made to read A's answers; of A, how it could have been."""

    url: str
    model: str
    way: str

    @property
    def name(self) -> str:
        return f"{self.model} at {self.url}"


@dataclass(frozen=True, slots=True)
class Report:
    """One run of `gateway compare`. `asked`: how, in words; `at`: ISO 8601, UTC."""

    a: Compared
    b: Compared
    asked: Mapping[str, object]
    at: str
    tool: str
    items: Sequence[Item]
    summary: Summary
    thresholds: Thresholds
    is_interrupted: bool = False
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, str]:
        """A and B, by their models; with their endpoints where these have the same name."""
        if self.a.model == self.b.model:
            return self.a.name, self.b.name
        return self.a.model, self.b.model

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.summary, self.thresholds)

    @property
    def worst(self) -> list[Item]:
        """The prompts whose answers have least in common, those that lost a right one first."""
        differing = [item for item in self.items if item.failure is None and not item.is_same]
        differing.sort(key=lambda item: (not _is_lost(item), item.common_ratio, item.number))
        return differing[:_WORST]

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        verdict = self.verdict
        return {
            "version": VERSION,
            "tool": self.tool,
            "at": self.at,
            "a": asdict(self.a),
            "b": asdict(self.b),
            "asked": dict(self.asked),
            "interrupted": self.is_interrupted,
            "notes": list(self.notes),
            "verdict": verdict.kind,
            "findings": [_rounded(asdict(finding)) for finding in verdict.findings],
            "unknown": list(verdict.unknown),
            "summary": _rounded(asdict(self.summary)),
            "failures": [
                {"prompt": item.number + 1, "failure": item.failure}
                for item in self.items
                if item.failure is not None
            ],
        }


def _is_lost(item: Item) -> bool:
    return bool(item.a.right and not item.b.right)


def _rounded(value: Any) -> Any:  # noqa: ANN401  # whatever a summary holds
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return significant(value) if isinstance(value, float) else value
