"""The composition root: builds every part, in order, in one place.

`build` wires a gateway for one configuration; its lifespan opens what lives long (connections,
prober, watcher) and closes it in the reverse order. Nothing else creates a part.
"""

import logging
import random
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.routing import Route

from gateway import __version__
from gateway.api.asgi import AsgiInference
from gateway.api.inference import Inference
from gateway.api.models import models_router
from gateway.api.operations import admin_router, operations_router
from gateway.api.problems import install_problems
from gateway.api.readiness import Readiness
from gateway.api.request_ids import RequestIds
from gateway.clock import Clock, SystemClock
from gateway.config.document import Document
from gateway.config.load import load_document
from gateway.config.settings import Settings
from gateway.config.watch import file_changes
from gateway.engines import ENGINES
from gateway.errors import ConfigInvalid
from gateway.fleet.catalog import compile_catalog
from gateway.fleet.prober import Prober
from gateway.fleet.state import FleetState
from gateway.proxy.account import Bookkeeper
from gateway.proxy.attempt import Attempts, StreamBounds
from gateway.proxy.exchange import Exchange
from gateway.proxy.retry import RetryRules
from gateway.proxy.upstream.pool import PoolUpstream
from gateway.proxy.upstream.protocol import Upstream
from gateway.routing import POLICIES
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.logs import LineOutput, RequestLog
from gateway.telemetry.metrics import Metrics

log = logging.getLogger(__name__)



@dataclass(frozen=True, slots=True)
class Gateway:
    """A wired gateway. `app` is the ASGI application; the rest is for the server around it."""

    app: FastAPI
    inference: Inference
    readiness: Readiness
    books: Bookkeeper
    clock: Clock
    document: Document

    def begin_drain(self) -> None:
        """Take no new calls from now on; those that run go on."""
        self.readiness.is_draining = True
        self.inference.exchange.is_draining = True


def build(
    document: Document,
    settings: Settings,
    *,
    config_path: Path | None = None,
    environ: Mapping[str, str],
    clock: Clock | None = None,
    rng: random.Random | None = None,
    upstream: Upstream | None = None,
    request_log: LineOutput | None = None,
) -> Gateway:
    """Wire a gateway. Raises ConfigInvalid. `config_path`: the file to watch for changes."""
    clock = clock or SystemClock()
    rng = rng or random.Random()
    catalog = compile_catalog(document, environ, policies=frozenset(POLICIES))
    server = document.server
    fleet = FleetState(catalog)
    metrics = Metrics()
    books = Bookkeeper(metrics, RequestLog(request_log or sys.stdout, clock), clock)
    upstream = upstream or PoolUpstream()
    exchange = Exchange(
        fleet=fleet,
        keys=catalog.keys,
        engines=ENGINES,
        policies={name: new() for name, new in POLICIES.items()},
        attempts=Attempts(
            upstream,
            metrics,
            clock,
            StreamBounds(
                heartbeat_s=server.heartbeat_s,
                write_stall_s=server.write_stall_s,
                max_event_bytes=server.max_event_bytes,
                max_answer_bytes=server.max_answer_bytes,
            ),
        ),
        books=books,
        retries=_retry_rules(document),
        clock=clock,
        rng=rng,
    )
    readiness = Readiness()
    inference = Inference(exchange, clock, max_body_bytes=server.max_body_bytes)
    reloader = Reloader(config_path, environ, exchange, readiness, metrics)
    _show_gauges(metrics, fleet, readiness)
    app = FastAPI(
        title="Sluicegate",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan(upstream, fleet, metrics, readiness, reloader),
    )
    app.include_router(operations_router(readiness, fleet, metrics))
    app.include_router(models_router(fleet, exchange.authenticate, int(clock.unix_s())))
    app.include_router(admin_router(fleet, settings.admin_key))
    add_inference_routes(app, inference, clock, body_read_s=server.body_read_s)
    install_problems(app)
    app.add_middleware(RequestIds)
    if document.cors.allow_origins:
        app.add_middleware(CORSMiddleware, **cors_options(document.cors.allow_origins))
    if not document.keys:
        log.warning(F.NO_KEYS)
    return Gateway(app, inference, readiness, books, clock, document)


def from_environment() -> FastAPI:
    """The ASGI application for other servers: `uvicorn --factory gateway.app:from_environment`.

    Reads `GATEWAY_CONFIG`. Raises ConfigInvalid.
    """
    environ = environment()
    settings = load_settings(environ)
    if settings.config is None:
        raise ConfigInvalid(("GATEWAY_CONFIG: name the configuration file",))
    configure_logging(settings.log_level)
    path = Path(settings.config)
    return build(load_document(path), settings, config_path=path, environ=environ).app
