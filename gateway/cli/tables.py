"""Tables for people. What is in them is shown as it is and whole: no markup, nothing cut off."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

_PIPED_COLUMNS = 160


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """To stdout, as wide as the terminal; long cells go on in the next line."""
    width = None if sys.stdout.isatty() else _PIPED_COLUMNS
    console = Console(markup=False, emoji=False, highlight=False, width=width)
    table = Table()
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
