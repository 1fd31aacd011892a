import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.keys import Keys


def test_a_key_is_found_under_its_other_names_before_the_default() -> None:
    keys = Keys({"n_embd": 7}, {"hidden_size": 9, "num_hidden_layers": 3})
    assert keys.number("hidden_size") == 7
    assert keys.number("num_hidden_layers") == 3


def test_a_number_may_be_a_whole_float_or_the_largest_of_a_list() -> None:
    assert Keys({"a": 4.0}, {}).number("a") == 4
    assert Keys({"a": [1, 5, 2]}, {}).number("a") == 5


@pytest.mark.parametrize("value", [0, -1, 1.5, "8", True, [], ["x"], {}])
def test_what_is_no_number_above_0_is_told_by_its_key(value: object) -> None:
    with pytest.raises(PlanInvalid, match=r'"hidden_size" must be a whole number above 0'):
        Keys({"hidden_size": value}, {}).number("hidden_size")


def test_a_number_that_is_absent_needs_a_default() -> None:
    assert Keys({}, {}).number("a", 5) == 5
    with pytest.raises(PlanInvalid, match=r'"a" is missing'):
        Keys({}, {}).number("a")


def test_a_count_may_be_0_and_absent() -> None:
    assert [Keys(given, {}).count("a") for given in ({}, {"a": 0}, {"a": 3})] == [0, 0, 3]


def test_numbers_are_one_for_each_layer_or_one_for_all() -> None:
    assert Keys({"a": [1, 2]}, {}).numbers("a", 2) == [1, 2]
    assert Keys({"a": 3}, {}).numbers("a", 2) == [3, 3]


def test_words_must_name_every_layer() -> None:
    assert Keys({}, {}).words("a", 2) is None
    assert Keys({"a": ["x", "y"]}, {}).words("a", 2) == ["x", "y"]
    with pytest.raises(PlanInvalid, match=r'"a" must list 3 layers'):
        Keys({"a": ["x", "y"]}, {}).words("a", 3)


def test_a_part_is_a_mapping() -> None:
    assert Keys({}, {}).part("a") == {}
    assert Keys({"a": {"b": 1}}, {}).part("a") == {"b": 1}
    with pytest.raises(PlanInvalid, match=r'"a" must be a mapping'):
        Keys({"a": 1}, {}).part("a")


def test_a_flag_is_off_when_it_is_absent() -> None:
    assert not Keys({}, {}).flag("a")
    assert Keys({"a": True}, {}).flag("a")


def test_layers_are_listed_by_number() -> None:
    assert Keys({}, {}).layers("a") == []
    assert Keys({"a": []}, {}).layers("a") == []
    assert Keys({"a": [1, 3]}, {}).layers("a") == [1, 3]
    for value in (3, "x", ["x"]):
        with pytest.raises(PlanInvalid, match=r'"a" must list layers by number'):
            Keys({"a": value}, {}).layers("a")


def test_a_ratio_is_a_number_of_reasonable_size() -> None:
    assert Keys({}, {}).ratio("a", 4) == 4
    assert Keys({"a": 2.5}, {}).ratio("a", 4) == 2.5
    for value in ("x", True, -1, float("inf"), [1]):
        with pytest.raises(PlanInvalid, match=r'"a" must be a number'):
            Keys({"a": value}, {}).ratio("a", 4)
