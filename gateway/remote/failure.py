"""Why a request brought no whole answer: a label that can be counted, and words. No I/O."""

from dataclasses import dataclass

import msgspec

from gateway.errors import ConnectionLost, EngineOverloaded, EngineUnreachable, GatewayError

_MAX_WORDS = 300


@dataclass(frozen=True, slots=True)
class Failure:
    """`label` is the same for all failures of a kind: `429 rate_limit_exceeded`, `timeout`.

    `status`: of the HTTP answer; 0 when there was none.
    """

    label: str
    message: str
    status: int = 0


def refused(status: int, body: bytes) -> Failure:
    """An answer that is no success, in whatever words its body has."""
    code, message = _code_and_message(body)
    told = "" if code == str(status) else f" {code}"
    return Failure(f"{status}{told}".rstrip(), message, status)


def error_event(raw: bytes) -> Failure:
    """An error inside a stream that began well."""
    code, message = _code_and_message(b'{"error":' + raw + b"}")
    return Failure(f"error event {code}".strip(), message, 200)


def cut_short() -> Failure:
    """A stream that ended cleanly, but not at its end."""
    return Failure("stream cut short", "the stream ended without finish_reason or usage", 200)


def unreadable(what: str) -> Failure:
    return Failure("unreadable answer", what, 200)


def timed_out(limit_s: float) -> Failure:
    return Failure("timeout", f"no whole answer within {limit_s:g} s")


def broken(error: GatewayError) -> Failure:
    """The connection failed; the words are the transport's."""
    message = error.public.replace("the engine", "the endpoint")
    match error:
        case EngineUnreachable():
            return Failure("cannot connect", message)
        case EngineOverloaded():
            return Failure("out of connections", "all connections of this client are in use")
        case ConnectionLost():
            return Failure("connection lost", message)
        case _:
            return Failure("not HTTP", message)


def _code_and_message(body: bytes) -> tuple[str, str]:
    """OpenAI's error body, or what engines send in its place."""
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return "", _short(body.decode(errors="replace"))
    inner = said.get("error", said) if isinstance(said, dict) else said
    if not isinstance(inner, dict):
        return "", _short(str(inner))
    code = inner.get("code") or inner.get("type") or inner.get("http_status_code") or ""
    message = inner.get("message") or inner.get("detail") or inner.get("error") or ""
    return str(code)[:60], _short(str(message))


def _short(words: str) -> str:
    return " ".join(words.split())[:_MAX_WORDS]
