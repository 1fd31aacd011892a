"""How long prompts and answers are: a number of tokens, or a distribution of it. No I/O."""

import math
import random
import re
from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from gateway.remote.wrong_input import WrongInput

_FORM = re.compile(r"(?:(uniform|normal|lognormal):)?([0-9.]+)(?:,([0-9.]+))?")
_EXAMPLES = "512, uniform:100,900, normal:512,128 or lognormal:512,0.6"
MAX_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class Length:
    """Tokens. `uniform` between a and b, `normal` with mean a and deviation b, `lognormal` with
    median a and the deviation b of the logarithm; `fixed` is a.
    """  # noqa: D205  # one sentence

    kind: Literal["fixed", "uniform", "normal", "lognormal"]
    a: float
    b: float = 0.0

    def draw(self, rng: random.Random) -> int:
        """One length, at least 1."""
        drawn = self.a
        match self.kind:
            case "fixed":
                pass
            case "uniform":
                return rng.randint(int(self.a), int(self.b))
            case "normal":
                drawn = rng.gauss(self.a, self.b)
            case _:
                drawn = self.a * math.exp(rng.gauss(0.0, self.b))
        return min(MAX_TOKENS, max(1, round(drawn)))

    @override
    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.a:g}" if self.kind == "fixed" else f"{self.kind}:{self.a:g},{self.b:g}"


def read_length(text: str, option: str) -> Length:
    """Raises WrongInput, which names the option."""
    match = _FORM.fullmatch(text.strip())
    try:
        numbers = [float(part) for part in match.groups()[1:] if part] if match else []
    except ValueError:
        numbers = []
    kind = match[1] if match else None
    if match is None or len(numbers) != (2 if kind else 1):
        raise WrongInput(f'{option} "{text}" is no length: write {_EXAMPLES}')
    if not 1 <= numbers[0] <= MAX_TOKENS or any(n > MAX_TOKENS for n in numbers):
        raise WrongInput(f"{option} must be from 1 to {MAX_TOKENS:,} tokens")
    match kind:
        case "uniform" if numbers[1] < numbers[0]:
            raise WrongInput(f'{option} "{text}": the second number must not be below the first')
        case "uniform":
            return Length("uniform", int(numbers[0]), int(numbers[1]))
        case "normal" | "lognormal":
            return Length("normal" if kind == "normal" else "lognormal", *numbers)
        case _:
            return Length("fixed", numbers[0])
