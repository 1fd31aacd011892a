import httpx
import pytest
from starlette.types import Receive, Scope, Send

from gateway.api.request_ids import RequestIds


async def answered(own: bytes | None, given: str | None) -> list[str]:
    """The ids of an answer whose application set `own`, to a client that sent `given`."""

    async def app(_: Scope, __: Receive, send: Send) -> None:
        headers = [] if own is None else [(b"x-request-id", own)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(RequestIds(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        headers = {} if given is None else {"x-request-id": given}
        return (await client.get("/", headers=headers)).headers.get_list("x-request-id")


async def test_an_answer_without_one_gets_one() -> None:
    (given,) = await answered(None, None)
    assert given.startswith("req_")


async def test_the_applications_own_stays() -> None:
    assert await answered(b"ours", "theirs") == ["ours"]


async def test_the_clients_own_comes_back_when_it_is_sane() -> None:
    assert await answered(None, "a-B.9:_") == ["a-B.9:_"]


@pytest.mark.parametrize("wild", ["", "a b", "x" * 129, "<script>", "a\x7f"])
async def test_what_is_not_sane_is_replaced(wild: str) -> None:
    (given,) = await answered(None, wild)
    assert given.startswith("req_")


async def test_what_is_not_http_passes() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _: Receive, __: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> dict[str, object]:
        return {}

    await RequestIds(app)({"type": "lifespan"}, nothing, nothing)  # type: ignore[arg-type]
    assert seen == ["lifespan"]
