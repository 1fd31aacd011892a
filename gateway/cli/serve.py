"""`gateway serve`: the gateway for a configuration file."""

import functools
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from gateway.api.direct import DirectProtocol
from gateway.app import Gateway, build
from gateway.cli.server import DrainingServer
from gateway.config.load import load_document
from gateway.config.settings import environment, load_settings
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.logs import configure_logging

log = logging.getLogger(__name__)

_CANCEL_S = 2


def serve(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration file [env: GATEWAY_CONFIG]."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [env: GATEWAY_HOST].")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port [env: GATEWAY_PORT].")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that serve.")] = 1,
) -> None:
    """Serve the models of a configuration file."""
