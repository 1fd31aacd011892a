"""`gateway bench routing`: what each routing policy makes of a fleet, without a GPU."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gateway import __version__
from gateway.cli.progress import Bar
from gateway.cli.tables import print_table
from gateway.cli.target import check_writable, run_until_interrupted, write
from gateway.experiment.figures import Figures
from gateway.experiment.over_http import HttpPlan, Router, RouterFailed, measured
from gateway.experiment.plan import CONTENDERS, Contenders, Plan, rehearsed
from gateway.experiment.report import HEADERS, html_of, markdown_of, plots_of, rows
from gateway.experiment.workload import WORKLOADS
from gateway.plugins import installed_policies
from gateway.remote.wrong_input import WrongInput

_DEFAULTS = Plan()
_T = TypeVar("_T")


def bench_routing(
    workload: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(WORKLOADS)}; repeatable [all].")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(CONTENDERS)}; repeatable [all].")
    ] = None,
    replicas: Annotated[
        list[int] | None,
        typer.Option(min=1, max=1024, help="Simulated engines; repeatable [4, 16, 64]."),
    ] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=64, help="Gateway processes that share the calls.")
    ] = 1,
    duration: Annotated[
        float, typer.Option(min=1, help="Seconds, of the simulated time, in which calls are sent.")
    ] = _DEFAULTS.duration_s,
    warmup: Annotated[
        float, typer.Option(min=0, help="Seconds of them that do not count.")
    ] = _DEFAULTS.warmup_s,
    seed: Annotated[int, typer.Option(help="Other seeds ask otherwise.")] = _DEFAULTS.seed,
    router: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=COMMAND",
            help="Measure this router over HTTP instead: a command with {urls} for the engines, "
            "{port} to listen on and, if it needs one more, {spare}; repeatable.",
        ),
    ] = None,
    slowdown: Annotated[
        float,
        typer.Option(min=0.1, max=100, help="Over HTTP: engines and arrivals so much slower."),
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of a table.")] = False,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", help="Write the table to this file.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots to this file.")
    ] = None,
    plots_folder: Annotated[
        Path | None, typer.Option("--plots", help="Write each plot to a file in this folder.")
    ] = None,
) -> None:
    """Compare routing policies, or whole routers, on simulated fleets and the same workloads.

    Policies run in virtual time: the same command gives the same figures everywhere.
    """
    contenders = {**CONTENDERS, **installed_policies()}
    try:
        plan = Plan(
            workloads=_chosen("--workload", workload, WORKLOADS),
            policies=_chosen("--policy", policy, {name: name for name in contenders}),
            fleets=tuple(replicas or _DEFAULTS.fleets),
            processes=processes,
            duration_s=duration,
            warmup_s=warmup,
            seed=seed,
        )
        _check(duration, warmup, plots_folder)
        routers = [_router(text) for text in router or ()]
        check_writable(markdown_file, "--markdown")
        check_writable(html_file, "--html")
        found = (
            _over_http(routers, plan, slowdown) if routers else _in_virtual_time(plan, contenders)
        )
    except WrongInput as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from wrong
    except RouterFailed as failed:
        typer.echo(str(failed), err=True)
        raise typer.Exit(1) from failed
    if as_json:
        typer.echo(json.dumps([one.as_dict() for one in found], indent=2))
    else:
        print_table(HEADERS, rows(found))
    write(markdown_file, markdown_of(found))
    if plots_folder is not None:
        for name, plot in plots_of(found):
            write(plots_folder / name, plot)
    write(html_file, html_of(found, _lead(plan, slowdown, over_http=bool(routers))))


def _chosen(option: str, names: Sequence[str] | None, known: Mapping[str, _T]) -> tuple[_T, ...]:
    """Those that were named, or all. Raises WrongInput."""
    for name in names or ():
        if name not in known:
            raise WrongInput(f'{option} "{name}" is unknown; known: {", ".join(known)}')
    return tuple(known[name] for name in names or known)


def _check(duration: float, warmup: float, plots_folder: Path | None) -> None:
    """Raises WrongInput."""
    if plots_folder is not None and not plots_folder.is_dir():
        raise WrongInput(f"--plots {plots_folder}: is no folder")
    if warmup >= duration:
        raise WrongInput("--warmup must be less than --duration")


def _router(text: str) -> Router:
    """Raises WrongInput."""
    try:
        return Router.parsed(text)
    except ValueError as wrong:
        raise WrongInput(f"--router {text}: {wrong}") from wrong


def _in_virtual_time(plan: Plan, contenders: Contenders) -> list[Figures]:
    found: list[Figures] = []
    with Bar() as bar:
        bar.begin("rehearsing", plan.runs)
        for figures in rehearsed(plan, contenders):
            found.append(figures)
            bar.advance(failed=False)
    return found


def _over_http(routers: Sequence[Router], plan: Plan, slowdown: float) -> list[Figures]:
    """Raises RouterFailed."""
    found: list[Figures] = []

    async def work() -> None:
        for fleet in plan.fleets:
            for workload in plan.workloads:
                http = HttpPlan(
                    workload, fleet, plan.duration_s, plan.warmup_s, slowdown, plan.seed
                )
                for router in routers:
                    found.append(await measured(router, http))
                    bar.advance(failed=False)

    with Bar() as bar:
        bar.begin("measuring", len(plan.fleets) * len(plan.workloads) * len(routers))
        run_until_interrupted(work)
    return found


def _lead(plan: Plan, slowdown: float, *, over_http: bool) -> str:
    how = (
        f"over HTTP, {slowdown:g} times slowed down"
        if over_http
        else f"in virtual time, {plan.processes} gateway process(es)"
    )
    return (
        f"Simulated engines {how}; {plan.duration_s:g} s of which the first {plan.warmup_s:g} "
        f"do not count; seed {plan.seed}; sluicegate {__version__}."
    )
