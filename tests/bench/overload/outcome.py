"""What became of the calls of a run, held against what the fleet can do. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offered:
    """One call. `status` 0: the client's patience ended. `at_s`: when it was sent."""

    caller: str
    at_s: float
    status: int
    took_s: float
    tokens: int

    @property
    def is_served(self) -> bool:
        return self.status == 200


@dataclass(frozen=True, slots=True)
class Run:
    """`capacity`: tokens a second that the engines can write; `from_s` to `to_s` is measured."""

    name: str
    load: float
    capacity: float
    from_s: float
    to_s: float
    calls: Sequence[Offered]

    @property
    def goodput(self) -> float:
        """Tokens of answers that came in time, of what the engines could write."""
        tokens = sum(
            call.tokens
            for call in self.calls
            if call.is_served and self.from_s <= call.at_s + call.took_s < self.to_s
        )
        return tokens / (self.to_s - self.from_s) / self.capacity

    def of(self, caller: str) -> Sequence[Offered]:
        """A caller's calls that were sent while measured."""
        return [
            call
            for call in self.calls
            if call.caller == caller and self.from_s <= call.at_s < self.to_s
        ]

    def served_ratio(self, caller: str) -> float:
        calls = self.of(caller)
        return sum(call.is_served for call in calls) / max(1, len(calls))

    def took_s(self, caller: str, quantile: float) -> float | None:
        """Of answers that came; None: none did."""
        took = sorted(call.took_s for call in self.of(caller) if call.is_served)
        return took[min(len(took) - 1, int(quantile * len(took)))] if took else None

    def refused_ratio(self, caller: str) -> float:
        """Told so, rather than left to wait."""
        calls = self.of(caller)
        return sum(call.status == 503 for call in calls) / max(1, len(calls))

    def refused_s(self) -> float | None:
        """The median time that a refusal took; None: there was none."""
        took = sorted(call.took_s for call in self.calls if call.status == 503)
        return took[len(took) // 2] if took else None

    def summary(self) -> dict[str, object]:
        def rounded(value: float | None) -> float | None:
            return None if value is None else round(value, 3)

        return {
            "name": self.name,
            "load": self.load,
            "capacity_tokens_per_s": round(self.capacity, 1),
            "goodput": rounded(self.goodput),
            **{
                f"{caller}_{what}": rounded(value)
                for caller in ("modest", "greedy")
                for what, value in (
                    ("served", self.served_ratio(caller)),
                    ("refused", self.refused_ratio(caller)),
                    ("p50_s", self.took_s(caller, 0.5)),
                    ("p95_s", self.took_s(caller, 0.95)),
                )
            },
            "refusal_s": rounded(self.refused_s()),
        }
