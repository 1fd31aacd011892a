"""What is written from other files: `python -m tests.chart.generate`.

The chart's schema, its README's tables, its table of quantizations, and the golden manifests.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.chart.quantizations import template
from tests.chart.readme import filled
from tests.chart.render import CHART, GOLDEN, HELM, VALUE_FILES, rendered_text
from tests.chart.values_schema import values_schema


def written() -> Iterator[tuple[Path, str]]:
    """Every file but the golden ones, and what it should hold."""
    yield CHART / "values.schema.json", json.dumps(values_schema(), indent=2) + "\n"
    yield CHART / "templates/_quantizations.tpl", template()
    yield CHART / "README.md", filled((CHART / "README.md").read_text())


def golden(values: Path) -> Path:
    """Where the manifests of a value file are kept."""
    return GOLDEN / values.name.replace("-values.yaml", ".yaml")


def main() -> None:
    """Write all that differs."""
    for path, text in written():
        _write(path, text)
    if not HELM.exists():
        print("Helm is not installed: the golden manifests stay as they are")
        return
    GOLDEN.mkdir(exist_ok=True)
    for values in VALUE_FILES:
        _write(golden(values), rendered_text(values))


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
