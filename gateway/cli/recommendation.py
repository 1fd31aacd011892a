"""The output of `gateway plan --goal`: the best deployments, why, and how to run the first."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import typer

from gateway.cli.tables import print_table
from gateway.errors import PlanInvalid
from gateway.sizing.ready import helm_values, models_entry
from gateway.sizing.recommend import Choice, Goal
from gateway.sizing.report import plan_data, start_command
from gateway.sizing.speed import ASSUMED, Efficiency

SHOWN = 8
_HEADERS = (
    "", "quantization", "replicas", "each on", "weights\nGiB", "KV cache\ntokens",
    "sequences\nrunning", "first token\ns", "between\nms", "whole\ns", "requests/s",
    "output\ntokens/s", "cost\nan hour",
)  # fmt: skip


def read_prices(given: Sequence[str]) -> dict[str, float]:
    """Of GPU=AMOUNT, by the name that was given. Raises PlanInvalid."""
    prices = {}
    for one in given:
        name, _, amount = one.partition("=")
        try:
            prices[name] = float(amount)
        except ValueError as exc:
            raise PlanInvalid(f'--price "{one}" must be GPU=AMOUNT, such as H100=2.5') from exc
    return prices


def print_choices(
    model: str, choices: Sequence[Choice], goal: Goal, efficiency: Efficiency, *, as_json: bool
) -> None:
    """The first few, best first, at the speeds that this efficiency comes to."""
    shown = choices[:SHOWN]
    if as_json:
        data = [{**asdict(one), "plan": plan_data(one.plan)} for one in shown]
        plans = [one["plan"] for one in data]
        reached = asdict(efficiency) | {"is_measured": efficiency is not ASSUMED}
        told = {
            "goal": goal,
            "efficiency": reached,
            "plans": plans,
            "choices": data,
            "config": models_entry(model, shown[0]),
            "helm_values": helm_values(model, shown[0]),
        }
        typer.echo(json.dumps(told, indent=2))
        return
    print_table(_HEADERS, (_row(number, one) for number, one in enumerate(shown, 1)))
    best = shown[0]
    typer.echo(f"best for {goal}:")
    for reason in best.reasons:
        typer.echo(f"  {reason}")
    if efficiency is ASSUMED:
        typer.echo(
            "  speeds are a roofline's, not measured: trust their order more than the numbers"
        )
    else:
        typer.echo(
            f"  speeds are a roofline's, calibrated: {efficiency.bandwidth:.0%} of the bandwidth, "
            f"{efficiency.arithmetic:.0%} of the arithmetic, {1000 * efficiency.step_s:.2f} ms "
            "of its own for each step"
        )
    typer.echo(f"start each replica with:\n  {start_command(model, best.plan)}")
    typer.echo(f"and serve it with:\n{models_entry(model, best)}")
    typer.echo(f"or deploy both with the Helm chart:\n{helm_values(model, best)}")


def _row(number: int, one: Choice) -> tuple[str, ...]:
    return (
        str(number),
        one.plan.quantization,
        str(one.replicas),
        f"{one.plan.gpus} × {one.plan.gpu}",
        f"{one.plan.weights_gib:.1f}",
        f"{one.plan.kv_cache_tokens:,}",
        str(one.sequences),
        f"{one.ttft_s:.2f}",
        f"{one.inter_token_s * 1000:.1f}",
        f"{one.request_s:.1f}",
        f"{one.requests_per_second:.1f}",
        f"{one.output_tokens_per_second:,.0f}",
        "unknown" if one.hourly_cost is None else f"{one.hourly_cost:.2f}",
    )
