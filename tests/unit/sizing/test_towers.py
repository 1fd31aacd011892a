import pytest

from gateway.sizing.towers import tower
from tests.support.models import CONFIGS


@pytest.mark.parametrize(
    ("name", "hidden", "millions", "tokens"),
    [("gemma-3-27b", 5376, 421, 256), ("mistral-small-3.1-24b", 5120, 440, 3025)],
)
def test_an_encoder_is_as_large_as_published(
    name: str, hidden: int, millions: int, tokens: int
) -> None:
    made = tower(CONFIGS[name], hidden)
    assert made is not None
    counted = (made.matrix_elements + made.other_elements) / 1e6
    assert counted == pytest.approx(millions, rel=0.03)
    assert made.item_tokens == tokens


def test_an_encoder_for_any_size_of_image_is_planned_for_the_largest() -> None:
    made = tower(CONFIGS["qwen2.5-vl-7b"], 3584)
    assert made is not None
    assert made.item_tokens == 16384
    assert made.matrix_elements == pytest.approx(0.67e9, rel=0.03)


def test_a_width_may_be_told_as_a_ratio() -> None:
    config = {"vision_config": {"depth": 32, "embed_dim": 1280, "mlp_ratio": 4}}
    made = tower(config, 3584)
    assert made is not None
    assert (made.width, made.intermediate) == (1280, 5120)


def test_a_model_that_hears_has_an_encoder_too() -> None:
    made = tower({"audio_config": {"d_model": 1280, "encoder_layers": 32}}, 4096)
    assert made is not None
    assert made.matrix_elements == pytest.approx(0.63e9, rel=0.05)


def test_the_encoder_of_a_thinker_is_its_own() -> None:
    inside = {"thinker_config": {"vision_config": {"depth": 32, "embed_dim": 1280}}}
    assert tower(inside, 3584) is not None


def test_a_model_that_only_reads_has_none() -> None:
    assert tower(CONFIGS["llama-3.1-8b"], 4096) is None
