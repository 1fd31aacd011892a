"""`gateway top`: the fleet and its traffic in a terminal, once a second.

The same view as the page at `/dashboard`. The admin key comes from the environment alone.
"""

import sys
import time
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from gateway.cli.admin_api import AdminApi, Broken, path_to
from gateway.cli.top_screen import screen
from gateway.live.view import View

_PAUSE_S: Final = 1.0
_PIPED_COLUMNS: Final = 160


def top(
    url: Annotated[
        str | None,
        typer.Option(help="The gateway [env: GATEWAY_URL; http://localhost:8080]."),
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print one view, measured over a second, and end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each view as a line of JSON.")
    ] = False,
) -> None:
    """Watch the fleet and its traffic: health, load, rates, latencies, failures, limits."""
    api = AdminApi(url)
    is_watched = sys.stdout.isatty() and not as_json and not once
    try:
        if is_watched:
            _watch(api)
        elif once or not as_json:
            _print(next(_measured(api)), as_json=as_json)
        else:
            for told in api.events(path_to("live")):
                typer.echo(told)
    except Broken as broken:
        typer.echo(str(broken), err=True)
        raise typer.Exit(1) from broken
    except StopIteration:
        typer.echo(f"the gateway at {api.url} shuts down", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        return


def _measured(api: AdminApi) -> Iterator[str]:
    """Views with rates in them, as they were told."""
    for told in api.events(path_to("live")):
        if msgspec.json.decode(told, type=View).window_s is not None:
            yield told


def _print(told: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(told)
        return
    width = None if sys.stdout.isatty() else _PIPED_COLUMNS
    console = Console(markup=False, emoji=False, highlight=False, width=width)
    console.print(screen(msgspec.json.decode(told, type=View), height=None))


def _watch(api: AdminApi) -> None:
    """Until Ctrl-C; comes back by itself when the gateway has been away. First it must be there."""
    console = Console(markup=False, emoji=False, highlight=False)
    is_first, view = True, None
    with Live(console=console, screen=True, auto_refresh=False) as shown:
        while True:
            try:
                for told in api.events(path_to("live")):
                    view, is_first = msgspec.json.decode(told, type=View), False
                    shown.update(screen(view, height=console.height), refresh=True)
                why = "it ended the stream"
            except Broken as broken:
                if is_first:
                    raise
                why = str(broken)
            if view is not None:
                away = screen(view, height=console.height, away=why)
                shown.update(away, refresh=True)
            time.sleep(_PAUSE_S)
