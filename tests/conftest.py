"""What every test shares: asyncio is the event loop, and nothing of the machine's environment."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "HOST", "PORT", "REDIS_URL", "LOG_LEVEL", "ADMIN_KEY"):
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)
