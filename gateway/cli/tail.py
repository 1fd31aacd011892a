"""`gateway tail`: the request log, readable and filtered, from a file or from stdin."""

import os
import re
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from gateway.cli.follow import followed, lines_of
from gateway.cli.request_lines import Wanted, read
from gateway.telemetry.readable import plain, told, told_event
from gateway.telemetry.request_line import RequestLine

_OUTCOMES: Final = ("ok", "client_error", "engine_error", "gateway_error", "client_gone")
_STATUS: Final = re.compile(r"[1-5](\d\d|xx)")


def tail(
    file: Annotated[Path | None, typer.Argument(help="The log; default, or -: stdin.")] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="The last so many of the file.")
    ] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what the file gets, as tail -F does.")
    ] = False,
    model: Annotated[
        list[str] | None, typer.Option(help="Models or variants, such as 'llama*:fp8'.")
    ] = None,
    replica: Annotated[list[str] | None, typer.Option(help="Replicas by name.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Keys by name.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Such as 429, or 5xx.")] = None,
    outcome: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(_OUTCOMES)}.")] = (
        None
    ),
    request_id: Annotated[list[str] | None, typer.Option(help="The x-request-id.")] = None,
    min_duration_ms: Annotated[
        float | None, typer.Option(min=0, help="Calls that took at least so long.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Whatever did not end well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as they are.")] = False,
) -> None:
    """Read the request log: a readable line for each call, filtered by what you ask for."""
    wanted = Wanted(
        models=tuple(model or ()),
        replicas=tuple(replica or ()),
        callers=tuple(key or ()),
        statuses=tuple(map(_status, status or ())),
        outcomes=tuple(map(_outcome, outcome or ())),
        request_ids=tuple(request_id or ()),
        min_duration_ms=min_duration_ms,
        failed=failed,
    )
    show = _Shown(wanted, as_json=as_json)
    try:
        if file is None or str(file) == "-":
            show.each(lines_of(sys.stdin.buffer))
        elif follow:
            show.last_then_each(followed(file, time.sleep), lines)
        else:
            with file.open("rb") as stream:
                show.last_then_each(lines_of(stream), lines)
    except BrokenPipeError:  # whoever read this has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as failed_to_read:
        typer.echo(f"cannot read {file}: {failed_to_read.strerror}", err=True)
        raise typer.Exit(1) from failed_to_read
    except KeyboardInterrupt:
        return


class _Shown:
    """Prints the lines that are wanted."""

    def __init__(self, wanted: Wanted, *, as_json: bool) -> None:
        self._wanted = wanted
        self._as_json = as_json
        self._console = Console(
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=True,
            width=None if sys.stdout.isatty() else 10_000,
        )

    def each(self, found: Iterable[bytes]) -> None:
        for line in self._matching(found):
            self._print(*line)

    def last_then_each(self, found: Iterable[bytes | None], count: int) -> None:
        """The last ones up to the first None, then each as it comes."""
        kept: deque[tuple[bytes, Text]] = deque(maxlen=count)
        lines = iter(found)
        for line in lines:
            if line is None:
                break
            kept.extend(self._matching([line]))
        for one in kept:
            self._print(*one)
        self.each(line for line in lines if line is not None)

    def _matching(self, found: Iterable[bytes]) -> Iterator[tuple[bytes, Text]]:
        """Other events, and what is no log at all, only where nothing is filtered."""
        for line in found:
            what = read(line)
            if isinstance(what, RequestLine):
                if self._wanted.has(what):
                    yield line, Text.assemble(*told(what))
            elif self._wanted.is_all and line.strip():
                text = line.decode(errors="replace").strip()
                yield line, Text(plain(text)) if what is None else Text.assemble(*told_event(what))

    def _print(self, line: bytes, text: Text) -> None:
        if self._as_json:
            sys.stdout.write(line.decode(errors="replace").rstrip("\n") + "\n")
            sys.stdout.flush()
        else:
            self._console.print(text)


def _status(given: str) -> str:
    if not _STATUS.fullmatch(given):
        raise typer.BadParameter(f"{given}: write a status such as 429, or 5xx")
    return given


def _outcome(given: str) -> str:
    if given not in _OUTCOMES:
        raise typer.BadParameter(f"{given}: one of {', '.join(_OUTCOMES)}")
    return given
