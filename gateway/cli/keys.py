"""`gateway keys`: make, rotate, disable and delete keys of a running gateway, and see their use.

It talks to the admin API. The admin key comes from the environment alone: options can be read by
everybody on the machine.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway.cli.admin_api import AdminApi, path_to
from gateway.cli.tables import print_table

keys = typer.Typer(
    help="Make, rotate, disable and delete API keys of a running gateway, and see their use.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Url = Annotated[
    str | None,
    typer.Option(help="The gateway [env: GATEWAY_URL; http://localhost:8080]."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print data instead of a table.")]
Name = Annotated[str, typer.Argument(help="The name of a key.")]
_AMOUNTS = ("input_tokens", "output_tokens", "cached_tokens", "requests", "errors")


@keys.command("list")
def list_keys(url: Url = None, as_json: AsJson = False) -> None:
    """List every key: those of the configuration file, and those made at run time."""
    shown = AdminApi(url).ask("GET", path_to("keys")).json()
    if as_json:
        _print_json(shown)
    else:
        _print_keys(shown["keys"])


@keys.command()
def show(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show one key."""
    _print_key(AdminApi(url).ask("GET", path_to("keys", name)).json(), as_json=as_json)


@keys.command()
def create(
    name: Name,
    plan: Annotated[str, typer.Option(help="A plan of the configuration file.")] = "default",
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE=NUMBER",
            help="A number in place of the plan's, such as tokens_per_minute=1000; "
            "`none` lifts it; repeat it for more.",
        ),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its secret is printed this once."""
    body = {"name": name, "plan": plan, "limits": _limits(limit or [])}
    _print_secret(AdminApi(url).ask("POST", path_to("keys"), body=body).json(), as_json=as_json)


@keys.command()
def rotate(
    name: Name,
    grace_s: Annotated[
        float, typer.Option(min=0, help="Seconds for which the old secret is good yet.")
    ] = 86400,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret, which is printed this once."""
    answer = AdminApi(url).ask("POST", path_to("keys", name, "rotate"), body={"grace_s": grace_s})
    _print_secret(answer.json(), as_json=as_json)


@keys.command()
def disable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Refuse calls with a key, until it is enabled again."""
    _print_key(AdminApi(url).ask("POST", path_to("keys", name, "disable")).json(), as_json=as_json)


@keys.command()
def enable(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Take calls with a disabled key again."""
    _print_key(AdminApi(url).ask("POST", path_to("keys", name, "enable")).json(), as_json=as_json)


@keys.command()
def delete(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Delete a key for good; prints what it was."""
    _print_key(AdminApi(url).ask("DELETE", path_to("keys", name)).json(), as_json=as_json)


@keys.command()
def limits(name: Name, url: Url = None, as_json: AsJson = False) -> None:
    """Show what a key has left of its limits, and who holds its slots."""
    shown = AdminApi(url).ask("GET", path_to("limits", name)).json()
    if as_json:
        _print_json(shown)
        return
    print_table(
        ("rule", "limit", "burst", "left", "full in"),
        (
            (
                level["rule"],
                str(level["limit"]),
                str(level["burst"]),
                str(level["left"]),
                "" if level["reset_s"] is None else f"{level['reset_s']:g} s",
            )
            for level in shown["limits"]
        ),
    )
    if shown["holds"]:
        print_table(
            ("process", "hold", "lease"),
            ((one["process"], one["hold"], _left(one["lease_s"])) for one in shown["holds"]),
        )
    if shown["store_state"] != "ok":
        typer.echo(f"Redis is away ({shown['store_state']}): this is one process's view", err=True)


@keys.command()
def usage(
    name: Annotated[str | None, typer.Argument(help="The name of a key; default: all.")] = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="Such as 2026-11-01; in UTC.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DAY", help="Included; default: today.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show tokens and requests by day, key and model; by default of the last 30 days."""
    if as_csv and as_json:
        raise typer.BadParameter("give one of --csv, --json")
    asked = {"from": first, "to": last, "key": name, "format": "csv" if as_csv else None}
    query = {name: given for name, given in asked.items() if given is not None}
    answer = AdminApi(url).ask("GET", path_to("usage"), query=query)
    if as_csv:
        typer.echo(answer.text.replace("\r\n", "\n"), nl=False)
        return
    shown = answer.json()
    if as_json:
        _print_json(shown)
        return
    rows = [
        (one["day"], one["key"], one["model"], *(str(one[name]) for name in _AMOUNTS))
        for one in shown["usage"]
    ]
    rows.append(("total", "", "", *(str(shown["total"][name]) for name in _AMOUNTS)))
    print_table(("day", "key", "model", *(amount.replace("_", " ") for amount in _AMOUNTS)), rows)


@keys.command()
def audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many changes.")] = 100,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the last changes of keys, the newest first."""
    shown = AdminApi(url).ask("GET", path_to("audit"), query={"limit": str(limit)}).json()
    if as_json:
        _print_json(shown)
        return
    print_table(
        ("when (UTC)", "action", "key", "detail", "request id"),
        (
            (
                _moment(one["time_unix_s"]),
                one["action"],
                one["key"],
                _numbers(one["detail"]),
                one["request_id"],
            )
            for one in shown["entries"]
        ),
    )


def _limits(given: Iterable[str]) -> dict[str, Any]:
    """`RULE=NUMBER` as the configuration file has it; the gateway says what is wrong with it."""
    found: dict[str, Any] = {}
    for one in given:
        rule, equals, number = one.partition("=")
        is_number = number.isdecimal() and number.isascii()
        if not equals or not (is_number or number == "none"):
            raise typer.BadParameter(
                f"{one}: write RULE=NUMBER or RULE=none", param_hint="'--limit'"
            )
        of, _, burst = rule.partition(".")
        target = found.setdefault("burst", {}) if of == "burst" else found
        target[burst or of] = None if number == "none" else int(number)
    return found


def _print_json(shown: object) -> None:
    typer.echo(json.dumps(shown, indent=2))


def _print_key(key: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        _print_json(key)
    else:
        _print_keys([key])


def _print_secret(key: Mapping[str, Any], *, as_json: bool) -> None:
    _print_key(key, as_json=as_json)
    if not as_json:
        typer.echo(f"secret: {key['secret']}")
        typer.echo("it is shown this once: the gateway keeps only its SHA-256", err=True)


def _print_keys(shown: Iterable[Mapping[str, Any]]) -> None:
    print_table(
        ("name", "plan", "kept in", "state", "limits", "changed (UTC)"),
        (
            (
                one["name"],
                one["plan"],
                one["source"],
                _state(one),
                _numbers(one["limits"]).replace(", ", "\n"),
                _moment(one["changed_unix_s"]),
            )
            for one in shown
        ),
    )


def _state(key: Mapping[str, Any]) -> str:
    state = str(key["state"]).replace("_", " ")
    ends = key["old_secret_ends_unix_s"]
    return state if ends is None else f"{state}\nold secret until {_moment(ends)}"


def _numbers(given: Mapping[str, Any]) -> str:
    """`rule 5, burst.rule 2`."""
    return ", ".join(
        _numbers({f"{name}.{inner}": number for inner, number in value.items()})
        if isinstance(value, dict)
        else f"{name} {_shown(value)}"
        for name, value in given.items()
        if value != {}
    )


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _left(lease_s: float | None) -> str:
    return "" if lease_s is None else f"{lease_s:.1f} s"


def _moment(unix_s: float | None) -> str:
    if unix_s is None:
        return ""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
