from gateway.sizing.architecture import Experts, Mlp
from tests.support.models import a_model


def test_a_gated_part_has_three_matrices_and_another_two() -> None:
    assert Mlp(8).matrices == 3
    assert Mlp(8, is_gated=False).matrices == 2
    assert Experts(2, 1, 8).matrices == 3
    assert Experts(2, 1, 8, is_gated=False).matrices == 2


def test_a_model_knows_what_it_is_made_of() -> None:
    dense, mixed, latent = a_model(), a_model("nemotron-h-8b"), a_model("deepseek-v3")
    assert (dense.has_state, dense.has_latent, dense.has_experts) == (False, False, False)
    assert (mixed.has_state, mixed.has_latent, mixed.has_experts) == (True, False, False)
    assert (latent.has_state, latent.has_latent, latent.has_experts) == (False, True, True)


def test_states_are_mixers_that_are_no_attention() -> None:
    mixed = a_model("bamba-9b")
    assert len(mixed.mixers) == 32
    assert len(mixed.attentions) == 3
