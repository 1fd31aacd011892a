"""The composition root: builds every part, in order, in one place.

`build` wires a gateway for one configuration; its lifespan opens what lives long (connections,
prober, watcher) and closes it in the reverse order. Nothing else creates a part.
"""

import asyncio
import logging
import random
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import anyio
from fastapi import FastAPI

from gateway import __version__
from gateway.api.admin_audit import audit_router
from gateway.api.admin_keys import keys_router
from gateway.api.admin_limits import limits_router
from gateway.api.admin_live import live_router
from gateway.api.admin_mirror import mirror_router
from gateway.api.admin_requests import requests_router
from gateway.api.admin_route import route_router
from gateway.api.admin_usage import usage_router
from gateway.api.asgi import add_inference_routes
from gateway.api.cors import allow_browsers
from gateway.api.dashboard import dashboard_router
from gateway.api.endpoints import Endpoints
from gateway.api.inference import Inference
from gateway.api.models import models_router
from gateway.api.openapi import document_inference
from gateway.api.operations import fleet_router, operations_router
from gateway.api.problems import install_problems
from gateway.api.readiness import Readiness
from gateway.api.request_ids import RequestIds
from gateway.api.tgi_info import tgi_info_router
from gateway.auth.issuer import Issuer, open_issuer
from gateway.clock import Clock, SystemClock
from gateway.config.document import Document
from gateway.config.load import load_document
from gateway.config.mirror import MAX_ANSWER_BYTES
from gateway.config.settings import Settings, environment, load_settings
from gateway.engines import ENGINES
from gateway.errors import ConfigInvalid
from gateway.fleet.catalog import Catalog
from gateway.fleet.compiling import compile_catalog
from gateway.fleet.discoveries import Discoveries
from gateway.fleet.discovery import DISCOVERIES
from gateway.fleet.discovery.endpoint import Surroundings
from gateway.fleet.forgetting import keep_forgetting
from gateway.fleet.health import HealthRules
from gateway.fleet.probe_clients import ProbeClients
from gateway.fleet.prober import Prober
from gateway.fleet.review import keep_reviewing
from gateway.fleet.sleeper import Sleeper
from gateway.fleet.state import FleetState
from gateway.fleet.told import Teller
from gateway.fleet.trials import Trials
from gateway.gauges import show_gauges
from gateway.limits.limiter import Limiter
from gateway.limits.store import LimitStore
from gateway.limits.stores import open_store
from gateway.live.levels import KeyLevels
from gateway.live.watch import Live
from gateway.plugins import installed_policies
from gateway.proxy.account import Bookkeeper
from gateway.proxy.adapter_loading import AdapterLoading
from gateway.proxy.attempt import Attempts, StreamBounds
from gateway.proxy.exchange import Exchange
from gateway.proxy.mirror.mirroring import Mirroring
from gateway.proxy.retry import RetryRules
from gateway.proxy.upstream.pool import PoolUpstream
from gateway.proxy.upstream.protocol import Upstream
from gateway.queueing.queues import keep_looking
from gateway.reload import Reloader
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.cells import LEVELS_EVERY_S, Cells
from gateway.telemetry.logs import BytesOutput, RequestLog, configure_logging, unbuffered
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recent import Recent
from gateway.tracing import Traced

