"""What a client is told of who answers it: names, never an address. Pure."""

from typing import Final
from urllib.parse import quote

from gateway.fleet.catalog import Replica, Variant
from gateway.wire.http import Headers

NAMES: Final = ("x-gateway-model", "x-gateway-variant", "x-gateway-replica")
_PLAIN: Final = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


def shown(variant: Variant, replica: Replica) -> Headers:
    """The headers. A name may have letters that a header may not: they are written as %XX."""
    told = (variant.model, variant.name, replica.name)
    return tuple(
        [
            (key.encode(), quote(name, _PLAIN).encode())
            for key, name in zip(NAMES, told, strict=True)
        ]
    )
