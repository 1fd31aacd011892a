import httpx
import pytest
import respx
import typer

from gateway.cli.admin_api import AdminApi, Broken, path_to


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_KEY", "sk-admin")


def failed(capsys: pytest.CaptureFixture[str], url: str | None = None) -> tuple[int, str]:
    with pytest.raises(typer.Exit) as left:
        AdminApi(url).ask("GET", "/admin/keys")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "sk-admin" not in told.err
    return left.value.exit_code, told.err.strip()


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        (("keys",), "/admin/keys"),
        (("keys", "a", "rotate"), "/admin/keys/a/rotate"),
        (("keys", "org/a?b#c%"), "/admin/keys/org%2Fa%3Fb%23c%25"),
        (("limits", "é"), "/admin/limits/%C3%A9"),
    ],
)
def test_a_path_may_hold_any_name(parts: tuple[str, ...], path: str) -> None:
    assert path_to(*parts) == path


@respx.mock
def test_the_admin_key_is_sent_and_nothing_else() -> None:
    route = respx.post("http://localhost:8080/admin/keys").respond(201, json={"name": "a"})
    answer = AdminApi(None).ask("POST", "/admin/keys", body={"name": "a"})
    assert answer.json() == {"name": "a"}
    request = route.calls.last.request
    assert request.headers["authorization"] == "Bearer sk-admin"
    assert request.content == b'{"name":"a"}'


@respx.mock
@pytest.mark.parametrize("option", ["http://here:1/", None])
def test_the_option_wins_over_the_environment(
    option: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_URL", "http://there:2")
    respx.get("http://here:1/admin/keys").respond(json="here")
    respx.get("http://there:2/admin/keys").respond(json="there")
    answer = AdminApi(option).ask("GET", "/admin/keys", query={"limit": "3"})
    assert answer.json() == ("there" if option is None else "here")
    assert answer.request.url.query == b"limit=3"


def test_without_an_admin_key_nothing_is_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWAY_ADMIN_KEY")
    assert failed(capsys) == (2, "set GATEWAY_ADMIN_KEY to the admin key of the gateway")


def test_a_key_that_no_header_can_hold_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_KEY", "schlüssel")
    assert failed(capsys)[0] == 2


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://x"])
def test_an_address_is_one_of_http(capsys: pytest.CaptureFixture[str], url: str) -> None:
    told = "the gateway's address must begin with http:// or https://"
    assert failed(capsys, url) == (2, told)


@respx.mock
@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 2), (413, 2), (415, 2), (404, 1), (409, 1), (500, 1), (503, 1)],
)
def test_the_gateway_says_itself_what_was_wrong(
    capsys: pytest.CaptureFixture[str], status: int, code: int
) -> None:
    body = {"error": {"message": "what happened", "type": "t", "param": None, "code": None}}
    respx.get("http://localhost:8080/admin/keys").respond(status, json=body)
    assert failed(capsys) == (code, "what happened")


@respx.mock
@pytest.mark.parametrize("body", ["<html>", '"text"', "{}", "[]"])
def test_what_answers_may_be_no_gateway(capsys: pytest.CaptureFixture[str], body: str) -> None:
    respx.get("http://localhost:8080/admin/keys").respond(404, text=body)
    assert failed(capsys) == (1, "localhost answered 404: is it a gateway?")


@respx.mock
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ConnectError("refused"), "cannot reach the gateway at http://localhost:8080: "),
        (httpx.ReadTimeout("late"), "no answer from http://localhost:8080 within 20 s"),
    ],
)
def test_no_answer_is_a_failure(
    capsys: pytest.CaptureFixture[str], error: Exception, told: str
) -> None:
    respx.get("http://localhost:8080/admin/keys").mock(side_effect=error)
    code, said = failed(capsys)
    assert code == 1
    assert said.startswith(told)


def test_an_address_that_is_none_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(capsys, "http://[")[0] == 1


@respx.mock
def test_events_are_told_until_the_gateway_ends_them() -> None:
    content = b'data: {"a":1}\n\n: nothing\n\ndata: {"a":2}\n\n'
    route = respx.get("http://localhost:8080/admin/live").respond(content=content)
    assert list(AdminApi(None).events("/admin/live")) == ['{"a":1}', '{"a":2}']
    assert route.calls[0].request.headers["authorization"] == "Bearer sk-admin"


@respx.mock
def test_events_that_are_refused_end_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    error = {"error": {"message": "32 are watching", "type": "x", "param": None, "code": None}}
    for status, code in ((503, 1), (401, 2)):
        respx.get("http://localhost:8080/admin/live").respond(status, json=error)
        with pytest.raises(typer.Exit) as left:
            list(AdminApi(None).events("/admin/live"))
        assert left.value.exit_code == code
        assert capsys.readouterr().err == "32 are watching\n"


@respx.mock
def test_events_that_break_off_say_why() -> None:
    respx.get("http://localhost:8080/admin/live").mock(side_effect=httpx.ReadError("reset"))
    with pytest.raises(Broken, match="cannot reach the gateway at http://localhost:8080: reset"):
        list(AdminApi(None).events("/admin/live"))
