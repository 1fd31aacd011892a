import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sizing.parts import Part
from gateway.sizing.quantization import SIXTEEN, widths
from gateway.sizing.units import GIB
from gateway.sizing.weights import parameters, stage_bytes, stages
from tests.support.models import a_model

BITS = widths(SIXTEEN, 16)

PUBLISHED = {  # billions, as the models' authors count them
    "llama-3.1-8b": 8.030,
    "llama-3.1-70b": 70.554,
    "qwen2.5-7b": 7.616,
    "qwen2.5-32b": 32.764,
    "qwen3-8b": 8.191,
    "qwen3-32b": 32.762,
    "qwen3-30b-a3b": 30.532,
    "mistral-7b-v0.3": 7.248,
    "mixtral-8x7b": 46.703,
    "deepseek-v3": 671.0,
    "deepseek-v2-lite": 15.71,
    "gemma-2-9b": 9.242,
    "gemma-2-27b": 27.227,
    "gemma-3-27b": 27.43,
    "phi-4": 14.660,
    "phi-2": 2.780,
    "phi-3.5-mini": 3.821,
    "gpt-oss-20b": 20.9,
    "gpt-oss-120b": 116.8,
    "mistral-small-3.1-24b": 24.01,
    "nemotron-h-8b": 8.10,
    "jamba-mini": 51.6,
    "qwen3-next-80b": 79.7,
    "llama-4-scout": 108.6,
    "falcon-7b": 6.922,
    "mamba-2.8b": 2.768,
    "bamba-9b": 9.78,
}


@pytest.mark.parametrize(("name", "billions"), PUBLISHED.items())
def test_parameters_are_counted_as_published(name: str, billions: float) -> None:
    assert parameters(a_model(name)) / 1e9 == pytest.approx(billions, rel=0.002)


@given(st.integers(1, 200), st.integers(1, 32))
def test_every_layer_is_on_one_stage_and_the_last_is_never_the_fullest(
    layers: int, parallel: int
) -> None:
    spans = stages(layers, min(parallel, layers))
    counts = [last - first for first, last in spans]
    assert [span[0] for span in spans[1:]] == [span[1] for span in spans[:-1]]
    assert (spans[0][0], spans[-1][1]) == (0, layers)
    assert max(counts) - min(counts) <= 1
    assert counts[-1] == min(counts)


def whole(name: str, tensor_parallel: int = 1) -> dict[Part, float]:
    model = a_model(name)
    return stage_bytes(model, (0, len(model.layers)), BITS, tensor_parallel=tensor_parallel)


def test_kv_heads_are_copied_when_there_are_more_gpus() -> None:
    one, many = whole("qwen2.5-7b"), whole("qwen2.5-7b", 28)
    kv = 28 * 3584 * 2 * 4 * 128 * 2
    assert many[Part.ATTENTION] == pytest.approx((one[Part.ATTENTION] - kv) / 28 + kv / 4)


def test_norms_routers_and_latent_projections_are_copied() -> None:
    one, many = whole("deepseek-v3"), whole("deepseek-v3", 8)
    assert many[Part.NORM] == one[Part.NORM]
    assert many[Part.ROUTER] == one[Part.ROUTER]
    assert many[Part.EXPERTS] == one[Part.EXPERTS] / 8
    assert many[Part.ATTENTION] > one[Part.ATTENTION] / 8


def test_latent_attention_keeps_its_expansion_twice() -> None:
    model = a_model("deepseek-v3")
    absorbed = whole("deepseek-v3")[Part.ABSORBED]
    assert absorbed / GIB == pytest.approx(61 * 128 * 256 * 512 * 2 / GIB)
    without = stage_bytes(model, (0, 61), BITS, keeps_absorbed=False)
    assert Part.ABSORBED not in without


def test_sparse_attention_and_latent_experts_have_weights_of_their_own() -> None:
    sparse = a_model("deepseek-v3", model_type="deepseek_v32", index_topk=2048)
    dense = a_model("deepseek-v3", q_lora_rank=None)
    assert parameters(sparse) > parameters(a_model("deepseek-v3"))
    assert parameters(dense) > parameters(a_model("deepseek-v3"))
    nemotron = a_model(
        "nemotron-h-8b", num_hidden_layers=2, hybrid_override_pattern="ME", n_routed_experts=8,
        num_experts_per_tok=2, moe_intermediate_size=512, moe_latent_size=1024,
    )  # fmt: skip
    sizes = stage_bytes(nemotron, (0, 2), BITS)
    assert sizes[Part.EXPERTS] == 8 * 2 * 1024 * 512 * 2


def test_a_layer_that_reads_the_cache_of_another_has_no_keys() -> None:
    shared = a_model("gemma-2-9b", num_kv_shared_layers=21)
    assert parameters(shared) < parameters(a_model("gemma-2-9b"))


def test_the_first_stage_has_the_embedding_and_the_last_the_output() -> None:
    model = a_model()
    first, last = (stage_bytes(model, span, BITS) for span in stages(32, 2))
    assert Part.HEAD not in first
    assert Part.EMBEDDING not in last
    tied = a_model("gemma-2-9b")
    first, last = (stage_bytes(tied, span, BITS) for span in stages(42, 2))
    assert first[Part.EMBEDDING] == last[Part.EMBEDDING]
    assert Part.HEAD not in last


def test_experts_may_be_stored_larger_than_they_are() -> None:
    model = a_model("gpt-oss-20b")
    plain = stage_bytes(model, (0, 24), BITS)
    padded = stage_bytes(model, (0, 24), BITS, expert_padding=1.5)
    assert padded[Part.EXPERTS] == plain[Part.EXPERTS] * 1.5
    assert padded[Part.ATTENTION] == plain[Part.ATTENTION]
