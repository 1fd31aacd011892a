"""`gateway compare`: what one variant of a model costs against another."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from gateway.cli.compare_job import Job
from gateway.cli.progress import Bar
from gateway.cli.tables import print_table
from gateway.cli.target import (
    check_writable,
    endpoint_at,
    object_of,
    run_until_interrupted,
    text_of,
    write,
)
from gateway.quality.entry import entries_of
from gateway.quality.forced import Asking
from gateway.quality.html_page import html_of
from gateway.quality.report import Report
from gateway.quality.side import read_target
from gateway.quality.table import (
    FINDING_HEADERS,
    HEADERS,
    coverage_words,
    failure_rows,
    finding_rows,
    rows_of,
    verdict_words,
)
from gateway.quality.verdict import Thresholds
from gateway.remote.models import NotReady
from gateway.remote.prompt_file import read_prompts
from gateway.remote.wrong_input import WrongInput

_DEFAULTS = Thresholds()


def compare(
    a: Annotated[
        str,
        typer.Argument(metavar="A", help="The baseline: a URL, MODEL@URL or, with --url, a model."),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="What may take its place, the same way.")],
    prompts: Annotated[
        Path, typer.Option(help="Prompts: JSON lines, plain lines or ShareGPT; with references.")
    ],
    url: Annotated[
        str | None, typer.Option(help="Endpoint of sides that name none, as of two tags.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model of sides that name none; absent: the only one.")
    ] = None,
    operation: Annotated[
        Literal["chat", "completions"], typer.Option(help="Which API is asked.")
    ] = "chat",
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    top_logprobs: Annotated[
        int, typer.Option(min=0, help="Likeliest tokens to compare at each place; 0: none.")
    ] = 20,
    forced_tokens: Annotated[
        int,
        typer.Option(min=0, help="Tokens after a difference that B is made to read one by one."),
    ] = 64,
    rule: Annotated[
        Literal["auto", "exact", "choice", "numeric", "none"],
        typer.Option(help="How answers are held against references."),
    ] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many prompts.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Prompts at a time.")] = 1,
    resume: Annotated[
        Path | None, typer.Option(help="Keep what is done in this file, and go on from it.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    max_accuracy_drop: Annotated[
        float | None, typer.Option(min=0, help="Right answers that may be lost, as a share.")
    ] = _DEFAULTS.max_accuracy_drop,
    max_kl: Annotated[
        float | None, typer.Option(min=0, help="Mean KL divergence, nats a token.")
    ] = _DEFAULTS.max_kl,
    min_top1: Annotated[
        float | None, typer.Option(min=0, max=1, help="Top-1 agreement, share of tokens.")
    ] = _DEFAULTS.min_top1,
    max_perplexity_ratio: Annotated[
        float | None, typer.Option(min=0, help="Perplexity of A's answers, B over A.")
    ] = _DEFAULTS.max_perplexity_ratio,
    min_same: Annotated[
        float | None, typer.Option(min=0, max=1, help="Answers that are the same, share.")
    ] = None,
    max_refusal_change: Annotated[
        float | None, typer.Option(min=0, max=1, help="Change of the share of refusals.")
    ] = None,
    max_length_change: Annotated[
        float | None, typer.Option(min=0, help="Change of the length, share of A's.")
    ] = None,
    max_ttft_ratio: Annotated[
        float | None, typer.Option(min=0, help="Time to first token, B over A.")
    ] = None,
    max_tpot_ratio: Annotated[
        float | None, typer.Option(min=0, help="Time per output token, B over A.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 600.0,
    api_key_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Variable that holds the key [OPENAI_API_KEY]."),
    ] = None,
    b_api_key_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="The same for B, where it is another.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME: VALUE", help="One more header; repeatable.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Authority to trust, as PEM.")] = None,
    body: Annotated[
        str | None, typer.Option(help="More fields, as a JSON object; null takes one away.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data instead of a table.")] = False,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write a page with plots to this file.")
    ] = None,
) -> None:
    """Measure what B costs in accuracy against A, on your own prompts.

    Both answer greedily. The exit code is 1 when B is worse than a threshold allows.
    """
    thresholds = Thresholds(
        max_accuracy_drop=max_accuracy_drop,
        max_kl=max_kl,
        min_top1=min_top1,
        max_perplexity_ratio=max_perplexity_ratio,
        min_same=min_same,
        max_refusal_change=max_refusal_change,
        max_length_change=max_length_change,
        max_ttft_ratio=max_ttft_ratio,
        max_tpot_ratio=max_tpot_ratio,
    )
    try:
        check_writable(html_file, "--html")
        check_writable(resume, "--resume")
        targets = (read_target(a, url, model), read_target(b, url, model))
        endpoints = [
            endpoint_at(
                target.url,
                api_key_env=key,
                headers=header or (),
                ca_file=ca_file,
                timeout_s=timeout,
            )
            for target, key in zip(
                targets, (api_key_env, b_api_key_env or api_key_env), strict=True
            )
        ]
        read = read_prompts(text_of(prompts, "--prompts"), prompts.name)
        job = Job(
            targets=targets,
            endpoints=(endpoints[0], endpoints[1]),
            entries=entries_of(read, rule, prompts.name)[:limit],
            asking=Asking("", operation, max_tokens, top_logprobs, object_of(body, "--body")),
            forced_tokens=forced_tokens,
            name=prompts.name,
            rule=rule,
            concurrency=concurrency,
            resume=resume,
        )
        at = datetime.now(UTC).isoformat(timespec="seconds")
        with Bar() as bar:
            is_interrupted = run_until_interrupted(lambda: job.run(bar))
        report = job.report(thresholds, random.Random(seed), at, is_interrupted=is_interrupted)
    except WrongInput as wrong:
        typer.echo(str(wrong), err=True)
        raise typer.Exit(2) from wrong
    except NotReady as failed:
        typer.echo(str(failed), err=True)
        raise typer.Exit(1) from failed
    _show(report, as_json=as_json)
    write(html_file, html_of(report))
    is_fine = report.verdict.kind == "fine" and not is_interrupted and not report.summary.failed
    raise typer.Exit(0 if is_fine else 1)


def _show(report: Report, *, as_json: bool) -> None:
    for note in report.notes:
        typer.echo(f"note: {note}", err=True)
    if report.is_interrupted:
        typer.echo("interrupted: figures are of what was done by then", err=True)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
        return
    typer.echo(f"A: {report.a.name}\nB: {report.b.name}")
    print_table(HEADERS, rows_of(report.summary))
    typer.echo(coverage_words(report.summary))
    print_table(FINDING_HEADERS, finding_rows(report.verdict))
    failed = failure_rows(report)
    if failed:
        print_table(("prompt", "not answered by both, because"), failed)
    typer.echo(verdict_words(report))
