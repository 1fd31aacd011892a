"""`gateway serve`: the gateway for a configuration file."""

import asyncio
import functools
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from gateway import __version__
from gateway.api.connection import Connection
from gateway.api.direct import DirectProtocol
from gateway.app import Gateway, build
from gateway.cli.loaded import config_path
from gateway.cli.place import Place
from gateway.cli.rolling import RETIRE
from gateway.cli.server import DrainingServer
from gateway.cli.workers import run_workers
from gateway.config.load import load_document
from gateway.config.settings import environment, load_settings
from gateway.telemetry.logs import configure_logging

_CANCEL_S = 2
_GC_ALLOCATIONS = 50_000


def serve(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration file [env: GATEWAY_CONFIG]."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [env: GATEWAY_HOST; 0.0.0.0].")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port [env: GATEWAY_PORT; 8080].")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that serve.")] = 1,
    place: Annotated[Place | None, typer.Option(hidden=True, parser=Place.read)] = None,
) -> None:
    """Serve the models of a configuration file."""
    environ = environment()
    settings = load_settings(environ)
    path = config_path(config)
    configure_logging(settings.log_level, settings.log_style(sys.stderr, environ))
    document = load_document(path)
    cells = None if place is None else place.cells()
    siblings = workers if place is None else place.workers
    gateway = build(
        document,
        settings,
        config_path=path,
        environ=environ,
        cells=cells,
        recent=None if place is None else place.recent(),
        workers=siblings,
    )
    if place is not None:
        run(gateway, socket.socket(fileno=place.listener), place)
    else:
        listener = listen(
            settings.host if host is None else host, settings.port if port is None else port
        )
        typer.echo(welcome(gateway, listener), err=True)
        if workers > 1:
            kept = document.telemetry.recent_requests
            sys.exit(run_workers(listener, path, workers, recent_requests=kept))
        run(gateway, listener)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Exits with 1 and a clear word when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with the protocol named, asyncio turns Nagle's algorithm off: events leave at once
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(4096)
    except OSError as exc:
        listener.close()
        typer.echo(f"cannot listen on {host} port {port}: {exc.strerror}", err=True)
        raise typer.Exit(1) from exc
    listener.set_inheritable(True)
    return listener


def run(
    gateway: Gateway,
    listener: socket.socket,
    place: Place | None = None,
    around: Callable[[DrainingServer], AbstractAsyncContextManager[None]] | None = None,
) -> None:
    """Serve until a signal ends it, or the parent that gave us our place is gone.

    `around` is entered before the server starts and left when it has ended.
    """
    server = server_for(gateway)

    async def until_stopped() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, gateway.reloader.reload)
        loop.add_signal_handler(RETIRE, server.retire if place is not None else _stays)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP, RETIRE})

        def orphaned(pipe: int) -> None:
            loop.remove_reader(pipe)
            server.handle_exit(signal.SIGTERM, None)

        if place is not None:
            loop.add_reader(place.parent, orphaned, place.parent)
            server.on_started = functools.partial(_say_that_we_serve, place.serves)
        async with nullcontext() if around is None else around(server):
            await server.serve([listener])

    # what is here now stays: collections need not look at it again, nor as often
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS, 20, 20)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(until_stopped())


def _say_that_we_serve(pipe: int) -> None:
    with suppress(BrokenPipeError):  # the parent is gone
        os.write(pipe, b".")
    os.close(pipe)


def _stays() -> None:
    """Nobody could take the place of a single process."""


def server_for(gateway: Gateway, *, direct: bool = True) -> DrainingServer:
    """Uvicorn for a gateway, with the direct way in where browsers need no extra headers."""
    config = uvicorn.Config(
        gateway.app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_CANCEL_S,
        timeout_keep_alive=75,
        http="httptools",
        ws="none",
        lifespan="on",
    )
    config.load()
    is_direct = direct and not gateway.document.cors.allow_origins
    connection = (
        functools.partial(DirectProtocol, inference=gateway.inference, clock=gateway.clock)
        if is_direct
        else Connection
    )
    config.http_protocol_class = functools.partial(  # type: ignore[assignment]  # a factory
        connection, read_s=gateway.document.server.body_read_s
    )
    return DrainingServer(
        config,
        begin_drain=gateway.begin_drain,
        open_calls=lambda: gateway.books.open_calls,
        grace_s=gateway.document.server.drain_grace_s,
        clock=gateway.clock,
    )


def shown_address(listener: socket.socket) -> str:
    """Where a listener can be reached, as a person would write it."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1") else shown  # noqa: S104  # shown
    return f"http://{shown}:{port}"


def welcome(gateway: Gateway, listener: socket.socket) -> str:
    """What is served, and where."""
    url = shown_address(listener)
    catalog = gateway.inference.exchange.fleet.catalog
    return (
        f"sluicegate {__version__}: {len(catalog.models)} models at {url}/v1"
        f" (try: curl {url}/v1/models)"
    )
