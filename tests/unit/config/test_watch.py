from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from watchfiles import Change

from gateway.config import watch
from gateway.config.watch import file_changes, fingerprint

CHANGE = (Change.modified, "anything in the folder")


def test_a_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("a")
    other.write_text("a")
    assert fingerprint(one) == fingerprint(other)
    other.write_text("b")
    assert fingerprint(one) != fingerprint(other)


def test_a_file_that_cannot_be_read_has_no_fingerprint(tmp_path: Path) -> None:
    assert fingerprint(tmp_path / "absent") is None
    assert fingerprint(tmp_path) is None


async def test_only_a_change_of_the_content_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("a")
    contents = ["a", "b", "b", None, "b"]

    async def events(*_: object, **__: object) -> AsyncIterator[set[object]]:
        for content in contents:
            if content is None:
                file.unlink()
            else:
                file.write_text(content)
            yield {CHANGE}

    monkeypatch.setattr(watch, "awatch", events)
    told = [fingerprint(file) async for _ in file_changes(file, fingerprint(file))]
    file.write_text("b")
    assert told == [fingerprint(file), None, fingerprint(file)]


async def test_a_change_before_the_watch_began_is_found_by_looking_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_LOOK_AGAIN_MS", 10)
    file = tmp_path / "gateway.yaml"
    file.write_text("a")
    served = fingerprint(file)
    file.write_text("b")
    with anyio.fail_after(10):
        async with aclosing(file_changes(file, served)) as changes:
            await anext(changes)


async def test_a_config_map_that_swaps_its_link_is_noticed(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "gateway.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "gateway.yaml"
    file.symlink_to("..data/gateway.yaml")

    async def swap() -> None:
        (tmp_path / "..new").symlink_to("..2")
        (tmp_path / "..new").rename(tmp_path / "..data")

    with anyio.fail_after(15):
        async with (
            aclosing(file_changes(file, fingerprint(file))) as changes,
            anyio.create_task_group() as group,
        ):
            group.start_soon(swap)
            await anext(changes)
    assert file.read_text() == "2"
