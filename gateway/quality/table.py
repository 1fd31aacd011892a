"""A comparison as rows of text, for the terminal and for pages. No I/O."""

from collections.abc import Callable, Sequence

from gateway.figures.quantiles import Spread
from gateway.quality.bootstrap import Estimate
from gateway.quality.report import Report
from gateway.quality.summary import Summary
from gateway.quality.verdict import Verdict

HEADERS = ("figure", "A", "B", "B against A", "95 % interval", "prompts")
FINDING_HEADERS = ("threshold", "found", "bound", "")

Row = tuple[str, ...]


def rows_of(summary: Summary) -> list[Row]:
    """One row for each figure there is."""
    rows: list[Row] = []
    accuracy = summary.accuracy
    if accuracy is not None:
        change = accuracy.change
        rows.append(
            _row("right answers", change, _points, percent(accuracy.a), percent(accuracy.b))
        )
    rows += _shared(summary)
    ppl_a, ppl_b = summary.perplexity_a, summary.perplexity_b
    if ppl_a is not None and ppl_b is not None and summary.perplexity_ratio is not None:
        told = (f"{ppl_a.value:.4f}", f"{ppl_b.value:.4f}")
        rows.append(_row("perplexity of A's answers", summary.perplexity_ratio, _times, *told))
    if summary.length_ratio is not None:
        rows.append(_row("length, tokens", summary.length_ratio, _times))
        cut = (percent(summary.cut_a), percent(summary.cut_b))
        rows.append(("cut at the limit", *cut, "", "", ""))
    if summary.refusal_change is not None:
        refused = (percent(summary.refused_a), percent(summary.refused_b))
        rows.append(_row("refusals", summary.refusal_change, _points, *refused))
    for name, ratio, a, b in (
        ("TTFT, median ms", summary.ttft_ratio, summary.ttft_a_ms, summary.ttft_b_ms),
        ("time per token, median ms", summary.tpot_ratio, summary.tpot_a_ms, summary.tpot_b_ms),
    ):
        if ratio is not None:
            rows.append(_row(name, ratio, _times, _median(a), _median(b)))
    return rows


def _shared(summary: Summary) -> list[Row]:
    rows = [
        _row(name, estimate, percent)
        for name, estimate in (
            ("same answer, word for word", summary.same),
            ("part in common before they differ", summary.common),
            ("top-1 agreement, tokens", summary.top1),
        )
        if estimate is not None
    ]
    if summary.differs_at is not None:
        spread = summary.differs_at
        told = f"at token {spread.p50 + 1:.0f} (median of {spread.count})"
        rows.append(("first difference", "", "", told, "", ""))
    if summary.kl is not None and summary.kl_spread is not None:
        rows.append(_row("KL divergence, nats a token", summary.kl, lambda nats: f"{nats:.5f}"))
        spread = summary.kl_spread
        told = f"{spread.p50:.5f} / {spread.p99:.5f} / {spread.max:.3f}"
        rows.append(("... p50 / p99 / max of tokens", "", "", told, "", ""))
    return rows


def _row(
    name: str, estimate: Estimate, shown: Callable[[float], str], a: str = "", b: str = ""
) -> Row:
    interval = f"{shown(estimate.low)} to {shown(estimate.high)}"
    return (name, a, b, shown(estimate.value), interval, f"{estimate.prompts:,}")


def finding_rows(verdict: Verdict) -> list[Row]:
    """Each threshold, and whether it holds."""
    rows: list[Row] = []
    for one in verdict.findings:
        said = "holds" if one.is_met else "BROKEN"
        if not one.is_sure:
            said += ", but too few prompts to be sure"
        sign = "at most" if one.is_upper else "at least"
        rows.append((one.name, f"{one.value:.4g}", f"{sign} {one.bound:g}", said))
    rows += [(name, "unknown", "", "not measured") for name in verdict.unknown]
    return rows


def verdict_words(report: Report) -> str:
    """The verdict in a sentence."""
    verdict, (a, b) = report.verdict, report.names
    if verdict.kind == "nothing measured":
        return "Nothing was measured that a threshold is set for."
    if verdict.kind == "fine":
        known = "all thresholds" if not verdict.unknown else "the thresholds that were measured"
        return f"Fine: {b} is within {known} against {a}."
    broken = [one.name for one in verdict.findings if not one.is_met]
    return f"Worse: {b} against {a} breaks {', '.join(broken)}."


def coverage_words(summary: Summary) -> str:
    """How much of A's answers B's view is known of."""
    if summary.known_ratio is None:
        return ""
    return f"B's view is known of {summary.known_ratio:.0%} of the tokens of A's answers."


def failure_rows(report: Report) -> Sequence[Row]:
    """Prompts that were not answered by both."""
    return [(f"{i.number + 1}", i.failure) for i in report.items if i.failure is not None]


def percent(share: float) -> str:
    return f"{share:.1%}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f} pp"


def _times(ratio: float) -> str:
    return f"{ratio:.4g}x"


def _median(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.p50:.4g}"
