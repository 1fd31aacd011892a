"""Where an OpenAI endpoint is, and the headers that every request to it carries. No I/O.

A base URL is taken as people have it: with or without `/v1`, or with the whole path of an
operation. Secrets come from the environment: a command line is seen by every user of a machine.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, urlsplit

from gateway.remote.wrong_input import WrongInput
from gateway.wire.http import Headers, Origin

DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
_OPERATIONS = re.compile(r"/(chat/completions|completions|models)$")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*([\x20-\x7e]*)")
_OURS = {"content-type", "content-length", "host", "connection", "accept-encoding"}
_SECRET = {"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie"}
_PORTS = {"http": 80, "https": 443}


def origin_of(url: str, ca_file: str | None = None) -> Origin:
    """The endpoint at a base URL, `/v1` left out of `base_path`. Raises WrongInput."""
    parts, port = _split(url)
    if parts.username is not None or parts.password is not None:
        raise WrongInput(
            "the URL holds a user or a password, which others can see: give the key in an "
            "environment variable (--api-key-env)"
        )
    if parts.scheme not in _PORTS or not parts.hostname:
        raise WrongInput(f'"{url}" is no base URL: write it as http://localhost:8000')
    if parts.query or parts.fragment:
        raise WrongInput(f'"{url}" has a query or a fragment: give the base URL alone')
    if not parts.path.isascii() or not parts.path.isprintable() or " " in parts.path:
        raise WrongInput(f'"{url}" has a path that is not printable ASCII')
    path = _OPERATIONS.sub("", parts.path.rstrip("/")).removesuffix("/v1").rstrip("/")
    return Origin(parts.scheme, parts.hostname, port, path, ca_file)


def _split(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise WrongInput("the URL cannot be read: write it as http://localhost:8000") from exc
    return parts, _PORTS.get(parts.scheme, 0) if port is None else port


def shown(origin: Origin) -> str:
    """The base URL for reports."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    usual = origin.port == _PORTS[origin.scheme]
    return f"{origin.scheme}://{host}{'' if usual else f':{origin.port}'}{origin.base_path}"


def key_from(environ: Mapping[str, str], variable: str | None) -> str | None:
    """The key, or None where none is set. Raises WrongInput for a variable that was named."""
    key = environ.get(variable or DEFAULT_KEY_VARIABLE, "").strip()
    if variable is not None and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) is None:
        raise WrongInput("--api-key-env takes the name of an environment variable, not the key")
    if variable is not None and not key:
        raise WrongInput(f"the environment variable {variable} (--api-key-env) is not set")
    if not key.isascii() or not key.isprintable():
        raise WrongInput("the API key has characters that no header can carry")
    return key or None


def headers_of(key: str | None, more: Iterable[str] = ()) -> Headers:
    """The headers of every request. `more`: lines such as `x-tenant: a`. Raises WrongInput."""
    headers = [(b"content-type", b"application/json")]
    if key is not None:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    for line in more:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise WrongInput("a header (--header) must be written as name: value")
        name = match[1].lower()
        if name in _SECRET:
            raise WrongInput(
                f"the header {name} carries a secret, which others can see on a command line: "
                "give the key in an environment variable (--api-key-env)"
            )
        if name in _OURS:
            raise WrongInput(f"the header {name} is written by the command itself")
        headers.append((name.encode(), match[2].encode()))
    return tuple(headers)
