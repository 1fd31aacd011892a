"""What every test shares: asyncio is the event loop, and nothing of the machine's environment."""

import functools
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.support.leaks import LEDGER, records_heard, secrets_planted
from tests.support.redis_servers import RedisServer, a_redis

# A gate says the same twice, on a slow machine too; `--hypothesis-profile=explore` looks further.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("gate", _PATIENT, derandomize=True)
settings.register_profile("explore", _PATIENT, max_examples=2000)
settings.load_profile("gate")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What talks through sockets meets the machine's moods: it fails when it fails twice.

    The first failure is shown as RERUN in the summary; one that comes again is a fault to find.
    """
    for item in items:
        if any(item.get_closest_marker(name) for name in ("integration", "redis", "engines")):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Every client of httpx reads all that the machine trusts: more work than most tests are."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(httpx.create_ssl_context)
        patch.setattr("httpx._transports.default.create_ssl_context", once)
        yield


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "CONFIG",
        "HOST",
        "PORT",
        "REDIS_URL",
        "LOG_LEVEL",
        "LOG_FORMAT",
        "ADMIN_KEY",
        "URL",
    ):
        monkeypatch.delenv(f"GATEWAY_{name}", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _secrets_are_known() -> Iterator[None]:
    with secrets_planted(LEDGER):
        yield


@pytest.fixture(autouse=True)
def _nothing_secret_is_logged(_secrets_are_known: None) -> Iterator[None]:
    """No log of any test has a secret, a prompt or an answer in it."""
    with records_heard(LEDGER):
        yield
    leaks = LEDGER.leaks()
    assert not leaks, "logged, and must not be:\n" + "\n".join(leaks)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that the tests of one worker share; each test has its own names in it."""
    with a_redis() as server:
        yield server
