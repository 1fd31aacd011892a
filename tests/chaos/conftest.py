"""Faults on real sockets, with limits in a real Redis."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/chaos" in str(item.path):
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.redis)
