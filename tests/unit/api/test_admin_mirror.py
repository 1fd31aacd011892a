from pydantic import SecretStr

from gateway.api.admin_mirror import mirror_router
from gateway.proxy.mirror.comparison import Comparisons
from tests.support.asked_app import ask
from tests.unit.proxy.mirror.test_comparison import a_comparison


async def test_the_last_comparisons_are_told_the_newest_first() -> None:
    known = Comparisons()
    router = mirror_router(known, SecretStr("admin"))
    told = (await ask(router, path="/admin/mirror", key="admin")).json()
    assert told == {"comparisons": []}
    for name in ("one", "two"):
        known.add(a_comparison(name))
    told = (await ask(router, path="/admin/mirror", key="admin")).json()
    assert [one["request_id"] for one in told["comparisons"]] == ["two", "one"]
    assert "text" not in told["comparisons"][0]["answers"]["client"]


async def test_it_needs_the_admin_key() -> None:
    router = mirror_router(Comparisons(), SecretStr("admin"))
    assert (await ask(router, path="/admin/mirror", key="sk-caller")).status_code == 401
