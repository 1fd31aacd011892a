"""What the chart makes of its value files, to the letter, and what is written from other files.

`python -m tests.chart.generate` writes all of it; read the diff.
"""

from pathlib import Path

import pytest

from tests.chart.generate import golden, written
from tests.chart.render import CHART, GOLDEN, VALUE_FILES, helm, rendered_text


def test_there_are_value_files() -> None:
    assert len(VALUE_FILES) >= 12


@pytest.mark.parametrize("values", VALUE_FILES, ids=lambda file: file.stem)
def test_a_value_file_comes_to_these_manifests(values: Path) -> None:
    assert rendered_text(values) == golden(values).read_text()


def test_every_golden_file_has_its_values() -> None:
    assert sorted(GOLDEN.glob("*")) == [golden(values) for values in VALUE_FILES]


@pytest.mark.parametrize("values", VALUE_FILES, ids=lambda file: file.stem)
def test_helm_has_nothing_against_it(values: Path) -> None:
    said = helm("lint", "--strict", str(CHART), "-f", str(values))
    assert said.code == 0, said.out + said.err


@pytest.mark.parametrize(
    ("path", "text"), [*written()], ids=lambda given: getattr(given, "name", "")
)
def test_what_is_written_from_other_files_is_current(path: Path, text: str) -> None:
    assert path.read_text() == text, "run: python -m tests.chart.generate"


def test_the_chart_can_be_packed(tmp_path: Path) -> None:
    said = helm("package", str(CHART), "--destination", str(tmp_path))
    assert said.code == 0, said.err
    (packed,) = tmp_path.glob("*.tgz")
    assert packed.name.startswith("sluicegate-")
