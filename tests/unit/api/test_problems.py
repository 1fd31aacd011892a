import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from gateway.api.problems import Bugs, install_problems
from gateway.api.request_ids import RequestIds
from gateway.errors import EngineOverloaded, GatewayError, ModelNotFound

SECRET = "the secret of the bug"  # stands for what a stack may show


def an_app() -> FastAPI:
    app = FastAPI()
    install_problems(app)
    app.add_middleware(RequestIds)

    @app.get("/bug")
    async def bug() -> None:
        raise RuntimeError(SECRET)

    @app.get("/late-bug")
    async def late_bug() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"so far"
            raise RuntimeError(SECRET)

        return StreamingResponse(pieces())

    @app.get("/known/{name}")
    async def known(name: str) -> None:
        failures: dict[str, GatewayError] = {
            "model": ModelNotFound("no such model", param="model"),
            "busy": EngineOverloaded("busy", retry_after_s=2.5),
        }
        raise failures[name]

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    return app


async def ask(path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(an_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, headers={"x-request-id": "mine"})


async def test_a_bug_is_told_with_its_id_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        answer = await ask("/bug")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert answer.headers["x-request-id"] == "mine"
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert line.getMessage() == "bug"
    assert line.exc_info is not None
    assert SECRET in str(line.exc_info[1])
    assert vars(line)["reason"] in answer.json()["error"]["message"]


async def test_a_bug_in_the_middle_of_an_answer_leaves_it_incomplete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(AssertionError), caplog.at_level(logging.INFO):
        await ask("/late-bug")  # the transport asserts that answers are complete
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["bug"]


async def test_a_failure_with_a_name_is_told_in_its_words() -> None:
    answer = await ask("/known/model")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": "no such model",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_advice_on_waiting_goes_with_it() -> None:
    answer = await ask("/known/busy")
    assert answer.status_code == 503
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("3", "2500")


async def test_an_unknown_path_and_a_wrong_method_are_told() -> None:
    unknown, wrong = await ask("/nothing"), await ask("/bug", "POST")
    assert unknown.json()["error"]["code"] == "unknown_url"
    assert wrong.json()["error"]["code"] == "method_not_allowed"
    assert wrong.headers["allow"] == "GET"


async def test_whatever_else_starlette_refuses_is_a_400() -> None:
    answer = await ask("/teapot")
    assert answer.status_code == 400
    assert "stout" not in answer.text


async def test_what_is_not_http_passes_through() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def receive() -> Message:
        raise NotImplementedError

    async def send(message: Message) -> None:
        raise NotImplementedError

    await Bugs(app)({"type": "lifespan"}, receive, send)
    await RequestIds(app)({"type": "lifespan"}, receive, send)
    assert seen == ["lifespan", "lifespan"]
