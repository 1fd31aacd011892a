"""`gateway bench`: a load test of any OpenAI endpoint."""

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gateway import __version__
from gateway.cli.bench_setting import Given, setting_of
from gateway.cli.progress import Bar
from gateway.cli.tables import print_table
from gateway.cli.target import check_writable, endpoint_at, run_until_interrupted, write
from gateway.loadtest.arrivals import Arrival
from gateway.loadtest.bench import Bench
from gateway.loadtest.csv_file import csv_of
from gateway.loadtest.html_page import html_of
from gateway.loadtest.outcome import Outcome
from gateway.loadtest.report import Report
from gateway.loadtest.requests import Operation
from gateway.loadtest.slo import Slo
from gateway.loadtest.table import (
    LATENCY_HEADERS,
    SWEEP_HEADERS,
    fact_rows,
    failure_rows,
    knee_words,
    latency_rows,
    sweep_rows,
)
from gateway.remote.address import shown
from gateway.remote.endpoint import Endpoint
from gateway.remote.models import NotReady, only_model
from gateway.remote.wrong_input import WrongInput


def bench(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Base URL, such as http://localhost:8080.")
    ],
    model: Annotated[
        str | None, typer.Option(help="Model to ask; absent: the only one there is.")
    ] = None,
    operation: Annotated[Operation, typer.Option(help="Which API is asked.")] = "chat",
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Open loop: requests a second [4]; of a sweep its first."),
    ] = None,
    arrival: Annotated[
        Arrival, typer.Option(help="How requests of an open loop are spread.")
    ] = "poisson",
    burstiness: Annotated[
        float, typer.Option(min=0.01, max=100, help="Bursty: gamma shape; less is burstier.")
    ] = 0.25,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Closed loop: so many users, one request each.")
    ] = None,
    think_s: Annotated[float, typer.Option(min=0, help="A user's pause after an answer.")] = 0.0,
    trace: Annotated[
        Path | None,
        typer.Option(help="Replay a trace: CSV or JSON lines (Azure, BurstGPT, Mooncake, plain)."),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.001, help="So many times the trace's pace.")] = 1.0,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="auto|RATES", help="Find the knee: auto, or rates as 1,2,4,8."),
    ] = None,
    requests: Annotated[
        int | None, typer.Option(min=1, help="Requests, of a sweep for each rate [100].")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds in which they start; a sweep: [20].")
    ] = None,
    prompt_tokens: Annotated[
        str | None,
        typer.Option(
            help="Prompt length [256]: 512, uniform:100,900, normal:512,128, lognormal:512,0.6."
        ),
    ] = None,
    output_tokens: Annotated[
        str | None, typer.Option(help="Answer length, the same way [64]; with --prompts [any].")
    ] = None,
    shared_prefix_tokens: Annotated[
        int, typer.Option(min=0, help="Tokens that all prompts begin with.")
    ] = 0,
    prompts: Annotated[
        Path | None, typer.Option(help="Prompts to ask: JSON lines, plain lines or ShareGPT.")
    ] = None,
    ignore_eos: Annotated[
        bool, typer.Option(help="Synthetic answers: have the engine write all tokens.")
    ] = True,
    body: Annotated[
        str | None, typer.Option(help="More fields, as a JSON object; null takes one away.")
    ] = None,
    ttft_slo: Annotated[
        float | None, typer.Option(min=0, help="Objective: first token within so many ms.")
    ] = None,
    itl_slo: Annotated[
        float | None, typer.Option(min=0, help="Objective: mean ms between tokens of a request.")
    ] = None,
    e2e_slo: Annotated[
        float | None, typer.Option(min=0, help="Objective: whole answer within so many ms.")
    ] = None,
    slo_attainment: Annotated[
        float, typer.Option(min=0, max=1, help="Part of the requests that must meet it.")
    ] = 0.99,
    fail_below_slo: Annotated[
        bool, typer.Option("--fail-below-slo", help="Exit with 1 when fewer meet it.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 600.0,
    warmup: Annotated[int, typer.Option(min=0, help="Requests before, which do not count.")] = 0,
    seed: Annotated[
        str | None, typer.Option(help="The same seed asks the same, at the same times [drawn].")
    ] = None,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Variable that holds the key [OPENAI_API_KEY]."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME: VALUE", help="One more header; repeatable.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Authority to trust, as PEM.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of a table.")] = False,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write every request to this file.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots to this file.")
    ] = None,
) -> None:
    """Load an OpenAI endpoint and measure first token, token rate, latency and goodput.

    Latency counts from when a request was meant to start, so a slow endpoint cannot hide it.
    """
    slo = Slo(ttft_slo, itl_slo, e2e_slo)
    given = Given(
        operation=operation,
        rate=rate,
        arrival=arrival,
        burstiness=burstiness,
        concurrency=concurrency,
        think_s=think_s,
        trace=trace,
        speed=speed,
        sweep=sweep,
        requests=requests,
        duration_s=duration,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        shared_prefix_tokens=shared_prefix_tokens,
        prompts=prompts,
        ignore_eos=ignore_eos,
        body=body,
        slo=slo,
        attainment=slo_attainment,
        warmup=warmup,
    )
    try:
        _check(slo, csv_file, html_file, must_meet=fail_below_slo)
        endpoint = endpoint_at(
            url,
            api_key_env=api_key_env,
            headers=header or (),
            ca_file=ca_file,
            timeout_s=timeout,
        )
        report = _measured(endpoint, given, model, seed or secrets.token_hex(4))
    except WrongInput as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from wrong
    except NotReady as failed:
        typer.echo(str(failed), err=True)
        raise typer.Exit(1) from failed
    _show(report, as_json=as_json)
    write(csv_file, csv_of(report.tests, slo))
    write(html_file, html_of(report))
    raise typer.Exit(_exit_code(report, slo_attainment if fail_below_slo else None))


