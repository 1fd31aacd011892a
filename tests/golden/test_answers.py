"""What clients get for what real engines answered. To change it: `python -m tests.golden.answers`.

Read the diff before you commit one: every line is something that clients see.
"""

import json

import pytest

from tests.golden.answers.expected import ENGINES_RECORDED, expected_file, shown_answers


@pytest.mark.parametrize("recorded", ENGINES_RECORDED)
def test_recorded_answers_reach_the_client_as_agreed(recorded: str) -> None:
    assert shown_answers(recorded) == json.loads(expected_file(recorded).read_text())
