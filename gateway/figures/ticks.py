"""Where an axis has its marks, and how they are written. No I/O."""

import math

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def linear_ticks(low: float, high: float, wanted: int = 6) -> tuple[float, ...]:
    """Round values that span `low` to `high`; about as many as wanted."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / wanted
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(one * scale for one in _STEPS if one * scale >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Powers of ten that span `low` to `high` (above 0), with 2 and 5 where they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    last = max(last, first + 1)
    powers = [10.0**power for power in range(first, last + 1)]
    if len(powers) > 4:
        return tuple(powers)
    every = [power * factor for power in powers for factor in (1.0, 2.0, 5.0)]
    below = max(one for one in every if one <= low * 1.0001)
    beyond = (one for one in every if one >= high * 0.9999 and one > below)
    above = min(beyond, default=every[-1])
    return tuple(one for one in every if below <= one <= above)


def tick_text(value: float) -> str:
    """Short, without a needless zero: 0.5, 20, 1,500, 2e6."""
    if value and (abs(value) >= 1e6 or abs(value) < 1e-4):
        return f"{value:.3g}".replace("e+0", "e").replace("e-0", "e-")
    return f"{value:,.4f}".rstrip("0").rstrip(".")
