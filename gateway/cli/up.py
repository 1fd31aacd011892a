"""`gateway up`: the engines of the `deploy` entries as processes of this machine, and the gateway.

The gateway listens at once: until the first model can be used, `/ready` says which engine is how
far, and calls are told that no engine can be reached.
"""

import asyncio
import shlex
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import anyio
import typer

from gateway.app import Gateway, build
from gateway.cli.loaded import config_path
from gateway.cli.preparation import Preparation, prepare
from gateway.cli.serve import listen, run, shown_address, welcome
from gateway.cli.server import DrainingServer
from gateway.config.document import Document
from gateway.config.load import load_document
from gateway.config.settings import environment, load_settings
from gateway.errors import ConfigInvalid
from gateway.launch.addresses import with_known_addresses
from gateway.launch.engines import Engines
from gateway.telemetry.logs import configure_logging

_LOOK_EVERY_S = 0.1


def up(
    config: Annotated[
        Path | None, typer.Argument(help="The configuration file [env: GATEWAY_CONFIG].")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [env: GATEWAY_HOST; 0.0.0.0].")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port [env: GATEWAY_PORT; 8080].")
    ] = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the engines' logs [env: LOGS_DIRECTORY; ~/.local/state/sluicegate]."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the commands, start nothing.")
    ] = False,
) -> None:
    """Start the engines of the `deploy` entries on this machine, and serve them."""
    environ = environment()
    settings = load_settings(environ)
    path = config_path(config)
    configure_logging(settings.log_level, settings.log_style(sys.stderr, environ))
    logs = log_dir or _log_folder(environ)
    prepared = prepare(load_document(path), path.parent.absolute(), environ, logs.absolute())
    for line in prepared.unplanned:
        typer.echo(line, err=True)
    if dry_run:
        _print_commands(prepared)
        return
    _make(logs)

    def read(path: Path) -> Document:
        return with_known_addresses(load_document(path), prepared.document)

    gateway = build(prepared.document, settings, config_path=path, environ=environ, read=read)
    listener = listen(
        settings.host if host is None else host, settings.port if port is None else port
    )
    count = len(prepared.engines)
    _tell(f"starting {count} engine{'s' * (count > 1)} for {shown_address(listener)}, logs: {logs}")
    service = _Service(prepared, gateway, welcome(gateway, listener))
    run(gateway, listener, around=service.around)
    if service.has_failed:
        raise typer.Exit(1)


def _log_folder(environ: Mapping[str, str]) -> Path:
    # a service manager may name several, with colons between
    given = environ.get("LOGS_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local/state") / "sluicegate"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as failed:
        raise ConfigInvalid(
            (f"--log-dir {folder}: {(failed.strerror or 'cannot be made').lower()}",)
        ) from failed


def _print_commands(prepared: Preparation) -> None:
    for engine in prepared.engines:
        gpus = ",".join(engine.gpus) or "none"
        typer.echo(f"# {engine.name} at {engine.url}, GPUs: {gpus}, log: {engine.start.log}")
        typer.echo(shlex.join(engine.start.command))


def _tell(line: str) -> None:
    typer.echo(line, err=True)


class _Service:
    """The engines around the server. `has_failed`: no engine could be kept alive."""

    def __init__(self, prepared: Preparation, gateway: Gateway, welcome: str) -> None:
        self.has_failed = False
        self._gateway = gateway
        self._welcome = welcome
        self._engines = Engines(prepared.engines, _tell, gateway.clock)
        here = {engine.url for engine in prepared.engines}
        self._are_all_here = all(
            replica.url.rstrip("/").replace("localhost", "127.0.0.1") in here
            for model in prepared.document.models
            for variant in model.variants
            for replica in variant.replicas
        )

    @asynccontextmanager
    async def around(self, server: DrainingServer) -> AsyncIterator[None]:
        async with self._engines.running(), anyio.create_task_group() as tasks:
            self._gateway.readiness.waiting_for = self._engines.now
            tasks.start_soon(self._until_first_is_usable)
            tasks.start_soon(self._watch, server)
            yield
            tasks.cancel_scope.cancel()
            self._stop_quickly_when_asked(server)
            _tell("stopping the engines (Ctrl-C: at once)")

    async def _until_first_is_usable(self) -> None:
        """Engines come into use by the prober's word: before its first one, all may be tried."""
        readiness, fleet = self._gateway.readiness, self._gateway.inference.exchange.fleet
        while not (readiness.is_started and any(state.is_usable for state in fleet)):
            readiness.waiting_for = self._engines.now
            await anyio.sleep(_LOOK_EVERY_S)
        readiness.waiting_for = ()
        _tell(self._welcome)

    async def _watch(self, server: DrainingServer) -> None:
        """Serving without a single engine, now or ever, is ended."""
        while not (self._are_all_here and self._engines.are_given_up):  # noqa: ASYNC110  # ends are rare
            await anyio.sleep(_LOOK_EVERY_S)
        self.has_failed = True
        server.should_exit = True

    def _stop_quickly_when_asked(self, server: DrainingServer) -> None:
        if server.is_hurried:
            self._engines.hurry.set()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._engines.hurry.set)
