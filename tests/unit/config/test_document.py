from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.configs import a_document


def test_one_model_is_a_whole_configuration() -> None:
    document = a_document()
    assert document.retries.max_attempts == 3
    assert document.keys is None
    assert document.plans == ()
    assert document.cors.allow_origins == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": []},
        {"retries": {"max_attempts": 0}},
        {"retries": {"max_attempts": 11}},
        {"retries": {"budget_ratio": 1.1}},
        {"retries": {"backoff_s": -1}},
        {"retries": {"max_backoff_s": True}},
        {"server": {"max_body_bytes": 1023}},
        {"server": {"max_body_bytes": (1 << 32) + 1}},
        {"server": {"heartbeat_s": 0}},
        {"cors": {"allow_origins": "*"}},
        {"modles": []},
    ],
)
def test_what_a_configuration_cannot_hold(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_document(**wrong)
