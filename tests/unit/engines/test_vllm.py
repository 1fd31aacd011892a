from gateway.engines.adapter import Served
from gateway.engines.vllm import VllmAdapter
from gateway.errors import EngineMisconfigured, EngineRefused

VLLM = VllmAdapter()


def test_a_route_that_the_models_task_lacks_is_the_clients_mistake() -> None:
    failure = VLLM.refusal(404, b'{"detail":"Not Found"}', None)
    assert isinstance(failure, EngineRefused)
    assert failure.status == 404


def test_a_model_that_the_engine_lacks_is_the_operators() -> None:
    body = b'{"error":{"message":"The model `x` does not exist.","code":404}}'
    assert isinstance(VLLM.refusal(404, body, None), EngineMisconfigured)


def test_older_names_of_metrics_are_read_too() -> None:
    assert VLLM.load(b"vllm:gpu_cache_usage_perc 0.5\n").kv_cache_used_ratio == 0.5


def test_capacity_is_added_up_over_the_engines() -> None:
    text = b"".join(
        b'vllm:cache_config_info{engine="%d",kv_cache_size_tokens="100"} 1\n' % n for n in range(2)
    )
    assert VLLM.load(text).kv_cache_tokens == 200


def test_a_capacity_that_is_no_number_is_unknown() -> None:
    text = b'vllm:cache_config_info{kv_cache_size_tokens="None"} 1\n'
    assert VLLM.load(text).kv_cache_tokens is None


def test_sleep_is_seen() -> None:
    awake = b'vllm:engine_sleep_state{sleep_state="awake"} 1\n'
    asleep = b'vllm:engine_sleep_state{sleep_state="weights_offloaded"} 1\n'
    assert not VLLM.load(awake).asleep
    assert VLLM.load(asleep).asleep


def test_adapters_are_those_that_are_listed_with_a_parent() -> None:
    body = b'{"data":[{"id":"base","parent":null},{"id":"sql","parent":"base"},{"id":"x"}]}'
    assert VLLM.listed_adapters(body) == frozenset(("sql",))
    assert VLLM.listed_adapters(b"?") is None


def test_an_adapter_is_loaded_by_path_and_unloaded_by_name() -> None:
    load = VLLM.load_adapter("sql", "/a", Served("base", "sk-1"), "id-1")
    unload = VLLM.unload_adapter("sql", Served("base"), "id-1")
    assert load is not None
    assert unload is not None
    assert (load.path, load.body) == (
        "/v1/load_lora_adapter",
        b'{"lora_name":"sql","lora_path":"/a"}',
    )
    assert (b"authorization", b"Bearer sk-1") in load.fixed
    assert (unload.path, unload.body) == ("/v1/unload_lora_adapter", b'{"lora_name":"sql"}')
