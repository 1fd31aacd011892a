"""Connections to machines that may vanish without a word.

A machine that loses its power or its network sends no reset, so who waits for it would wait until
some timeout of ours. With these options the kernel asks after 15 s of silence, and gives the
connection up when nothing has come back for 30 s, whoever was to speak.
"""

import socket
import sys
from typing import Final

_IDLE_S: Final = 15
_BETWEEN_S: Final = 5
_TRIES: Final = 3
_UNACKNOWLEDGED_MS: Final = 30_000


def keepalive(platform: str = sys.platform) -> list[tuple[int, int, int]]:
    """What to give to `setsockopt`. Systems other than Linux keep their own times."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    if platform == "linux":
        options += [
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _BETWEEN_S),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _TRIES),
            # what was sent and never acknowledged is not asked after, but counts as well
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS),
        ]
    return options


KEEPALIVE: Final = tuple(keepalive())
