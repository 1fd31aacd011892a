"""An API server of Kubernetes, as far as EndpointSlices go: lists in pages, and watches.

It speaks the protocol: `resourceVersion`, `labelSelector`, `limit` and `continue`, chunked lines of
JSON, bookmarks, `timeoutSeconds`, 410 as a status or as an event, 401 without the right token.
Over TLS where it is given a certificate. Watches can be cut anywhere.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.lowlevel

NAMESPACE = "models"
_PATIENCE_S = 20.0


def a_slice(
    name: str = "vllm-1",
    *pods: dict[str, Any],
    port: int = 8000,
    service: str = "vllm",
    family: str = "IPv4",
) -> dict[str, Any]:
    """An EndpointSlice of a service."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "endpoints": list(pods),
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
    }


def a_pod(name: str, address: str, **conditions: bool) -> dict[str, Any]:
    """An endpoint of a slice: ready, unless something else is said."""
    given = {"ready": True, "serving": True, "terminating": False} | conditions
    target = {"kind": "Pod", "name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}"}
    return {"addresses": [address], "conditions": given, "targetRef": target}


@dataclass(eq=False)
class _Watcher:
    selector: str
    since: int
    writer: asyncio.StreamWriter
    news: asyncio.Event = field(default_factory=asyncio.Event)


