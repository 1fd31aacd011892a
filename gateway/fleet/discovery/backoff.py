"""How long to wait before asking again what has just failed. Pure."""

import random
from typing import Final

_FIRST_S: Final = 0.4
_LONGEST_S: Final = 15.0


def backoff_s(failures: int, rng: random.Random) -> float:
    """Seconds after so many failures in a row; up to half less by chance.

    So a fleet of gateways does not meet a server that comes back at one moment.
    """
    bound_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures, 16))
    return bound_s * (1 - rng.random() / 2)
