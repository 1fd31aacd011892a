"""Everything here opens sockets; most of it runs over both ways into the gateway."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/integration" in str(item.path):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(params=["direct", "asgi"])
def direct(request: pytest.FixtureRequest) -> bool:
    """Whether uvicorn hands inference straight to the exchange, or goes through ASGI."""
    return bool(request.param == "direct")
