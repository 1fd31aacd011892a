import pytest

from gateway.errors import PlanInvalid
from gateway.sizing.cache_types import find_cache_type


def test_a_type_is_found_in_any_case() -> None:
    assert find_cache_type("FP8_e4m3").element_bytes == 1
    assert find_cache_type("auto").element_bytes is None
    assert find_cache_type("nvfp4").element_bytes == 4.5 / 8


def test_an_unknown_type_is_told() -> None:
    with pytest.raises(PlanInvalid, match='"fp5" is not known; known: auto, '):
        find_cache_type("fp5")
