"""What every engine is sent for a call. To change it: `python -m tests.golden.calls`."""

import json

import pytest

from tests.golden.calls.expected import CASES, EXPECTED, sent


@pytest.mark.parametrize("case", CASES)
def test_every_engine_is_sent_what_it_understands(case: str) -> None:
    assert sent()[case] == json.loads(EXPECTED.read_text())[case]
