from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.splits import Split


def test_callers_stay_unless_it_says_otherwise() -> None:
    split = Split.model_validate({"name": "s", "parts": [{"to": "m", "weight": 1}]})
    assert split.sticky == "caller"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([{"to": "m", "weight": 0}], "at least one a weight above 0"),
        ([{"to": "m", "weight": 1}, {"to": "m", "weight": 2}], "go somewhere else"),
        ([], "at least 1 item"),
        ([{"to": "m", "weight": -1}], "greater than or equal to 0"),
        ([{"to": "m"}], "Field required"),
    ],
)
def test_what_makes_no_split_is_refused(parts: Any, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Split.model_validate({"name": "s", "parts": parts})
