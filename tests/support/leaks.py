"""What must never be logged, and everything that was: the two are compared after every test.

Known are: every secret that a configuration or the environment gave (as pydantic keeps them),
those of commands that tests start, the prompt that tests send, what simulated engines say, and
whatever looks like a key of ours, a bearer token or a password in a URL. Heard are: request logs
and every record of logging of gateways in the test's process, and what commands say.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from typing_extensions import override

from gateway.config.load import load_document
from gateway.errors import ConfigInvalid
from gateway.simulator.answers import _SENTENCE
from gateway.telemetry.logs import JsonFormatter

PROMPT = "Hi, tell nobody of the quince marmalade"
_PROMPT = re.compile("quince marmalade")
_WORDS = "|".join(sorted(set(_SENTENCE.split())))
SHAPES = {
    "a prompt": _PROMPT,
    "an answer": re.compile(rf"(?:\b(?:{_WORDS})\b ?){{6,}}"),
    "a key made at run time": re.compile(r"\bsk-[A-Za-z0-9_-]{43}"),
    "a bearer token": re.compile(r"[Bb]earer [A-Za-z0-9._~+/-]{6,}"),
    "a password in a URL": re.compile(r"[a-z]+://[^\s/@\"']*:[^\s/@\"'*]+@"),
}
_SHORTEST = 8
_MOST = 2000
_SECRET_NAMES = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|REDIS_URL")
# what configure_logging silences, and clients that only tests use
_SILENT = ("httpx", "httpcore", "uvicorn.access", "watchfiles", "openai", "hpack", "asyncio")


class Ledger:
    """The secrets of this process's tests, and what was logged since the last look."""

    def __init__(self) -> None:
        self._secrets: dict[str, None] = {}
        self._heard: list[str] = []

    def plant(self, secret: str) -> None:
        """This must not be heard. Of a URL, its password."""
        if "://" in secret:
            with suppress(ValueError):
                password = urlsplit(secret).password or ""
                self.plant(unquote(password))
            return
        if len(secret) >= _SHORTEST:
            self._secrets.pop(secret, None)
            self._secrets[secret] = None
            if len(self._secrets) > _MOST:
                self._secrets.pop(next(iter(self._secrets)))

    def hear(self, said: str | bytes | bytearray) -> None:
        """This was logged."""
        self._heard.append(said if isinstance(said, str) else bytes(said).decode(errors="replace"))

    def leaks(self) -> list[str]:
        """What was heard since the last time and must not be, with the line where it was."""
        heard, self._heard = "\n".join(self._heard), []
        found = [f"a secret: {_around(heard, one)}" for one in self._secrets if one in heard]
        for name, shape in SHAPES.items():
            found += [f"{name}: {_around(heard, one[0])}" for one in shape.finditer(heard)]
        return found


LEDGER = Ledger()


def _around(heard: str, what: str) -> str:
    at = heard.index(what)
    start, end = heard.rfind("\n", 0, at) + 1, heard.find("\n", at)
    return heard[start : end if end >= 0 else None]


def plant_for_command(words: Sequence[str], environ: Mapping[str, str]) -> None:
    """The secrets of a command that is about to start."""
    for name, value in environ.items():
        if _SECRET_NAMES.search(name):
            LEDGER.plant(value)
    for word in words:
        if word.endswith((".yaml", ".yml")) and Path(word).is_file():
            with suppress(ConfigInvalid, OSError):
                load_document(Path(word))  # its secrets are planted as they are read


class _Records(logging.Handler):
    """Hears every record with all its fields, as it would be written."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self.setFormatter(JsonFormatter())

    @override
    def emit(self, record: logging.LogRecord) -> None:
        is_silent = record.name.startswith(_SILENT) and record.levelno < logging.WARNING
        if not is_silent:
            self._ledger.hear(self.format(record))


@contextmanager
def records_heard(ledger: Ledger) -> Iterator[None]:
    """Hear what is logged in this process."""
    handler, root = _Records(ledger), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


@contextmanager
def secrets_planted(ledger: Ledger) -> Iterator[None]:
    """Plant whatever becomes a secret of a configuration or of the settings."""
    init = SecretStr.__init__

    def planting(self: SecretStr, secret_value: str) -> None:
        ledger.plant(secret_value)
        init(self, secret_value)

    SecretStr.__init__ = planting  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        SecretStr.__init__ = init  # type: ignore[method-assign]
