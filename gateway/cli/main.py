"""The command line: one file for each command.

Errors go to stderr; the exit code is 0 when fine, 1 when failed, 2 for wrong input. A stack is
for developers: it is shown only with GATEWAY_LOG_LEVEL=debug.
"""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from gateway import __version__
from gateway.cli.bench import bench
from gateway.cli.bench_routing import bench_routing
from gateway.cli.check import check
from gateway.cli.compare import compare
from gateway.cli.demo import demo
from gateway.cli.explain import explain
from gateway.cli.keys import keys
from gateway.cli.plan import plan
from gateway.cli.schema import schema
from gateway.cli.serve import serve
from gateway.cli.simulate import simulate
from gateway.cli.tail import tail
from gateway.cli.top import top
from gateway.cli.up import up
from gateway.config.settings import environment
from gateway.errors import ConfigInvalid


class _TwoWords(TyperGroup):
    """Commands of two words, such as `bench routing`, beside one that is their first word."""

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        both = " ".join(args[:2])
        if both in self.commands and both != args[0]:
            return both, self.commands[both], args[2:]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="gateway",
    cls=_TwoWords,
    help="Sluicegate: an OpenAI-compatible gateway in front of vLLM, TGI and llama.cpp.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_COMMANDS = (
    serve, demo, up, check, explain, schema, plan, compare, bench, simulate, top, tail,
)  # fmt: skip
for command in _COMMANDS:
    app.command()(command)
app.command("bench routing")(bench_routing)
app.add_typer(keys, name="keys")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"sluicegate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    try:
        app(prog_name="gateway")
    except ConfigInvalid as invalid:
        sys.exit(tell_problems(invalid))
    except Exception as bug:
        if environment().get("GATEWAY_LOG_LEVEL") == "debug":
            raise
        typer.echo(f"gateway failed: {type(bug).__name__}: {bug}", err=True)
        sys.exit(1)


def tell_problems(invalid: ConfigInvalid) -> int:
    """Every problem on a line of its own; the exit code for wrong input."""
    count = len(invalid.problems)
    typer.echo(f"{count} problem{'s' if count > 1 else ''} in the configuration:", err=True)
    for problem in invalid.problems:
        typer.echo(f"  {problem}", err=True)
    return 2
