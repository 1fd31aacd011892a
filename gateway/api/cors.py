"""Calls from browsers on other sites: off unless the operator names who may."""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from gateway.fleet.shown import NAMES

_SHOWN = [
    *NAMES,
    "x-request-id",
    "retry-after",
    "retry-after-ms",
    *(
        f"x-ratelimit-{what}-{of}"
        for what in ("limit", "remaining", "reset")
        for of in ("requests", "tokens")
    ),
]


def allow_browsers(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins call. The SDKs' own `x-stainless-*` headers are allowed."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=_SHOWN,
        )
