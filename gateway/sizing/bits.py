"""How wide the weights are that a quantization's name tells of. Pure.

Names are what people write as tags: `fp8`, `awq-int4`, `q4_k_m`, `gptq-8bit`, `w4a16`. Where a
name tells of several widths the smallest counts, so nobody gets fewer bits than was promised.
"""

import re
from typing import Final

from gateway.sizing.quantization import GGUF, QUANTIZATIONS, SIXTEEN

_SIXTEEN_BITS: Final = 16.0
_KNOWN: Final = {
    one.name: _SIXTEEN_BITS if one is SIXTEEN or one.bits is None else one.bits
    for one in (*QUANTIZATIONS, *GGUF)
}
_SHORT: Final = {"bnb": _KNOWN["bitsandbytes"], "half": 16.0, "float": 32.0}
# of numbers, of weights before activations, of bits, and of llama.cpp's types that we do not know
_WIDTH: Final = re.compile(
    r"(?:(?:int|uint|fp|bf|nf|mxfp|nvfp|float)(\d+)|w(\d+)(?:a\d+)?|(\d+)bits?|(?:i|t)?q(\d+))"
    r"(?:_[a-z0-9_]+)?"
)
_WIDEST: Final = 64


def bits_of(name: str) -> float | None:
    """Bits of a weight; None: the name does not tell."""
    name = name.lower()
    if name in _KNOWN:
        return _KNOWN[name]
    parts = [part for part in re.split(r"[-.]", name.replace("-bit", "bit")) if part]
    if widths := [width for part in parts if (width := _width(part)) is not None]:
        return min(widths)
    # a method alone says less than a number beside it: GPTQ may have 8 bits, too
    methods = {**_KNOWN, **_SHORT}
    known = [
        methods[word] for part in parts for word in (part, *part.split("_")) if word in methods
    ]
    return min(known, default=None)


def _width(part: str) -> float | None:
    if part in _KNOWN and any(letter.isdigit() for letter in part):
        return _KNOWN[part]
    found = _WIDTH.fullmatch(part)
    if found is None:
        return None
    width = int(next(group for group in found.groups() if group))
    return float(width) if 1 <= width <= _WIDEST else None
