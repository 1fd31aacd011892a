import pytest

from gateway.quality.side import Target, read_target
from gateway.remote.wrong_input import WrongInput


def test_ways_to_name_a_side() -> None:
    assert read_target("http://h:1", None, None) == Target("http://h:1", None)
    assert read_target("http://h:1", None, "m") == Target("http://h:1", "m")
    assert read_target("m:fp8@https://h", None, "other") == Target("https://h", "m:fp8")
    assert read_target("llama:fp8", "http://h", None) == Target("http://h", "llama:fp8")


@pytest.mark.parametrize(("text", "words"), [("llama", "--url"), ("A B://h", "MODEL@URL")])
def test_what_is_missing_is_told(text: str, words: str) -> None:
    with pytest.raises(WrongInput, match=words):
        read_target(text, None, None)
