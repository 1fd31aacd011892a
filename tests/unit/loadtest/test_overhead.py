from gateway.loadtest.overhead import ClientLoad, overhead_of

IDLE = ClientLoad((0.001, 0.002), cpu_s=0.2, wall_s=2.0)


def test_a_client_at_ease_has_nothing_to_say() -> None:
    overhead = overhead_of([0.001] * 100, IDLE, ttft_p50_ms=50)
    assert overhead.warnings == ()
    assert overhead.cpu_ratio == 0.1
    assert overhead.lag_ms is not None
    assert overhead.lag_ms.p50 == 1.0


def test_requests_sent_late_are_told() -> None:
    lags = [0.0] * 90 + [0.05] * 10
    (warning,) = overhead_of(lags, IDLE, ttft_p50_ms=50).warnings
    assert "50 ms late" in warning


def test_lag_that_is_small_beside_the_first_token_does_not_matter() -> None:
    assert overhead_of([0.05] * 100, IDLE, ttft_p50_ms=2000).warnings == ()


def test_a_busy_loop_and_a_full_core_are_told() -> None:
    busy = ClientLoad((0.05,) * 10, cpu_s=1.9, wall_s=2.0)
    stalled, full = overhead_of([], busy, ttft_p50_ms=50).warnings
    assert "50 ms" in stalled
    assert "95% of a core" in full


def test_nothing_measured_is_nothing() -> None:
    overhead = overhead_of([], ClientLoad((), 0.0, 0.0), 0.0)
    assert (overhead.lag_ms, overhead.stall_ms, overhead.cpu_ratio) == (None, None, 0.0)
