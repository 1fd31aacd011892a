"""The pods of a service of Kubernetes: its EndpointSlices, listed once and then watched.

The watch is asked to end every few minutes and goes on where it was; what was missed in between is
told first. When the server does not remember so long (410), everything is listed anew. Whatever
fails, what was found last stands. RBAC: `get`, `list` and `watch` of `endpointslices`.

Source: Kubernetes API concepts, "Efficient detection of changes", "410 Gone responses".
"""

from collections.abc import Callable
from typing import Final

import anyio
import httpx

from gateway.config import discovery as config
from gateway.fleet.discovery.api_server import ApiServer, NotInCluster
from gateway.fleet.discovery.backoff import backoff_s
from gateway.fleet.discovery.endpoint import Discovery, Surroundings, Told
from gateway.fleet.discovery.slices import PortMissing, endpoints_of
from gateway.fleet.discovery.watched import Expired, Lines, Watched

_LIST_S: Final = 15.0
_WATCH_S: Final = 240
_MARGIN_S: Final = 20.0
_PAGE: Final = 200
_MAX_PAGES: Final = 500
_MAX_PAGE_BYTES: Final = 32 * 1024 * 1024
_GONE: Final = 410
_LONGEST_ASKED_S: Final = 60.0
_LASTING_S: Final = 30.0
# so that a server which ends every watch at once is not asked without a pause
_PAUSE_S: Final = 0.2

_REFUSALS: Final = {
    401: "the API server does not accept the token",
    403: "the service account may not list and watch endpointslices in this namespace (RBAC)",
    404: "the API server has no EndpointSlices",
    429: "the API server asks for patience",
}


class Refused(Exception):
    """A status that is no answer. `after_s`: when to come back, where it was said."""

    def __init__(self, status: int, after_s: float | None) -> None:
        super().__init__(_REFUSALS.get(status, f"the API server answered with status {status}"))
        self.after_s = after_s


def open_kubernetes(given: config.Discovery, around: Surroundings) -> Discovery:
    """`given` has `kubernetes`."""
    assert given.kubernetes is not None  # noqa: S101  # the configuration has checked it
    kubernetes = given.kubernetes
    return KubernetesService(
        kubernetes, lambda: ApiServer.of(kubernetes, around.environ, around.account), around
    )


class KubernetesService:
    """`find_server` is asked before each list: a pod's files may be there later."""

    def __init__(
        self,
        given: config.Kubernetes,
        find_server: Callable[[], ApiServer],
        around: Surroundings,
    ) -> None:
        self._selector = given.selector or f"kubernetes.io/service-name={given.service}"
        self._port = given.port
        self._find_server = find_server
        self._rng = around.rng

    async def run(self, told: Told) -> None:
        failures = 0
        while True:
            wait_s = reason = None
            began_s = anyio.current_time()
            watched = Watched()
            try:
                server = self._find_server()
                async with server.client() as client:
                    await self._list(client, server, watched)
                    self._tell(watched, told)
                    while True:
                        await self._watch(client, server, watched, told)
                        await anyio.sleep(_PAUSE_S * (1 + self._rng.random()))
            except Expired:
                pass
            except Refused as refused:
                reason, wait_s = str(refused), refused.after_s
            except NotInCluster as lacking:
                reason = str(lacking)
            except (httpx.HTTPError, TimeoutError):
                reason = "the API server cannot be reached"
            except OSError:
                reason = "the token or the CA file cannot be read"
            except ValueError:
                reason = "what the API server says cannot be read"
            if reason is not None:
                told.failed(reason)
            has_lasted = anyio.current_time() - began_s > _LASTING_S
            failures = 0 if has_lasted else failures + 1
            await anyio.sleep(max(wait_s or 0.0, backoff_s(failures, self._rng)))

    async def _list(self, client: httpx.AsyncClient, server: ApiServer, watched: Watched) -> None:
        """Raises Expired, Refused, HTTPError, OSError, ValueError."""
        query: dict[str, str | int] = {"labelSelector": self._selector, "limit": _PAGE}
        with anyio.fail_after(_LIST_S):
            for _ in range(_MAX_PAGES):
                async with client.stream(
                    "GET", _path(server), params=query, headers=server.headers()
                ) as response:
                    _check(response)
                    body = bytearray()
                    async for piece in response.aiter_bytes():
                        body += piece
                        if len(body) > _MAX_PAGE_BYTES:
                            raise ValueError("a page of the list is too large")
                more = watched.listed(bytes(body))
                if not more:
                    return
                query["continue"] = more
        raise ValueError("the list does not end")

    async def _watch(
        self, client: httpx.AsyncClient, server: ApiServer, watched: Watched, told: Told
    ) -> None:
        """Until the server ends it. Raises Expired, Refused, HTTPError, OSError, ValueError."""
        most_s = round(_WATCH_S * (1 + self._rng.random()))
        query: dict[str, str | int] = {
            "labelSelector": self._selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": watched.version,
            "timeoutSeconds": most_s,
        }
        patience = httpx.Timeout(_LIST_S, read=most_s + _MARGIN_S)
        lines = Lines()
        has_begun = False
        try:
            async with client.stream(
                "GET", _path(server), params=query, headers=server.headers(), timeout=patience
            ) as response:
                _check(response)
                told.confirmed()
                has_begun = True
                async for piece in response.aiter_bytes():
                    # what arrived together is told together
                    has_changed = [watched.changed(line) for line in lines.feed(piece)]
                    if any(has_changed):
                        self._tell(watched, told)
                    else:
                        told.confirmed()
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.ReadTimeout):
            if not has_begun:
                raise
            # cut off: the next one goes on where it was

    def _tell(self, watched: Watched, told: Told) -> None:
        try:
            endpoints = endpoints_of(watched.slices, self._port)
        except PortMissing:
            told.failed("the service does not have this port: set kubernetes.port")
        else:
            told.found(endpoints)


def _path(server: ApiServer) -> str:
    return f"/apis/discovery.k8s.io/v1/namespaces/{server.namespace}/endpointslices"


def _check(response: httpx.Response) -> None:
    """Raises Expired, Refused."""
    if response.status_code == _GONE:
        raise Expired
    if response.status_code != httpx.codes.OK:
        raise Refused(response.status_code, _asked_s(response.headers.get("retry-after", "")))


def _asked_s(header: str) -> float | None:
    return min(_LONGEST_ASKED_S, float(header)) if header.isdigit() else None
