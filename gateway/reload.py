"""Follow the configuration file: a valid change serves at once, an invalid one changes nothing.

A change is noticed in the folder, or asked for by SIGHUP (`ask`). What is wrong with a refused
file is logged, counted and shown at `/ready`.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio

from gateway.api.readiness import Readiness
from gateway.config.document import Document
from gateway.config.watch import file_changes, fingerprint
from gateway.errors import ConfigInvalid
from gateway.fleet.catalog import Catalog
from gateway.fleet.compiling import compile_catalog
from gateway.routing import POLICIES
from gateway.telemetry import fields as F  # noqa: N812  # reads as a namespace of names
from gateway.telemetry.metrics import Metrics

log = logging.getLogger(__name__)


class Reloader:
    """Swaps the catalog when the file has changed. Without a path there is nothing to follow."""

    def __init__(
        self,
        path: Path | None,
        read: Callable[[Path], Document],
        environ: Mapping[str, str],
        serve: Callable[[Document, Catalog], None],
        readiness: Readiness,
        metrics: Metrics,
    ) -> None:
        self._path = path
        self._read = read
        self._known = None if path is None else fingerprint(path)
        self._environ = environ
        self._serve = serve
        self._readiness = readiness
        self._metrics = metrics

    async def run(self) -> None:
        """Follow the file until cancelled."""
        if self._path is None:
            return
        stop = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(_set_when_cancelled, stop)
            async for _ in file_changes(self._path, self._known, stop):
                self.reload()

    def reload(self) -> None:
        """Read the file and serve it, or say why not."""
        if self._path is None:
            return
        try:
            document = self._read(self._path)
            catalog = compile_catalog(document, self._environ, policies=POLICIES)
        except ConfigInvalid as refused:
            self._readiness.config_problems = refused.problems
            self._metrics.reloads.cell("refused").add()
            log.error(  # noqa: TRY400  # the problems say it all, a stack says nothing
                F.CONFIG_REFUSED, extra={F.PROBLEMS: list(refused.problems)}
            )
            return
        self._serve(document, catalog)
        self._readiness.config_problems = ()
        self._metrics.reloads.cell("served").add()
        log.info(F.CONFIG_RELOADED, extra={F.MODELS: len(catalog.models)})


async def _set_when_cancelled(event: anyio.Event) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        event.set()
