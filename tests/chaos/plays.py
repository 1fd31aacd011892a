"""What an engine may do in place of answering, made of a few kinds of mischief."""

from collections.abc import Callable

import anyio

from tests.chaos.fault import Answer, Play, told
from tests.support.scripted_server import LAST_CHUNK, Peer

CONTENT = 4  # events before something breaks


def says(*pieces: bytes, reset: bool = False) -> Play:
    """These bytes, then the end of the connection."""

    async def play(peer: Peer, _: Answer) -> None:
        await peer.send(*pieces)
        await _ends(peer, reset=reset)

    return play


def breaks(make: Callable[[Answer], bytes], *, reset: bool = False) -> Play:
    """Bytes made of the true answer, then the end of the connection."""

    async def play(peer: Peer, answer: Answer) -> None:
        await peer.send(make(answer))
        await _ends(peer, reset=reset)

    return play


def stays(make: Callable[[Answer], bytes]) -> Play:
    """Bytes made of the true answer; the connection stays open, and serves on."""

    async def play(peer: Peer, answer: Answer) -> None:
        await peer.send(make(answer))

    return play


def hangs(make: Callable[[Answer], bytes]) -> Play:
    """Bytes made of the true answer, then silence."""

    async def play(peer: Peer, answer: Answer) -> None:
        await peer.send(make(answer))
        await peer.gone()

    return play


def repeats(make: Callable[[Answer], bytes], piece: bytes, every_s: float = 0.05) -> Play:
    """Bytes made of the true answer, then the same piece for ever."""

    async def play(peer: Peer, answer: Answer) -> None:
        await peer.send(make(answer))
        while True:
            await anyio.sleep(every_s)
            await peer.send(piece)

    return play


def refuses(
    status: bytes, body: bytes = b"", *headers: bytes, kind: bytes = b"application/json"
) -> Play:
    """A status and a body, correctly framed."""
    length = b"content-length: %d" % len(body)
    return stays(lambda it: it.head(length, *headers, status=status, kind=kind) + body)


async def _ends(peer: Peer, *, reset: bool) -> None:
    if reset:
        await anyio.sleep(0.02)  # what was sent before a reset may be lost with it
        peer.reset()
    else:
        peer.close()


def begun(it: Answer) -> bytes:
    """The head and some content."""
    return it.chunked + told(*it.events[:CONTENT])


def rest(it: Answer) -> bytes:
    """What follows after that."""
    return told(*it.events[CONTENT:]) + LAST_CHUNK


def with_event(event: bytes) -> Callable[[Answer], bytes]:
    """The whole answer, with one more event in the middle."""
    return lambda it: begun(it) + told(event) + rest(it)


def spelled(change: Callable[[bytes], bytes]) -> Callable[[Answer], bytes]:
    """The whole stream, its bytes written in another way."""
    return lambda it: it.chunked + told(change(it.body)) + LAST_CHUNK


def error_event(code: int, message: str = "CUDA error: device-side assert at 10.0.0.7") -> bytes:
    return b'data: {"error":{"message":"%b","type":"E","code":%d}}\n\n' % (message.encode(), code)


def error_body(message: str = "something at 10.0.0.7 failed") -> bytes:
    return b'{"error":{"message":"%b","type":"E","param":null,"code":null}}' % message.encode(
        errors="surrogateescape"
    )
