"""What `gateway bench` and `gateway compare` share: the endpoint, files, and how they end."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import typer

from gateway.config.settings import environment
from gateway.remote.address import headers_of, key_from, origin_of
from gateway.remote.endpoint import Endpoint
from gateway.remote.open_files import allow_open_files
from gateway.remote.wrong_input import WrongInput

try:
    from uvloop import run as run_loop
except ImportError:  # pragma: no cover - Windows and PyPy
    if not TYPE_CHECKING:
        run_loop = asyncio.run


def endpoint_at(
    url: str,
    *,
    api_key_env: str | None,
    headers: Sequence[str],
    ca_file: Path | None,
    timeout_s: float,
) -> Endpoint:
    """Raises WrongInput."""
    if ca_file is not None and not ca_file.is_file():
        raise WrongInput(f"--ca-file {ca_file}: no such file")
    origin = origin_of(url, None if ca_file is None else str(ca_file))
    key = key_from(environment(), api_key_env)
    return Endpoint(
        origin,
        headers_of(key, headers),
        timeout_s=timeout_s,
        max_connections=allow_open_files(),
    )


def text_of(path: Path, option: str) -> str:
    """What is in a file. Raises WrongInput."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise WrongInput(f"{option} {path}: {(exc.strerror or str(exc)).lower()}") from exc
    except UnicodeDecodeError as exc:
        raise WrongInput(f"{option} {path}: is not UTF-8") from exc


def check_writable(path: Path | None, option: str) -> None:
    """Raises WrongInput where a report could not be written, before any work is done for it."""
    if path is None:
        return
    if path.is_dir():
        raise WrongInput(f"{option} {path}: is a folder")
    if not path.absolute().parent.is_dir():
        raise WrongInput(f"{option} {path}: its folder does not exist")


def write(path: Path | None, text: str) -> None:
    """Write a report, if it was asked for. Ends with 1 when that fails."""
    if path is None:
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        typer.echo(f"cannot write {path}: {(exc.strerror or str(exc)).lower()}", err=True)
        raise typer.Exit(1) from exc
    typer.echo(f"wrote {path}", err=True)


def object_of(text: str | None, option: str) -> dict[str, object]:
    """A JSON object of the command line. Raises WrongInput."""
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except json.JSONDecodeError as exc:
        raise WrongInput(f"{option}: not JSON: {exc.msg.lower()}") from exc
    if not isinstance(value, dict):
        raise WrongInput(f'{option} must be a JSON object, such as {{"top_p": 0.9}}')
    return value


def run_until_interrupted(work: Callable[[], Awaitable[None]]) -> bool:
    """Run to the end, or to Ctrl-C or SIGTERM; whether it was interrupted.

    What `work` raises is raised as it is, without the groups that task groups put around it.
    """
    interrupted = False

    async def whole() -> None:
        nonlocal interrupted
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with anyio.create_task_group() as tasks:

                async def until_signal() -> None:
                    nonlocal interrupted
                    await anext(aiter(signals))
                    interrupted = True
                    tasks.cancel_scope.cancel()

                tasks.start_soon(until_signal)
                await work()
                tasks.cancel_scope.cancel()

    try:
        run_loop(whole())
    except BaseExceptionGroup as group:
        raise _first(group) from None
    return interrupted


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