class KubernetesApi:
    """What is in it, and how it behaves; changes are seen by whoever watches.

    `token`: what callers must show; None: nothing. `statuses`: what the next requests are answered
    with, in turn, instead. `expires_by`: how a version that is too old is refused. `piece_bytes`:
    how lines are cut up on their way.
    """

    def __init__(self) -> None:
        self.url = ""
        self.token: str | None = None
        self.statuses: list[int] = []
        self.expires_by = "event"
        self.piece_bytes = 1 << 20
        self.is_down = False
        self.asked: list[str] = []
        self.version = 100
        self._objects: dict[str, dict[str, Any]] = {}
        self._history: list[tuple[int, dict[str, Any]]] = []
        self._oldest = 100
        self._watchers: set[_Watcher] = set()
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def watches(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    def asked_for(self, word: str) -> int:
        """How many requests had this in their query."""
        return sum(word in query for query in self.asked)

    def put(self, one: dict[str, Any]) -> None:
        """Create or replace a slice."""
        name = one["metadata"]["name"]
        kind = "MODIFIED" if name in self._objects else "ADDED"
        self._objects[name] = self._event(kind, one)

    def delete(self, name: str) -> None:
        self._event("DELETED", self._objects.pop(name))

    def bookmark(self) -> None:
        """Tell every watch how far it has come."""
        self.version += 1
        event = {
            "type": "BOOKMARK",
            "object": {
                "kind": "EndpointSlice",
                "metadata": {"resourceVersion": str(self.version)},
            },
        }
        self._history.append((self.version, event))
        self._wake()

    def compact(self) -> None:
        """Forget what happened until now."""
        self.version += 1
        self._oldest = self.version
        self._history.clear()

    def cut(self) -> None:
        """Break off every connection, in the middle of a line where one watches."""
        for watcher in self._watchers:
            with suppress(OSError, RuntimeError):
                watcher.writer.write(_chunk(b'{"type":"MODI'))
        for writer in [*self._open]:
            writer.transport.abort()
        self._wake()

    def break_watches(self, line: bytes) -> None:
        """Send every watch this line."""
        for watcher in self._watchers:
            watcher.writer.write(_chunk(line + b"\n"))

    def _event(self, kind: str, one: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        metadata = one["metadata"] | {"resourceVersion": str(self.version), "uid": "u"}
        one = one | {"metadata": metadata}
        self._history.append((self.version, {"type": kind, "object": one}))
        self._wake()
        return one

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.news.set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if self.is_down:  # since it began to read
                    break
                await self._answer(head.decode(), reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request, *lines = head.splitlines()
        headers = {
            name.lower(): value.strip() for name, _, value in (ln.partition(":") for ln in lines)
        }
        target = urlsplit(request.split()[1])
        query = {name: values[0] for name, values in parse_qs(target.query).items()}
        self.asked.append(target.query)
        if self.statuses:
            await _refuse(writer, self.statuses.pop(0))
        elif self.token is not None and headers.get("authorization") != f"Bearer {self.token}":
            await _refuse(writer, 401)
        elif target.path != f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices":
            await _refuse(writer, 404)
        elif query.get("watch") == "true":
            await self._watch(query, reader, writer)
        else:
            await self._list(query, writer)

    async def _list(self, query: dict[str, str], writer: asyncio.StreamWriter) -> None:
        names = sorted(n for n, one in self._objects.items() if _fits(one, query["labelSelector"]))
        start, limit = int(query.get("continue", 0)), int(query["limit"])
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(names):
            metadata["continue"] = str(start + limit)
        items = [self._objects[name] for name in names[start : start + limit]]
        body = {"kind": "EndpointSliceList", "metadata": metadata, "items": items}
        await _send(writer, 200, json.dumps(body).encode())

    async def _watch(
        self,
        query: dict[str, str],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        since = int(query["resourceVersion"])
        if since < self._oldest and self.expires_by == "status":
            await _refuse(writer, 410)
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
        writer.write(b"transfer-encoding: chunked\r\n\r\n")
        if since < self._oldest:
            expired = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}
            writer.write(_chunk(json.dumps({"type": "ERROR", "object": expired}).encode() + b"\n"))
        else:
            await self._follow(query, since, writer)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _follow(
        self, query: dict[str, str], since: int, writer: asyncio.StreamWriter
    ) -> None:
        watcher = _Watcher(query["labelSelector"], since, writer)
        self._watchers.add(watcher)
        try:
            with anyio.move_on_after(float(query["timeoutSeconds"])):
                while not writer.transport.is_closing():
                    watcher.news.clear()
                    for version, event in self._history:
                        if version > watcher.since and _concerns(event, watcher.selector):
                            await self._write(writer, json.dumps(event).encode() + b"\n")
                    watcher.since = self.version
                    await watcher.news.wait()
        finally:
            self._watchers.discard(watcher)

    async def _write(self, writer: asyncio.StreamWriter, line: bytes) -> None:
        for start in range(0, len(line), self.piece_bytes):
            writer.write(_chunk(line[start : start + self.piece_bytes]))
            await writer.drain()
            await anyio.lowlevel.checkpoint()


def _concerns(event: dict[str, Any], selector: str) -> bool:
    return event["type"] == "BOOKMARK" or _fits(event["object"], selector)


def _fits(one: dict[str, Any], selector: str) -> bool:
    labels = one["metadata"].get("labels", {})
    wanted = (part.partition("=") for part in selector.split(","))
    return all(labels.get(name) == value for name, _, value in wanted)


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


async def _refuse(writer: asyncio.StreamWriter, status: int) -> None:
    body = {"kind": "Status", "status": "Failure", "code": status, "message": "10.0.0.1 says no"}
    await _send(writer, status, json.dumps(body).encode())


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(
        b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
        % (status, len(body), body)
    )
    await writer.drain()


@asynccontextmanager
async def kubernetes_api(trust: ssl.SSLContext | None = None) -> AsyncIterator[KubernetesApi]:
    """A server until left. `trust`: its certificate."""
    api = KubernetesApi()
    server = await asyncio.start_server(api.handle, "127.0.0.1", 0, ssl=trust)
    port = server.sockets[0].getsockname()[1]
    api.url = f"http://127.0.0.1:{port}" if trust is None else f"https://localhost:{port}"
    try:
        yield api
    finally:
        api.is_down = True
        server.close()
        api.cut()
        with anyio.move_on_after(_PATIENCE_S, shield=True):
            while api._open:  # noqa: ASYNC110  # nothing announces the end of a connection
                await anyio.sleep(0.01)
