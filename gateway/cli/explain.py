"""`gateway explain`: what a model name resolves to, and why."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from gateway.auth.keys import Plan
from gateway.cli.explain_live import explain_live
from gateway.cli.loaded import config_path, load_catalog
from gateway.cli.tables import print_table
from gateway.config import access
from gateway.config.access import RATES, Rates
from gateway.config.choice import Sticky
from gateway.errors import ModelNotFound
from gateway.fleet.catalog import Catalog, Model, Split, Variant
from gateway.routing.asking import Asking
from gateway.routing.resolve import resolve


def explain(
    model: Annotated[str, typer.Argument(help="A name as a client would ask for it.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration file [env: GATEWAY_CONFIG]."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="A running gateway: where a call would go now, with the scores."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="With --url: what the call's one message says.")
    ] = None,
    session: Annotated[
        str | None, typer.Option(help="With --url: the call's x-session-id.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of a table.")] = False,
) -> None:
    """Show how a model name resolves: variants in order, replicas, policy, who may use it.

    With --url, which needs GATEWAY_ADMIN_KEY: what each replica would cost the next call.
    """
    if url is not None:
        explain_live(url, model, prompt, session, as_json=as_json)
        return
    document, catalog = load_catalog(config_path(config))
    try:
        story = explained(catalog, document.plans, model)
    except ModelNotFound as unknown:
        typer.echo(unknown.public, err=True)
        raise typer.Exit(1) from unknown
    if as_json:
        typer.echo(json.dumps(asdict(story), indent=2))
        return
    typer.echo(story.meaning)
    print_table(
        ("order", "variant", "engine", "served as", "replicas", "policy", "limits", "plans"),
        (
            (
                str(number),
                row.variant,
                row.engine,
                row.served_model,
                row.discovery
                or "\n".join(f"{r.name} {r.url} (weight {r.weight:g})" for r in row.replicas)
                or "by deploy",
                row.policy,
                "\n".join(row.limits),
                "\n".join(row.plans),
            )
            for number, row in enumerate(story.variants, 1)
        ),
    )


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One replica of a variant."""

    name: str
    url: str
    weight: float


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant that may answer.

    `discovery`: what is looked up to find its replicas; None: they are listed. `limits`: what all
    callers together may use; `plans`: who may use it, and what the plan limits.
    """

    variant: str
    engine: str
    served_model: str
    policy: str
    weight: float | None
    timeouts: dict[str, float]
    replicas: list[ReplicaRow]
    discovery: str | None
    limits: list[str]
    plans: list[str]


@dataclass(frozen=True, slots=True)
class Story:
    """How a name resolves."""

    asked: str
    model: str
    meaning: str
    variants: list[VariantRow]


def explained(catalog: Catalog, plans: Sequence[access.Plan], asked: str) -> Story:
    """Raises ModelNotFound. `plans` as they are written, with their limits."""
    asking = Asking(Plan("everything", ("*",)), random.Random(0))
    route = resolve(catalog, asked, asking).route
    target = catalog.names[asked]
    name = target.model.name
    if target.split is not None:
        meaning = f'"{asked}" is split: {_shares(target.split)}; one part as an example'
    elif target.variant is not None:
        meaning = f'"{asked}" is exactly {target.variant.name}: no other quantization answers'
    elif asked != name:
        meaning = f'"{asked}" is an alias of {name}'
    else:
        meaning = f'"{asked}" is a model; its variants are asked in this order'
    if target.variant is None and target.split is None:
        meaning += _choice(target.model)
    if target.split is None and any(variant.model != name for variant in route):
        meaning += "; those of other models are fallbacks"
    base = route[0].of
    if base is not None:
        meaning += f"; it is a LoRA adapter on the engines of {base.model}"
    mirror = route[0].mirror
    if mirror is not None:
        meaning += f'; {mirror.sample:.4g} of its calls are mirrored to "{mirror.to}"'
    meaning += _waiting(route)
    return Story(asked, name, meaning, [_row(catalog, plans, variant) for variant in route])


def _waiting(route: Sequence[Variant]) -> str:
    """For whose engines calls wait while they are away."""
    by_wait: dict[float, list[str]] = {}
    for variant in route:
        if variant.wake is not None:
            by_wait.setdefault(variant.wake.max_wait_s, []).append(variant.name)
    return "".join(
        f"; calls wait up to {wait_s:g} s for engines of {', '.join(names)} that are away"
        for wait_s, names in by_wait.items()
    )


def _shares(split: Split) -> str:
    whole = sum(part.weight for part in split.parts)
    parts = (f"{part.weight / whole:.3g} to {part.name}" for part in split.parts)
    return f"{', '.join(parts)}{_sticky(split.sticky)}"


def _sticky(by: Sticky) -> str:
    return ", drawn for each call" if by == "none" else f", the same each time for a {by}"


def _choice(model: Model) -> str:
    """How load or chance changes the order."""
    choose = model.choose
    if choose.by == "spill" and len(model.variants) > 1:
        limits = [f"{choose.ttft_s:g} s to the first token"] if choose.ttft_s else []
        if choose.waiting is not None or not limits:
            limits.append(f"{choose.waiting or 0} calls in line")
        return f"; beyond {' or '.join(limits)} a call goes to the next"
    if choose.by in (None, "weighted") and any(variant.weight for variant in model.variants):
        sticky = "" if choose.sticky == "none" else _sticky(choose.sticky)
        return f"; which one is first is drawn by weight{sticky}"
    return ""


def _row(catalog: Catalog, plans: Sequence[access.Plan], variant: Variant) -> VariantRow:
    return VariantRow(
        variant=variant.name,
        engine=variant.engine,
        served_model=variant.served_model,
        policy=variant.policy,
        weight=variant.weight,
        timeouts=variant.timeouts.model_dump(),
        replicas=[ReplicaRow(r.name, r.url, r.weight) for r in variant.replicas],
        discovery=None if variant.discovery is None else variant.discovery.told,
        limits=[
            f"{name}: {_limits(rates)}"
            for name, rates in (("model", variant.model_limits), ("variant", variant.limits))
            if rates.are_any
        ],
        plans=[
            f"{plan.name} ({_limits(plan)})"
            for plan in plans
            if catalog.plans[plan.name].allows(variant.name)
        ],
    )


def _limits(rates: Rates) -> str:
    told = []
    for rule in RATES:
        limit, burst = getattr(rates, rule), getattr(rates.burst, rule, None)
        if limit is not None:
            what = rule.replace("_per_", "/").replace("concurrent_requests", "at once")
            told.append(f"{limit} {what}" + ("" if burst is None else f" ({burst} at once)"))
    return ", ".join(told) or "no limits"
