from pathlib import Path

import pytest

from gateway.cli.compare_work import WorkFile
from gateway.quality.entry import entries_of
from gateway.quality.item import Item, failed_item
from gateway.quality.work_file import Header
from gateway.remote.prompt_file import a_prompt
from gateway.remote.wrong_input import WrongInput

HEADER = Header("a", "b", "chat", 9, 20, "auto")
ENTRIES = entries_of([a_prompt("one"), a_prompt("two")], "auto", "f")


def an_item(number: int) -> Item:
    item = failed_item(number, ENTRIES[number].key, "")
    return Item(number, item.key, item.a, item.b, is_same=True, common_ratio=1.0)


def test_what_was_done_is_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    with WorkFile(path, HEADER, ENTRIES) as work:
        work.keep(an_item(0))
        assert len(path.read_bytes().splitlines()) == 2
    with WorkFile(path, HEADER, ENTRIES) as again:
        assert again.items == {0: an_item(0)}
        again.keep(an_item(1))
    assert set(WorkFile(path, HEADER, ENTRIES).items) == {0, 1}


def test_a_line_that_was_cut_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "w.jsonl"
    with WorkFile(path, HEADER, ENTRIES) as work:
        work.keep(an_item(0))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"number": 1, "ke')
    with WorkFile(path, HEADER, ENTRIES) as again:
        again.keep(an_item(1))
    assert path.read_bytes().startswith(whole)
    assert set(WorkFile(path, HEADER, ENTRIES).items) == {0, 1}


def test_without_a_file_nothing_is_kept() -> None:
    with WorkFile(None, HEADER, ENTRIES) as work:
        work.keep(an_item(0))
    assert work.items == {0: an_item(0)}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match="is a directory"):
        WorkFile(tmp_path, HEADER, ENTRIES)
