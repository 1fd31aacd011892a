"""What every test shares: asyncio is the event loop, and nothing of the machine's environment."""

import pytest
from hypothesis import HealthCheck, settings

# A gate says the same twice, on a slow machine too; `--hypothesis-profile=explore` looks further.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("gate", _PATIENT, derandomize=True)
settings.register_profile("explore", _PATIENT, max_examples=2000)
settings.load_profile("gate")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONFIG", "HOST", "PORT", "REDIS_URL", "LOG_LEVEL", "ADMIN_KEY"):
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)
