"""Ask a running gateway's admin API, or say in one sentence why that did not work."""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

import httpx
import typer

from gateway.config.settings import environment, load_settings

_TIMEOUT_S: Final = 20.0
# what the gateway says of a wrong question; anything else is a failure
_WRONG_INPUT: Final = (400, 401, 413, 415)
# an admin key for this machine does not go through a proxy
_DIRECT: Final = ("all://localhost", "all://127.0.0.1", "all://[::1]")


def path_to(*parts: str) -> str:
    """A path below `/admin`; the parts may hold anything."""
    return "/admin/" + "/".join(quote(part, safe="") for part in parts)


class Broken(Exception):
    """A stream of events could not be had, or ended amid it; the message says why."""


class AdminApi:
    """One gateway's. `url` None: the environment's."""

    def __init__(self, url: str | None) -> None:
        settings = load_settings(environment())
        self.url = (url or settings.url).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise _failed("the gateway's address must begin with http:// or https://", code=2)
        if settings.admin_key is None:
            raise _failed("set GATEWAY_ADMIN_KEY to the admin key of the gateway", code=2)
        self._key = settings.admin_key.get_secret_value()
        if not self._key.isascii():
            raise _failed("GATEWAY_ADMIN_KEY must be ASCII: nothing else can be sent", code=2)

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The answer. Exits with 1, or with 2 when what was asked is wrong."""
        try:
            with self._client() as client:
                answer = client.request(method, self.url + path, json=body, params=query)
        except (httpx.HTTPError, httpx.InvalidURL) as failed:
            raise _failed(self._why(failed)) from failed
        return _good(answer)

    def events(self, path: str) -> Iterator[str]:
        """The data of each server-sent event, until the gateway ends them.

        Exits like `ask` when it is refused. Raises Broken when it cannot be reached, or no more.
        """
        try:
            with self._client() as client, client.stream("GET", self.url + path) as answer:
                if not answer.is_success:
                    answer.read()
                for line in _good(answer).iter_lines():
                    if line.startswith("data: "):
                        yield line.removeprefix("data: ")
        except (httpx.HTTPError, httpx.InvalidURL) as failed:
            raise Broken(self._why(failed)) from failed

    def _client(self) -> httpx.Client:
        return httpx.Client(
            timeout=_TIMEOUT_S,
            headers={"authorization": f"Bearer {self._key}"},
            mounts=dict.fromkeys(_DIRECT),
        )

    def _why(self, failed: Exception) -> str:
        if isinstance(failed, httpx.TimeoutException):
            return f"no answer from {self.url} within {_TIMEOUT_S:g} s"
        return f"cannot reach the gateway at {self.url}: {failed}"


def _good(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    raise _failed(_reason(answer), code=2 if answer.status_code in _WRONG_INPUT else 1)


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.url.host} answered {answer.status_code}: is it a gateway?"


def _failed(reason: str, *, code: int = 1) -> typer.Exit:
    typer.echo(reason, err=True)
    return typer.Exit(code)
