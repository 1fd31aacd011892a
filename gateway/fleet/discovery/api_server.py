"""The way to Kubernetes' API server: where it is, whom to trust, and which token to show.

In a pod all of it is there: the address in variables, token, authority and namespace in files. The
token is read for every request, since it is replaced every hour.

Source: Kubernetes, "Accessing the Kubernetes API from a Pod".
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import httpx

from gateway.config.discovery import Kubernetes
from gateway.keepalive import KEEPALIVE

_CONNECT_S: Final = 5.0


class NotInCluster(ValueError):
    """What the configuration leaves out is not here either."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """`token_file` None: no token is shown; `ca_file` None: the public authorities."""

    url: str
    namespace: str
    token_file: Path | None
    ca_file: Path | None

    @classmethod
    def of(cls, given: Kubernetes, environ: Mapping[str, str], account: Path) -> Self:
        """As configured, else as in the pod that we run in. Raises NotInCluster."""
        url = given.api_server
        token_file, ca_file = given.token_file, given.ca_file
        if url is None:
            host = environ.get("KUBERNETES_SERVICE_HOST", "")
            if not host:
                raise NotInCluster("this is no pod of a cluster: set api_server")
            host = f"[{host}]" if ":" in host else host
            url = f"https://{host}:{environ.get('KUBERNETES_SERVICE_PORT') or '443'}"
            token_file = token_file or account / "token"
            ca_file = ca_file or account / "ca.crt"
        namespace = given.namespace or _text(account / "namespace")
        if not namespace:
            raise NotInCluster("which namespace? this is no pod of a cluster: set namespace")
        return cls(url, namespace, token_file, ca_file)

    def client(self) -> httpx.AsyncClient:
        """A client that trusts this server. Raises OSError where the authority cannot be read.

        It notices in half a minute when the other end has gone without a word.
        """
        trust: ssl.SSLContext | bool = True
        if self.ca_file is not None:
            trust = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.AsyncClient(
            base_url=self.url,
            transport=httpx.AsyncHTTPTransport(
                verify=trust, trust_env=False, socket_options=KEEPALIVE
            ),
            follow_redirects=False,
            timeout=httpx.Timeout(_CONNECT_S),
        )

    def headers(self) -> dict[str, str]:
        """Raises OSError where the token cannot be read."""
        if self.token_file is None:
            return {"accept": "application/json"}
        token = self.token_file.read_text().strip()
        if not token.isascii() or not token.isprintable():
            raise ValueError("the token is not one")
        return {"accept": "application/json", "authorization": f"Bearer {token}"}


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
