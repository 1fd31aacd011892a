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
from gateway.api.inference import ENDPOINTS, Endpoint, Inference
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

UpstreamFactory = Callable[[ssl.SSLContext | None], Upstream]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A wired gateway. `app` is the ASGI application; the rest is for the server around it."""

    app: FastAPI
    inference: Inference
    exchange: Exchange
    books: Bookkeeper
    readiness: Readiness
    clock: Clock
    document: Document

    def begin_drain(self) -> None:
        """Take no new calls from now on; those that run go on."""
        self.readiness.is_draining = True
        self.exchange.is_draining = True
