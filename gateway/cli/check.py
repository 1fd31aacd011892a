"""`gateway check`: is the configuration file right, and what does it mean?"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.cli.loaded import config_path, load_catalog
from gateway.fleet.catalog import Catalog


def check(
    config: Annotated[
        Path | None, typer.Argument(help="The configuration file [env: GATEWAY_CONFIG].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of a table.")] = False,
) -> None:
    """Check a configuration file and print the routes it makes."""
    _, catalog = load_catalog(config_path(config))
    rows = routes(catalog)
    if as_json:
        typer.echo(json.dumps({"routes": [asdict(row) for row in rows]}, indent=2))
        return
    table = Table("ask for", "variant", "engine", "served as", "replicas", "policy")
    for row in rows:
        table.add_row(
            row.name,
            row.variant,
            row.engine,
            row.served_model,
            "\n".join(row.replicas),
            row.policy,
        )
    Console().print(table)
    typer.echo(f"fine: {len(catalog.models)} models, {len(rows)} names")


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A name that a client can ask for, and the variant it means first."""

    name: str
    variant: str
    engine: str
    served_model: str
    replicas: list[str]
    policy: str


def routes(catalog: Catalog) -> list[RouteRow]:
    """One row for each name."""
    return [
        RouteRow(
            name=name,
            variant=first.name,
            engine=first.engine,
            served_model=first.served_model,
            replicas=[replica.url for replica in first.replicas],
            policy=first.policy,
        )
        for name, target in catalog.names.items()
        for first in [target.variant or target.model.variants[0]]
    ]
