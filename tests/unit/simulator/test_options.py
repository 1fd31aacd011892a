from gateway.simulator.options import EngineOptions


def test_a_context_is_what_the_model_can_take() -> None:
    assert EngineOptions(max_model_len=1000, kv_cache_tokens=4096).context_tokens == 1000


def test_a_context_is_never_more_than_the_kv_cache_can_hold() -> None:
    assert EngineOptions(max_model_len=1000, kv_cache_tokens=100).context_tokens == 96


def test_there_is_always_one_block() -> None:
    assert EngineOptions(kv_cache_tokens=3).context_tokens == 16
