"""A client that sends any bytes and reads answers one by one, in the test's own event loop."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import anyio
from anyio.abc import SocketStream

from tests.support.leaks import PROMPT
from tests.support.running import Running

PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. Header names are in lower case, the last of a repeated one counts."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json()["error"]
        return error


class RawClient:
    """One connection."""

    def __init__(self, stream: SocketStream) -> None:
        self.stream = stream
        self._unread = bytearray()

    async def send(self, data: bytes) -> Self:
        with anyio.fail_after(PATIENCE_S):
            await self.stream.send(data)
        return self

    async def answer(self, *, to_head: bool = False) -> Answer:
        """The next answer; EOFError when the connection closes before it is whole."""
        with anyio.fail_after(PATIENCE_S):
            head = (await self._until(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines)
            }
            status = int(first.split(" ")[1])
            body = b"" if to_head or status < 200 else await self._body(headers)
            return Answer(status, headers, body)

    async def is_closed(self) -> bool:
        """Whether the server closes cleanly, with nothing unread before; TimeoutError if not."""
        assert not self._unread, bytes(self._unread)
        with anyio.fail_after(PATIENCE_S):
            try:
                self._unread += await self.stream.receive()
            except anyio.EndOfStream:
                return True
        raise AssertionError(bytes(self._unread))

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        with anyio.fail_after(PATIENCE_S):
            while await self._more():
                pass
        return bytes(self._unread)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while True:
                size = int(await self._until(b"\r\n"), 16)
                piece = await self._exactly(size + 2)
                assert piece.endswith(b"\r\n")
                if not size:
                    return body
                body += piece[:-2]
        if "content-length" in headers:
            return await self._exactly(int(headers["content-length"]))
        return await self.rest()

    async def _until(self, ending: bytes) -> bytes:
        while ending not in self._unread:
            if not await self._more():
                raise EOFError(bytes(self._unread))
        return self._taken(self._unread.find(ending) + len(ending))

    async def _exactly(self, length: int) -> bytes:
        while len(self._unread) < length:
            if not await self._more():
                raise EOFError(bytes(self._unread))
        return self._taken(length)

    async def _more(self) -> bool:
        try:
            self._unread += await self.stream.receive()
        except anyio.EndOfStream:
            return False
        return True

    def _taken(self, length: int) -> bytes:
        taken = bytes(self._unread[:length])
        del self._unread[:length]
        return taken


@asynccontextmanager
async def a_client(it: Running) -> AsyncIterator[RawClient]:
    """A fresh connection to the gateway."""
    async with await anyio.connect_tcp("127.0.0.1", it.port) as stream:
        yield RawClient(stream)


def post(
    body: bytes = b"",
    path: str = "/v1/chat/completions",
    *,
    version: str = "1.1",
    length: int | None = None,
    content_type: str | None = "application/json",
    **headers: str,
) -> bytes:
    """The bytes of a POST. `_` in a header's name becomes `-`; `length` None: the true one."""
    head = f"POST {path} HTTP/{version}\r\nhost: gateway\r\n"
    if content_type is not None:
        head += f"content-type: {content_type}\r\n"
    if "transfer_encoding" not in headers:
        head += f"content-length: {len(body) if length is None else length}\r\n"
    head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return head.encode("latin-1") + b"\r\n" + body


def get(path: str, *, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: gateway\r\n\r\n".encode("latin-1")


def chat(**fields: Any) -> bytes:
    """A small chat call that answers at once; fields that are None are left out."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": 2,
    } | fields
    return json.dumps({k: v for k, v in body.items() if v is not None}).encode()
