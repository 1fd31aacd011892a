"""Tests of the chart need the real Helm; where it cannot be had they are skipped, and say so."""

from pathlib import Path

import pytest

from tests.chart.render import HELM, WHY_NOT

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not HELM.exists():
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=WHY_NOT))
