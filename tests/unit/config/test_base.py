import pytest
from pydantic import ValidationError

from gateway.config.access import Plan
from gateway.config.base import Section


class Example(Section):
    text: str = ""


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Example.model_validate({"txet": "a"})


def test_a_section_cannot_be_changed() -> None:
    section = Example()
    with pytest.raises(ValidationError, match="frozen"):
        section.text = "other"  # type: ignore[misc]  # the point of the test


def test_space_around_text_is_nothing() -> None:
    assert Example(text=" a ").text == "a"


@pytest.mark.parametrize("switch", [True, False])
def test_a_yes_or_no_is_no_number(switch: bool) -> None:
    with pytest.raises(ValidationError, match="must be a number, not yes or no"):
        Plan.model_validate({"name": "p", "requests_per_minute": switch})