log = logging.getLogger(__name__)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A wired gateway. `app` is the ASGI application; the rest is for the server around it."""

    app: FastAPI
    inference: Inference
    mirroring: Mirroring
    readiness: Readiness
    books: Bookkeeper
    reloader: Reloader
    limiter: Limiter
    clock: Clock
    document: Document

    def begin_drain(self) -> None:
        """Take no new calls from now on; those that run go on."""
        self.readiness.is_draining = True
        self.inference.exchange.is_draining = True
        self.mirroring.stop()


def build(
    document: Document,
    settings: Settings,
    *,
    environ: Mapping[str, str],
    config_path: Path | None = None,
    clock: Clock | None = None,
    rng: random.Random | None = None,
    upstream: Upstream | None = None,
    request_log: BytesOutput | None = None,
    cells: Cells | None = None,
    recent: Recent | None = None,
    workers: int = 1,
    read: Callable[[Path], Document] = load_document,
) -> Gateway:
    """Wire a gateway. Raises ConfigInvalid.

    `config_path`: the file to watch for changes, which are taken as `read` gives them. `cells`:
    where metrics are counted together with sibling workers, of which there are `workers`, this
    one included; `recent`: where calls are remembered together with them.
    """
    clock = clock or SystemClock()
    installed = installed_policies()
    compiled = partial(compile_catalog, environ=environ, policies=installed)
    catalog = compiled(document)
    rng = rng or random.Random()
    metrics = Metrics(cells, max_callers=document.telemetry.max_callers)
    fleet = FleetState(
        catalog,
        _health_rules(document),
        rng,
        Teller(metrics),
        document.limits.expected_processes or workers,
    )
    around = Surroundings(environ, rng)
    discoveries = Discoveries(fleet, DISCOVERIES, around, metrics, clock)
    log_lines = RequestLog(
        request_log or unbuffered(sys.stdout), settings.log_style(sys.stdout, environ)
    )
    kept = document.telemetry.recent_requests
    if recent is None and kept and workers == 1:
        recent = Recent.alone(kept)
    traced = Traced(document.telemetry, environ, metrics, clock, rng, recent)
    books = Bookkeeper(metrics, log_lines, clock, fleet, traced.stories)
    upstream = upstream or PoolUpstream()
    store = open_store(document.limits, environ, metrics, clock, rng, workers=workers)
    issuer = open_issuer(document.limits, environ, clock, catalog.access, fleet.serve_issued)
    limiter = Limiter(store, metrics, clock)
    policies = {name: new() for name, new in installed.items()}
    mirroring = Mirroring(
        fleet=fleet,
        engines=ENGINES,
        policies=policies,
        upstream=upstream,
        bounds=replace(_bounds(document), max_answer_bytes=MAX_ANSWER_BYTES),
        metrics=metrics,
        clock=clock,
        rng=rng,
    )
    mirroring.records_content = document.telemetry.record_content
    exchange = Exchange(
        fleet=fleet,
        engines=ENGINES,
        policies=policies,
        attempts=Attempts(
            upstream,
            metrics,
            clock,
            _bounds(document),
            tells_who=document.server.routing_headers,
        ),
        books=books,
        retries=_retry_rules(document),
        limiter=limiter,
        clock=clock,
        rng=rng,
        mirroring=mirroring,
        loading=AdapterLoading(upstream, ENGINES),
    )
    readiness = Readiness()
    endpoints = Endpoints(lambda: next(iter(fleet.catalog.models)))
    inference = Inference(exchange, endpoints, clock, max_body_bytes=document.server.max_body_bytes)

    def serve_catalog(document: Document, catalog: Catalog) -> None:
        fleet.rules = _health_rules(document)
        fleet.processes = document.limits.expected_processes or workers
        fleet.apply(catalog)
        discoveries.follow()
        if issuer is not None:
            issuer.configure(catalog.access)
        exchange.retries = _retry_rules(document)
        mirroring.records_content = document.telemetry.record_content
        traced.configure(document.telemetry)

    reloader = Reloader(config_path, read, compiled, serve_catalog, readiness, metrics)
    show_gauges(metrics, fleet, exchange, discoveries, readiness, store, clock)
    app = FastAPI(
        title="Sluicegate",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the scheme and host that we see
        # newer versions trace by themselves where OTEL_* variables are set: calls a second time
        telemetry={"auto_configure": False, "tracing": False, "metrics": False, "logs": False},
        lifespan=_lifespan(
            upstream,
            exchange,
            mirroring,
            discoveries,
            store,
            issuer,
            metrics,
            readiness,
            reloader,
            log_lines,
            clock,
            traced,
        ),
    )
    app.include_router(operations_router(readiness, fleet, store, metrics, discoveries))
    app.include_router(models_router(fleet, int(clock.unix_s())))
    app.include_router(tgi_info_router(fleet, upstream, rng))
    admin_key = settings.admin_key
    app.include_router(fleet_router(fleet, exchange.queues, discoveries, clock, admin_key))
    app.include_router(route_router(fleet, policies, exchange.choosing, admin_key))
    app.include_router(mirror_router(mirroring.comparisons, admin_key))
    app.include_router(keys_router(fleet, issuer, clock, admin_key))
    app.include_router(audit_router(issuer, admin_key))
    app.include_router(limits_router(fleet, issuer, limiter, admin_key))
    app.include_router(usage_router(store, clock, admin_key))
    levels = KeyLevels(fleet, issuer, limiter)
    live = Live(fleet, metrics, readiness, books.failures, levels, clock)
    app.include_router(live_router(live, admin_key))
    app.include_router(dashboard_router())
    app.include_router(requests_router(recent, admin_key))
    add_inference_routes(app, inference, clock, body_read_s=document.server.body_read_s)
    document_inference(app)
    install_problems(app)
    app.add_middleware(RequestIds)
    allow_browsers(app, document.cors.allow_origins)
    if document.keys is None:
        log.warning(F.NO_KEYS)
    return Gateway(app, inference, mirroring, readiness, books, reloader, limiter, clock, document)


def from_environment() -> FastAPI:
    """The ASGI application for other servers: `uvicorn --factory gateway.app:from_environment`.

    Reads `GATEWAY_CONFIG`. Raises ConfigInvalid.
    """
    environ = environment()
    settings = load_settings(environ)
    if settings.config is None:
        raise ConfigInvalid(("GATEWAY_CONFIG: name the configuration file",))
    configure_logging(settings.log_level, settings.log_style(sys.stderr, environ))
    path = Path(settings.config)
    return build(load_document(path), settings, config_path=path, environ=environ).app


def _lifespan(
    upstream: Upstream,
    exchange: Exchange,
    mirroring: Mirroring,
    discoveries: Discoveries,
    store: LimitStore,
    issuer: Issuer | None,
    metrics: Metrics,
    readiness: Readiness,
    reloader: Reloader,
    log_lines: RequestLog,
    clock: Clock,
    traced: Traced,
) -> Lifespan:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        exchange.loop = log_lines.loop = asyncio.get_running_loop()
        traced.start()
        async with upstream, ProbeClients() as clients:
            prober = Prober(exchange.fleet, ENGINES, clients, clock)
            async with store, issuer or nullcontext(), anyio.create_task_group() as group:
                group.start_soon(discoveries.run, prober.probe_each)
                await discoveries.first_answers()
                await prober.start()
                readiness.is_started = True
                group.start_soon(store.run)
                if issuer is not None:
                    group.start_soon(issuer.run)
                group.start_soon(prober.run)
                sleeper = Sleeper(
                    exchange.fleet,
                    exchange.queues.waiting,
                    exchange.wanted,
                    prober,
                    clients,
                    clock,
                )
                group.start_soon(sleeper.run)
                trials = Trials(exchange.fleet, ENGINES, clients, clock)
                group.start_soon(keep_reviewing, exchange.fleet, trials, clock)
                group.start_soon(keep_forgetting, exchange.fleet, metrics, clock)
                group.start_soon(keep_looking, exchange.queues)
                group.start_soon(mirroring.run)
                group.start_soon(reloader.run)
                group.start_soon(_tell_levels, metrics)
                yield
                group.cancel_scope.cancel()
        log_lines.loop = None
        log_lines.flush()
        await traced.aclose()

    return lifespan


async def _tell_levels(metrics: Metrics) -> None:
    """Let sibling workers know our share of what goes up and down, the last time at the end."""
    try:
        while True:
            metrics.tell_levels()
            await anyio.sleep(LEVELS_EVERY_S)
    finally:
        metrics.tell_levels()


def _bounds(document: Document) -> StreamBounds:
    server = document.server
    return StreamBounds(
        heartbeat_s=server.heartbeat_s,
        write_stall_s=server.write_stall_s,
        max_event_bytes=server.max_event_bytes,
        max_answer_bytes=server.max_answer_bytes,
    )


def _retry_rules(document: Document) -> RetryRules:
    given = document.retries
    return RetryRules(
        max_attempts=given.max_attempts,
        backoff_s=given.backoff_s,
        max_backoff_s=given.max_backoff_s,
        budget_ratio=given.budget_ratio,
        budget_floor=given.budget_floor,
        after_timeout=given.after_timeout,
    )


def _health_rules(document: Document) -> HealthRules:
    given = document.health
    return HealthRules(
        consecutive_failures=given.consecutive_failures,
        consecutive_timeouts=given.consecutive_timeouts,
        ejection_s=given.ejection_s,
        max_ejection_s=given.max_ejection_s,
        panic_ratio=given.panic_ratio,
    )
