import re
import sys

import pytest

from gateway.cli.tables import print_table

IN_BRACKETS = "[bold]m[/x] :fire: http://[fe80::1]:80"


def test_what_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """An IPv6 address was read as markup. It disappeared from the table, or the command failed."""
    print_table(["[a]"], [[IN_BRACKETS]])
    shown = capsys.readouterr().out
    assert IN_BRACKETS in shown
    assert "[a]" in shown


def test_a_long_cell_is_never_cut_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    print_table(["one", "two"], [["x" * 100, "y" * 100]])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert shown.count("x") == shown.count("y") == 100
    assert max(map(len, shown.splitlines())) <= 40


def test_what_is_piped_is_wide(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    print_table(["one"], [["x" * 100]])
    assert "x" * 100 in capsys.readouterr().out
