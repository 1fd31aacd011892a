import random

import pytest
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased

from gateway.telemetry.tracing import Context, Sampler, read_context

TRACE = "0af7651916cd43dd8448eb211c80319c"
VALID = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def a_sampler(ratio: float = 1.0, slow_s: float = 10.0) -> Sampler:
    return Sampler(ratio, slow_s, random.Random(1))


def test_a_valid_traceparent_is_read() -> None:
    context = read_context(VALID, b"vendor=1")
    assert context is not None
    assert context.trace_id == TRACE
    assert context.parent == 0xB7AD6B7169203331
    assert context.state == b"vendor=1"
    assert context.is_sampled


@pytest.mark.parametrize(
    "given",
    [
        None,
        b"",
        b"junk",
        VALID[:-1],
        VALID.upper(),
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        VALID[:36] + b"0" * 16 + b"-01",
        b"ff" + VALID[2:],
        VALID + b"-more",
        VALID + b" ",
    ],
)
def test_anything_else_is_no_context(given: bytes | None) -> None:
    assert read_context(given, b"vendor=1") is None


def test_a_later_version_may_say_more() -> None:
    context = read_context(b"01" + VALID[2:] + b"-more", None)
    assert context is not None
    assert context.trace_id == TRACE


@pytest.mark.parametrize("state", [b"x" * 513, "k=\N{BLACK HEART SUIT}".encode()])
def test_a_tracestate_that_is_none_is_dropped(state: bytes) -> None:
    context = read_context(VALID, state)
    assert context is not None
    assert context.state == b""


def test_engines_are_told_the_span_that_asks_them() -> None:
    context = Context(int(TRACE, 16), 1, b"vendor=1", is_sampled=False)
    assert context.headers(0xAB) == (
        (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-00000000000000ab-00"),
        (b"tracestate", b"vendor=1"),
    )
    read = read_context(dict(context.headers(0xAB))[b"traceparent"], None)
    assert read is not None
    assert (read.trace, read.parent, read.is_sampled) == (context.trace, 0xAB, False)


@pytest.mark.parametrize("flag", [b"00", b"01"])
def test_a_callers_decision_is_followed_whatever_the_ratio(flag: bytes) -> None:
    for ratio in (0.0, 1.0):
        context = a_sampler(ratio).begin(VALID[:-2] + flag, None)
        assert context.trace_id == TRACE
        assert context.is_sampled is (flag == b"01")


def test_only_the_flag_of_sampling_decides() -> None:
    context = a_sampler().begin(VALID[:-2] + b"02", None)
    assert not context.is_sampled


def test_without_a_caller_a_share_is_sampled() -> None:
    sampler = a_sampler(0.25)
    sampled = sum(sampler.begin(None, None).is_sampled for _ in range(4000))
    assert 900 < sampled < 1100
    assert not any(a_sampler(0.0).begin(None, None).is_sampled for _ in range(1000))
    assert all(a_sampler(1.0).begin(b"junk", None).is_sampled for _ in range(1000))


def test_what_is_sampled_by_trace_id_is_what_opentelemetry_samples() -> None:
    theirs, ours = TraceIdRatioBased(0.3), a_sampler(0.3)
    for _ in range(1000):
        context = ours.begin(None, None)
        decision = theirs.should_sample(None, context.trace, "").decision
        assert context.is_sampled is (decision is Decision.RECORD_AND_SAMPLE)


def test_failed_and_slow_calls_are_kept_though_they_were_not_sampled() -> None:
    sampler = a_sampler(0.0, slow_s=2.0)
    context = sampler.begin(None, None)
    assert not sampler.keeps(context, 1.9, went_wrong=False)
    assert sampler.keeps(context, 2.0, went_wrong=False)
    assert sampler.keeps(context, 0.1, went_wrong=True)


def test_spans_have_ids() -> None:
    sampler = a_sampler()
    ids = {sampler.new_span() for _ in range(100)}
    assert len(ids) == 100
    assert 0 not in ids
