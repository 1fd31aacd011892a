import pytest

from gateway.cli.progress import Bar


def test_nothing_is_shown_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.advance()
        bar.begin("work", 2)
        bar.advance()
        bar.advance(failed=True)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_it_counts_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with Bar() as bar:
        bar.begin("[work]", 2)
        bar.advance()
        bar.advance(failed=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "[work]" in err
    assert "2/2" in err
    assert "1 failed" in err
