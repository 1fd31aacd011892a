"""`gateway explain --url`: why a running gateway would send a call where it would."""

import json
from typing import Any

import typer

from gateway.cli.admin_api import AdminApi, path_to
from gateway.cli.tables import print_table

_STRAIN = ("variant", "usable", "in line", "first token, s", "of its threshold")
_HEADERS = ("variant", "policy", "replica", "usable", "cost", "made of")


def explain_live(
    url: str, model: str, prompt: str | None, session: str | None, *, as_json: bool
) -> None:
    """Ask the gateway and show what it says. Exits with 1, or with 2 for a wrong question."""
    query = {"model": model} | ({} if session is None else {"session": session})
    body = None if prompt is None else {"messages": [{"role": "user", "content": prompt}]}
    method = "GET" if body is None else "POST"
    told = AdminApi(url).ask(method, path_to("route"), body=body, query=query).json()
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    if told.get("reason") not in (None, "first"):
        typer.echo(f"the first is chosen because: {told['reason']}")
    if told.get("variants"):
        print_table(_STRAIN, map(_strain, told["variants"]))
    print_table(_HEADERS, map(_row, told["choices"]))


def _strain(variant: dict[str, Any]) -> tuple[str, ...]:
    if not variant["usable"]:
        return (variant["variant"], "no", "", "", "")
    ttft_s = variant["ttft_s"]
    return (
        variant["variant"],
        "yes",
        str(variant["in_line"]),
        "" if ttft_s is None else f"{ttft_s:g}",
        f"{variant['excess']:g}",
    )


def _row(choice: dict[str, Any]) -> tuple[str, ...]:
    parts = [f"{name} {value:g}" for name, value in choice["parts"].items() if value]
    return (
        choice["variant"],
        choice["policy"],
        f"{choice['replica']} {choice['url']}",
        "yes" if choice["usable"] else "no",
        f"{choice['cost']:g}",
        ", ".join(parts),
    )
