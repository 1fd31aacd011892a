from gateway.sizing.architecture import State
from gateway.sizing.keys import Keys
from gateway.sizing.states import delta_net, mamba1, mamba2, short_convolution
from tests.support.models import a_model


def test_mamba_2_keeps_heads_of_states_and_what_it_convolves() -> None:
    state = a_model("nemotron-h-8b").mixers[0]
    assert isinstance(state, State)
    assert state.elements == 128 * 64 * 128
    assert (state.channels, state.conv_length) == (128 * 64 + 2 * 8 * 128, 3)
    assert (state.groups, state.group_channels) == (8, 256)
    assert state.element_bytes is None


def test_a_state_may_be_kept_in_float32() -> None:
    state = a_model("nemotron-h-8b", mamba_ssm_cache_dtype="float32").mixers[0]
    assert isinstance(state, State)
    assert state.element_bytes == 4


def test_mamba_2_without_a_head_width_takes_it_from_the_expansion() -> None:
    by_expansion = mamba2(Keys({"mamba_expand": 2, "mamba_n_heads": 32}, {}), 1024)
    assert by_expansion.elements == 2048 * 128
    own = mamba2(Keys({"num_heads": 128, "head_dim": 64, "state_size": 128}, {}), 4096)
    assert own.elements == 128 * 64 * 128


def test_mamba_1_keeps_a_few_numbers_for_each_channel() -> None:
    state = mamba1(Keys({"mamba_expand": 2, "mamba_d_state": 16, "mamba_dt_rank": 256}, {}), 4096)
    assert (state.channels, state.elements) == (8192, 8192 * 16)
    small = mamba1(Keys({"state_size": 16, "time_step_rank": "auto"}, {}), 2560)
    assert small.matrix_elements == 2560 * 2 * 5120 + 5120 * (160 + 32) + 160 * 5120 + 5120 * 2560


def test_a_delta_net_keeps_a_matrix_for_each_value_head() -> None:
    state = a_model("qwen3-next-80b").mixers[0]
    assert isinstance(state, State)
    assert state.elements == 32 * 128 * 128
    assert state.channels == 2 * 16 * 128 + 32 * 128
    keys = {
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "mamba_ssm_dtype": "float32",
    }  # fmt: skip
    assert delta_net(Keys(keys, {}), 2048).element_bytes == 4


def test_kimis_delta_net_has_keys_as_wide_as_values() -> None:
    config = {"linear_attn_config": {"num_heads": 32, "head_dim": 128}}
    state = delta_net(Keys(config, {}), 2304)
    assert (state.channels, state.elements) == (3 * 4096, 32 * 128 * 128)


def test_a_short_convolution_keeps_its_last_inputs() -> None:
    state = short_convolution(Keys({"conv_L_cache": 3}, {}), 1024)
    assert (state.channels, state.conv_length, state.elements) == (1024, 2, 0)
