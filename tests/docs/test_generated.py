"""The docs say what the code does; `make docs-generated` mends what drifts."""

from pathlib import Path

import pytest

from tests.docs.generate import DOCS, PARTS, failures, filled, names_told, pages, parts_of
from tests.docs.words import ADVICE, EVENTS, FIELDS


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_a_page_says_what_the_code_says(page: Path) -> None:
    text = page.read_text()
    assert text == filled(text), "run `make docs-generated`"


def test_every_generated_part_is_on_a_page() -> None:
    shown = [name for page in DOCS.rglob("*.md") for name in parts_of(page.read_text())]
    assert sorted(shown) == sorted(PARTS)


def test_every_failure_has_advice_and_no_other() -> None:
    assert set(ADVICE) == set(failures())


def test_every_log_event_and_field_has_its_words_and_no_other() -> None:
    events, fields = names_told()
    assert list(EVENTS) == events
    assert list(FIELDS) == fields
