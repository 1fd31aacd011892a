from collections.abc import Iterator

import httpx
import msgspec
import pytest
import respx
import typer
from rich.console import Console

from gateway.cli import top as top_module
from gateway.live.compose import view_of
from gateway.live.view import View
from tests.support.command import run_command
from tests.support.live import a_moment, a_view

URL = "http://localhost:8080/admin/live"


@pytest.fixture(autouse=True)
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[respx.MockRouter]:
    monkeypatch.setenv("GATEWAY_ADMIN_KEY", "sk-admin")
    with respx.mock(assert_all_called=False) as router:
        yield router


def events(*views: View) -> bytes:
    return b"".join(b"data: " + msgspec.json.encode(view) + b"\n\n" for view in views)


def first() -> View:
    """Nothing to compare with yet."""
    return view_of(None, a_moment())


def test_once_waits_for_rates(gateway: respx.MockRouter) -> None:
    gateway.get(URL).respond(content=events(first(), a_view()))
    outcome = run_command("top", "--once")
    assert outcome.code == 0
    assert "5.0 req/s" in outcome.out
    assert gateway.calls[0].request.headers["authorization"] == "Bearer sk-admin"


def test_into_a_pipe_it_prints_once(gateway: respx.MockRouter) -> None:
    gateway.get(URL).respond(content=events(first(), a_view(), a_view()))
    assert run_command("top").out.count("req/s ·") == 1


def test_json_is_a_line_for_each_view(gateway: respx.MockRouter) -> None:
    views = [first(), a_view()]
    gateway.get(URL).respond(content=events(*views))
    lines = run_command("top", "--json").out.splitlines()
    assert [msgspec.json.decode(line, type=View) for line in lines] == views
    once = run_command("top", "--json", "--once").out
    assert msgspec.json.decode(once, type=View) == views[1]


def test_a_gateway_that_shuts_down_before_is_said(gateway: respx.MockRouter) -> None:
    gateway.get(URL).respond(content=events(first()))
    outcome = run_command("top", "--once")
    assert (outcome.code, outcome.err) == (1, "the gateway at http://localhost:8080 shuts down\n")


def test_one_that_cannot_be_reached_is_said(gateway: respx.MockRouter) -> None:
    gateway.get(URL).mock(side_effect=httpx.ConnectError("refused"))
    outcome = run_command("top", "--once")
    assert outcome.code == 1
    assert outcome.err.startswith("cannot reach the gateway at http://localhost:8080")


class Terminal:
    """Says that a terminal is there, and keeps what it was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, waits: int) -> None:
        self.shown: list[str] = []
        self._waits = waits
        monkeypatch.setattr(top_module, "Console", lambda **_: Console(width=200, height=60))
        monkeypatch.setattr("sys.stdout", self)
        monkeypatch.setattr(top_module, "Live", lambda **_: self)
        monkeypatch.setattr("time.sleep", self.sleep)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, what: object, *, refresh: bool) -> None:
        console = Console(width=200, height=60)
        with console.capture() as told:
            console.print(what)
        self.shown.append(told.get())
        assert refresh

    def sleep(self, _: float) -> None:
        self._waits -= 1
        if self._waits < 0:
            raise KeyboardInterrupt


def test_a_terminal_is_kept_up_to_date_while_the_gateway_comes_and_goes(
    gateway: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal(monkeypatch, waits=2)
    gateway.get(URL).mock(
        side_effect=[
            httpx.Response(200, content=events(first(), a_view())),
            httpx.ConnectError("refused"),
            httpx.Response(200, content=events(a_view())),
        ]
    )
    monkeypatch.setattr("sys.argv", ["gateway", "top"])
    top_module.top(url=None, once=False, as_json=False)
    texts = ["measuring", "5.0 req/s", "it ended the stream", "cannot reach", "5.0 req/s"]
    assert len(terminal.shown) == len(texts) + 1
    for shown, text in zip(terminal.shown, texts, strict=False):
        assert text in shown


def test_a_terminal_is_not_taken_for_a_gateway_that_never_was_there(
    gateway: respx.MockRouter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Terminal(monkeypatch, waits=0)
    gateway.get(URL).mock(side_effect=httpx.ReadTimeout("late"))
    with pytest.raises(typer.Exit) as left:
        top_module.top(url=None, once=False, as_json=False)
    assert left.value.exit_code == 1
    assert "no answer from http://localhost:8080" in capsys.readouterr().err
