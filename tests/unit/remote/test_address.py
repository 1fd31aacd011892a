import pytest

from gateway.remote.address import headers_of, key_from, origin_of, shown
from gateway.remote.wrong_input import WrongInput


@pytest.mark.parametrize(
    ("url", "base", "is_shown"),
    [
        ("http://localhost:8000", "", "http://localhost:8000"),
        ("http://localhost:8000/", "", "http://localhost:8000"),
        ("http://localhost:8000/v1", "", "http://localhost:8000"),
        ("https://h/v1/chat/completions", "", "https://h"),
        ("https://h/llm/v1/", "/llm", "https://h/llm"),
        ("http://h/v1/models", "", "http://h"),
        ("http://[::1]:8080/x", "/x", "http://[::1]:8080/x"),
    ],
)
def test_a_base_url_is_taken_as_people_have_it(url: str, base: str, is_shown: str) -> None:
    origin = origin_of(url)
    assert origin.base_path == base
    assert shown(origin) == is_shown


def test_ports_are_those_of_the_scheme() -> None:
    assert (origin_of("http://h").port, origin_of("https://h").port) == (80, 443)
    assert origin_of("https://h:80", "ca.pem").ca_file == "ca.pem"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://h",
        "http://",
        "http://h:port",
        "http://h:99999",
        "http://[::1",
        "http://h/?a=b",
        "http://h/#a",
        "http://h/a b",
        "http://h/ä",
        "",
    ],
)
def test_what_is_no_base_url_is_told(url: str) -> None:
    with pytest.raises(WrongInput):
        origin_of(url)


def test_a_secret_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(WrongInput) as told:
        origin_of("http://me:sesame@h")
    assert "sesame" not in str(told.value)


def test_the_key_comes_from_the_environment() -> None:
    environ = {"OPENAI_API_KEY": "a", "MINE": " b ", "ODD": "é", "EMPTY": ""}
    assert key_from(environ, None) == "a"
    assert key_from(environ, "MINE") == "b"
    assert key_from({}, None) is None
    with pytest.raises(WrongInput, match="EMPTY"):
        key_from(environ, "EMPTY")
    with pytest.raises(WrongInput, match="no header"):
        key_from(environ, "ODD")
    with pytest.raises(WrongInput) as told:
        key_from(environ, "sk-secret")
    assert "sk-secret" not in str(told.value)


def test_headers_of_every_request() -> None:
    assert headers_of(None) == ((b"content-type", b"application/json"),)
    assert headers_of("k", ["X-Tenant:  a b"])[1:] == (
        (b"authorization", b"Bearer k"),
        (b"x-tenant", b"a b"),
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("no colon", "name: value"),
        ("a: b\r\nc: d", "name: value"),
        ("Authorization: Bearer sesame", "--api-key-env"),
        ("host: h", "by the command itself"),
    ],
)
def test_wrong_headers_are_told_without_their_values(line: str, words: str) -> None:
    with pytest.raises(WrongInput, match=words) as told:
        headers_of(None, [line])
    assert "sesame" not in str(told.value)