def _check(slo: Slo, csv_file: Path | None, html_file: Path | None, *, must_meet: bool) -> None:
    if must_meet and not slo.is_given:
        raise WrongInput("--fail-below-slo needs --ttft-slo, --itl-slo or --e2e-slo")
    check_writable(csv_file, "--csv")
    check_writable(html_file, "--html")


def _measured(endpoint: Endpoint, given: Given, model: str | None, seed: str) -> Report:
    """Raises WrongInput and NotReady."""
    setting_of(given, model or "", seed)  # what is wrong is told before anything is asked
    at = datetime.now(UTC).isoformat(timespec="seconds")
    benches: list[tuple[Bench, str, dict[str, object]]] = []

    async def work() -> None:
        async with endpoint:
            name = model or await only_model(endpoint)
            setting, words = setting_of(given, name, seed)
            bench = Bench(endpoint, setting, watcher)
            benches.append((bench, name, words))
            await bench.run()

    with Bar() as bar:
        watcher = _Watcher(bar)
        is_interrupted = run_until_interrupted(work)
    if not benches or not benches[0][0].trials:
        raise NotReady("interrupted before anything was measured")
    bench, name, words = benches[0]
    return Report(
        url=shown(endpoint.origin),
        model=name,
        operation=given.operation,
        prompts=words,
        seed=seed,
        slo=given.slo,
        at=at,
        tool=f"sluicegate {__version__}",
        tests=bench.trials,
        is_sweep=given.sweep is not None,
        is_interrupted=is_interrupted,
        notes=bench.notes,
    )


class _Watcher:
    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def began(self, what: str, requests: int | None) -> None:
        self._bar.begin(what, requests)

    def answered(self, outcome: Outcome) -> None:
        self._bar.advance(failed=not outcome.is_whole)


def _show(report: Report, *, as_json: bool) -> None:
    for words in report.warnings + report.notes:
        typer.echo(f"note: {words}", err=True)
    if report.is_interrupted:
        typer.echo("interrupted: figures are of what had ended by then", err=True)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
        return
    typer.echo(f"{report.model} at {report.url}, {report.operation}, seed {report.seed}")
    if report.slo.is_given:
        typer.echo(f"objective: {report.slo}")
    if report.is_sweep:
        print_table(SWEEP_HEADERS, sweep_rows(report))
        typer.echo(knee_words(report))
    else:
        for test in report.tests:
            if latencies := latency_rows(test.summary):
                print_table(LATENCY_HEADERS, latencies)
            print_table(("figure", "value"), fact_rows(test))
    failed = failure_rows(report.tests)
    if failed:
        where = ("load",) if len(report.tests) > 1 else ()
        print_table((*where, "count", "failure", "the first one's words"), failed)


def _exit_code(report: Report, attainment: float | None) -> int:
    """1 when it was interrupted, nothing was answered, or a promise was to be kept and was not."""
    ratios = [test.summary.goodput_ratio or 0.0 for test in report.tests]
    has_failed = (
        report.is_interrupted
        or not any(test.summary.whole for test in report.tests)
        or (attainment is not None and min(ratios) < attainment)
    )
    return int(has_failed)
