"""What decoding raises for bytes that are no JSON of the wanted shape.

msgspec has a kind of its own for that, but text that is no UTF-8 raises Python's.
"""

from typing import Final

import msgspec

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)
