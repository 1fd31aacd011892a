import pytest
from pydantic import SecretStr

from gateway.api.admin_audit import audit_router
from gateway.config.access import Rates
from tests.support.asked_app import ask
from tests.support.issuers import a_process
from tests.support.redis_servers import a_redis

pytestmark = pytest.mark.redis


async def test_the_audit_log_says_what_was_asked_for_and_when() -> None:
    with a_redis() as server:
        here = a_process(server)
        router = audit_router(here.issuer, SecretStr("admin"))
        async with here.issuer as issuer:
            made, secret = await issuer.create("team", "default", made_of(), "req_1")
            answer = await ask(router, path="/admin/audit", key="admin")
    (entry,) = answer.json()["entries"]
    assert (entry["action"], entry["key"], entry["request_id"]) == ("create", "team", "req_1")
    assert entry["detail"] == {"plan": "default", "limits": {"tokens_per_minute": None}}
    assert entry["time_unix_s"] > 1_700_000_000
    assert secret not in answer.text
    assert made.key.secrets[0].sha256 not in answer.text


def made_of() -> Rates:
    return Rates(tokens_per_minute=None)
