import json
import logging

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from gateway.api.problems import install_problems, problem
from gateway.errors import Draining, ModelNotFound


def an_app() -> FastAPI:
    app = FastAPI()
    install_problems(app)

    @app.get("/known")
    async def known() -> None:
        raise ModelNotFound('model "x" does not exist here', param="model")

    @app.get("/unreadable")
    async def unreadable() -> None:
        raise HTTPException(400, "details of a library")

    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("a secret detail")

    return app


async def asked(
    path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> httpx.Response:
    transport = httpx.ASGITransport(an_app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.request(method, path, headers=headers)


def test_a_failure_is_told_with_its_status_and_advice() -> None:
    response = problem(Draining("shutting down", retry_after_s=2))
    assert response.status_code == 503
    assert response.headers["retry-after"] == "2"
    assert response.headers["content-type"] == "application/json"
    assert json.loads(bytes(response.body))["error"]["code"] == "gateway_draining"


async def test_a_known_failure_speaks_for_itself() -> None:
    answer = await asked("/known")
    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": 'model "x" does not exist here',
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }


async def test_an_unknown_path_is_named() -> None:
    answer = await asked("/none?key=secret")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "unknown request URL: GET /none"


async def test_a_wrong_method_is_told_which_ones_are_right() -> None:
    answer = await asked("/known", "DELETE")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json()["error"]["code"] == "method_not_allowed"


async def test_what_a_library_says_is_not_passed_on() -> None:
    answer = await asked("/unreadable")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the request could not be read"


async def test_a_bug_is_shown_by_an_id_that_the_log_has_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = await asked("/bug")
    assert answer.status_code == 500
    message = answer.json()["error"]["message"]
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    (told,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert told.getMessage() == "bug"
    assert vars(told)["reason"] in message
    assert told.exc_info


async def test_even_a_bug_has_a_request_id() -> None:
    """Before, the 500 of a bug had none: Starlette writes it outside of all middleware."""
    assert (await asked("/bug")).headers["x-request-id"].startswith("req_")
    answer = await asked("/bug", headers={"x-request-id": "mine"})
    assert answer.headers["x-request-id"] == "mine"
