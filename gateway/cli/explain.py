"""`gateway explain`: what a model name resolves to, and why."""

import json
import random
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from gateway.auth.keys import Plan
from gateway.cli.loaded import config_path, load_catalog
from gateway.errors import ModelNotFound
from gateway.fleet.catalog import Catalog
from gateway.routing.resolve import resolve


def explain(
    model: Annotated[str, typer.Argument(help="A name as a client would ask for it.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration file [env: GATEWAY_CONFIG]."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of a table.")] = False,
) -> None:
    """Show how a model name resolves: variants in order, replicas, policy, who may use it."""
    catalog = load_catalog(config_path(config))
    try:
        story = explained(catalog, model)
    except ModelNotFound as unknown:
        typer.echo(unknown.public, err=True)
        raise typer.Exit(1) from unknown
    if as_json:
        typer.echo(json.dumps(story, indent=2))
        return
    typer.echo(story["meaning"])
    table = Table("order", "variant", "engine", "served as", "replicas", "policy", "plans")
    for number, row in enumerate(story["variants"], 1):
        table.add_row(
            str(number),
            row["variant"],
            row["engine"],
            row["served_model"],
            "\n".join(f"{r['name']} {r['url']} (weight {r['weight']:g})" for r in row["replicas"]),
            row["policy"],
            ", ".join(row["plans"]),
        )
    Console().print(table)


def explained(catalog: Catalog, asked: str) -> dict[str, object]:
    """Raises ModelNotFound."""
    route = resolve(catalog, asked, Plan("everything", ("*",)), random.Random(0))
    target = catalog.names[asked]
    name = target.model.name
    if target.variant is not None:
        meaning = f'"{asked}" is exactly {target.variant.name}: no other quantization answers'
    elif asked != name:
        meaning = f'"{asked}" is an alias of {name}'
    else:
        meaning = f'"{asked}" is a model; its variants are asked in this order'
    if any(variant.model != name for variant in route):
        meaning += "; those of other models are fallbacks"
    return {
        "asked": asked,
        "model": name,
        "meaning": meaning,
        "variants": [
            {
                "variant": variant.name,
                "engine": variant.engine,
                "served_model": variant.served_model,
                "policy": variant.policy,
                "weight": variant.weight,
                "timeouts": variant.timeouts.model_dump(),
                "replicas": [
                    {"name": r.name, "url": r.url, "weight": r.weight} for r in variant.replicas
                ],
                "plans": [p.name for p in catalog.plans.values() if p.allows(variant.name)],
            }
            for variant in route
        ],
    }
