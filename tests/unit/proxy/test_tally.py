from gateway.proxy.tally import Tally
from gateway.telemetry.exemplars import Mark
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.negotiation import Format
from gateway.wire.usage import Usage
from tests.support.counted import counted
from tests.support.openmetrics import exemplars, families

ROUTE = ("m", "m:fp8", "r0")
NOWHERE = ("", "", "")
TTFT = "gen_ai_server_time_to_first_token_seconds"
PER_TOKEN = "gen_ai_server_time_per_output_token_seconds"
DURATION = "gen_ai_server_request_duration_seconds"
USED = "gen_ai_client_token_usage"
USAGE = Usage(prompt_tokens=100, completion_tokens=11, cached_tokens=64)


def sums(metrics: Metrics, name: str) -> list[float]:
    """The sums of a histogram, by label values."""
    samples = families(metrics.render(Format.OPENMETRICS))[name].samples
    return [one.value for one in samples if one.name == f"{name}_sum" and one.value]


def marked(metrics: Metrics) -> dict[str, float]:
    """The value of the traced call, by histogram."""
    found = exemplars(metrics.render(Format.OPENMETRICS))
    return {name: one.value for name, one in found.items()}


def test_a_stream_tells_its_first_token_and_the_pace_of_the_others() -> None:
    metrics = Metrics()
    tally = Tally(metrics, ROUTE, "ok", 1.25, 0.25, USAGE, 7)
    tally.tell("team", is_whole=True)
    assert (tally.input_tokens, tally.output_tokens, tally.cached_tokens) == (100, 11, 64)
    assert (sums(metrics, DURATION), sums(metrics, TTFT)) == ([1.25], [0.25])
    assert sums(metrics, PER_TOKEN) == [0.1]
    assert sums(metrics, USED) == [100, 11]
    assert counted(metrics, "gateway_requests", "outcome") == {"ok": 1}
    assert counted(metrics, "gateway_caller_requests", "caller") == {"team": 1}
    tokens = {"input": 100, "output": 11, "cached": 64}
    assert counted(metrics, "gateway_tokens", "type") == tokens
    assert counted(metrics, "gateway_caller_tokens", "type") == tokens


def test_a_broken_or_very_short_stream_has_no_pace() -> None:
    metrics = Metrics()
    Tally(metrics, ROUTE, "engine_error", 1.0, 0.25, None, 5).tell("team", is_whole=False)
    Tally(metrics, ROUTE, "ok", 1.0, 0.25, None, 1).tell("team", is_whole=True)
    assert sums(metrics, TTFT) == [0.5]
    assert sums(metrics, PER_TOKEN) == []


def test_what_we_counted_stands_in_for_what_the_engine_did_not() -> None:
    metrics = Metrics()
    tally = Tally(metrics, ROUTE, "ok", 1.0, None, None, 5)
    tally.tell("team", is_whole=True)
    assert (tally.input_tokens, tally.output_tokens) == (None, 5)
    assert counted(metrics, "gateway_tokens", "type") == {"output": 5}


def test_embeddings_write_nothing() -> None:
    metrics = Metrics()
    Tally(metrics, ROUTE, "ok", 1.0, None, Usage(8, 0, 0), 0).tell("team", is_whole=True)
    assert counted(metrics, "gateway_tokens", "type") == {"input": 8}
    assert sums(metrics, USED) == [8]


def test_a_call_without_a_key_is_nobodys_and_has_no_route() -> None:
    metrics = Metrics()
    Tally(metrics, NOWHERE, "client_error", 0.1, None, None, 0).tell("", is_whole=False)
    assert counted(metrics, "gateway_caller_requests", "caller") == {"": 1}
    assert counted(metrics, "gateway_tokens", "type") == {}
    assert sums(metrics, TTFT) == []


def test_a_traced_call_marks_every_figure_it_has() -> None:
    metrics, mark = Metrics(), Mark(1, 2, 1000.0)
    tally = Tally(metrics, ROUTE, "ok", 1.25, 0.25, USAGE, 7)
    tally.tell("team", is_whole=True)
    assert marked(metrics) == {}
    tally.mark(mark)
    assert marked(metrics) == {DURATION: 1.25, TTFT: 0.25, PER_TOKEN: 0.1}


def test_a_traced_call_that_failed_early_marks_its_duration_alone() -> None:
    for ttft_s, names in ((None, {DURATION}), (0.25, {DURATION, TTFT})):
        metrics = Metrics()
        tally = Tally(metrics, ROUTE, "engine_error", 1.25, ttft_s, None, 0)
        tally.tell("team", is_whole=False)
        tally.mark(Mark(1, 2, 1000.0))
        assert set(marked(metrics)) == names
