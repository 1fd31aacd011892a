"""Ports for servers that a test starts in processes of their own."""

import random
import socket

# below those that the kernel gives to whoever connects: nobody else takes one by chance
_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A port that nobody listens on now."""
    rng = random.SystemRandom()
    while True:
        port = rng.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
