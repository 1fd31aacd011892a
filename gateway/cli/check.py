"""`gateway check`: is the configuration file right, and what does it mean?"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.deployments import Planned, planned
from gateway.cli.loaded import config_path, load_catalog
from gateway.cli.tables import print_table
from gateway.config.settings import environment
from gateway.errors import ConfigInvalid
from gateway.fleet.catalog import Catalog
from gateway.sizing.report import plan_data


def check(
    config: Annotated[
        Path | None, typer.Argument(help="The configuration file [env: GATEWAY_CONFIG].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of a table.")] = False,
    without_secrets: Annotated[
        bool,
        typer.Option("--without-secrets", help="Look for no secrets or certificates."),
    ] = False,
) -> None:
    """Check a configuration file and print the routes it makes, and whether engines fit."""
    path = config_path(config)
    document, catalog = load_catalog(path, reads_secrets=not without_secrets)
    rows = routes(catalog)
    deployed = list(planned(document, path.parent, environment()))
    problems = tuple(f"{one.path}: {one.problem}" for one in deployed if one.problem)
    if problems:
        raise ConfigInvalid(problems)
    for one in deployed:
        if one.unseen is not None:
            typer.echo(f"{one.path}: not planned: {one.unseen}", err=True)
    if as_json:
        data: dict[str, object] = {"routes": [_route(row) for row in rows]}
        if deployed:
            data["deployments"] = [_data(one) for one in deployed]
        typer.echo(json.dumps(data, indent=2))
        return
    print_table(
        ("ask for", "variant", "engine", "served as", "replicas", "policy"),
        (
            (
                r.name,
                r.variant,
                r.engine,
                r.served_model,
                r.discovery or "\n".join(r.replicas) or "by deploy",
                r.policy,
            )
            for r in rows
        ),
    )
    if deployed:
        print_table(DEPLOYED, map(_deployed, deployed))
    typer.echo(f"fine: {_count(len(catalog.models), 'model')}, {_count(len(rows), 'name')}")


DEPLOYED = (
    "variant", "each replica on", "weights GiB", "KV cache GiB", "KV cache tokens",
    "longest", "sequences at once",
)  # fmt: skip


def _deployed(one: Planned) -> tuple[str, ...]:
    plan = one.plan
    if plan is None:
        return (one.variant, "not planned", "", "", "", "", "")
    return (
        one.variant,
        f"{plan.gpus} × {plan.gpu}",
        f"{plan.weights_gib:.2f}",
        f"{plan.kv_cache_gib:.2f}",
        f"{plan.kv_cache_tokens:,}",
        f"{plan.max_model_len:,}",
        f"{plan.max_concurrency:.1f}",
    )


def _data(one: Planned) -> dict[str, object]:
    plan = plan_data(one.plan) if one.plan is not None else None
    return {"path": one.path, "variant": one.variant, "plan": plan}


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A name that a client can ask for, and the variant it means first.

    `discovery`: what is looked up to find its replicas; None: they are listed.
    """

    name: str
    variant: str
    engine: str
    served_model: str
    replicas: list[str]
    policy: str
    discovery: str | None


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
            discovery=None if first.discovery is None else first.discovery.told,
        )
        for name, target in catalog.names.items()
        for first in [target.first]
    ]


def _route(row: RouteRow) -> dict[str, object]:
    data = asdict(row)
    if row.discovery is None:
        del data["discovery"]
    return data
