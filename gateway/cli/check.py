"""`gateway check`: is the configuration file right, and what does it mean?"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.loaded import config_path, load_catalog
from gateway.cli.tables import print_table
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
    print_table(
        ("ask for", "variant", "engine", "served as", "replicas", "policy"),
        (
            (r.name, r.variant, r.engine, r.served_model, "\n".join(r.replicas), r.policy)
            for r in rows
        ),
    )
    typer.echo(f"fine: {_count(len(catalog.models), 'model')}, {_count(len(rows), 'name')}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


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
