"""The httpx clients that probe: one for each authority that replicas' certificates come from.

They reach engines as the upstream does: straight, whatever proxy the environment names, and
trusting what the configuration says.
"""

import ssl
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import anyio
import httpx

_CLOSE_S = 2.0


class ProbeClients:
    """Made when they are first asked for, closed together."""

    def __init__(self) -> None:
        self._clients: dict[str | None, httpx.AsyncClient] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.move_on_after(_CLOSE_S, shield=True):
            async with AsyncExitStack() as stack:
                for client in self._clients.values():
                    stack.push_async_callback(client.aclose)

    def trusting(self, ca_file: str | None) -> httpx.AsyncClient:
        """The client for this authority; None: the public ones. Raises OSError."""
        client = self._clients.get(ca_file)
        if client is None:
            trust = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
            client = httpx.AsyncClient(verify=trust, trust_env=False, follow_redirects=False)
            self._clients[ca_file] = client
        return client
