import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.cli import follow
from gateway.cli.follow import LONGEST_BYTES, followed, lines_of


class Scene:
    """A file, and what happens to it during each wait."""

    def __init__(self, folder: Path, *happens: Callable[["Scene"], object]) -> None:
        self.file = folder / "log"
        self.file.write_bytes(b"one\n")
        self._happens = iter(happens)

    def sleep(self, _: float) -> None:
        happen = next(self._happens, None)
        if happen is None:
            raise KeyboardInterrupt
        happen(self)

    def add(self, text: bytes) -> None:
        with self.file.open("ab") as out:
            out.write(text)

    def all(self) -> list[bytes | None]:
        found: list[bytes | None] = []
        lines: Iterator[bytes | None] = followed(self.file, self.sleep)
        try:
            for line in lines:
                found.append(line)  # noqa: PERF402  # what came before the end is asked for
        except KeyboardInterrupt:
            pass
        return found


def test_what_is_added_comes_and_a_line_only_when_it_is_whole(tmp_path: Path) -> None:
    scene = Scene(tmp_path, lambda it: it.add(b"tw"), lambda it: it.add(b"o\nthree\n"))
    assert scene.all() == [b"one\n", None, None, b"two\n", b"three\n", None]


def test_a_rotated_file_is_followed_and_nothing_of_the_old_one_is_lost(tmp_path: Path) -> None:
    def rotate(it: Scene) -> None:
        it.add(b"last\n")
        it.file.rename(tmp_path / "log.1")
        it.file.write_bytes(b"new\n")

    scene = Scene(tmp_path, rotate, lambda _: None)
    assert [line for line in scene.all() if line] == [b"one\n", b"last\n", b"new\n"]


def test_a_file_that_is_away_for_a_while_is_waited_for(tmp_path: Path) -> None:
    scene = Scene(tmp_path, lambda it: it.file.unlink(), lambda it: it.file.write_bytes(b"new\n"))
    assert [line for line in scene.all() if line] == [b"one\n", b"new\n"]


def test_a_truncated_file_begins_anew(tmp_path: Path) -> None:
    scene = Scene(tmp_path, lambda it: it.file.write_bytes(b"x\n"))
    assert [line for line in scene.all() if line] == [b"one\n", b"x\n"]


def test_a_file_that_is_not_there_at_first_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        next(followed(tmp_path / "none", lambda _: None))


def test_a_line_without_end_comes_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [len(piece) for piece in lines_of(io.BytesIO(b"x" * (LONGEST_BYTES + 5)))] == [
        LONGEST_BYTES,
        5,
    ]
    monkeypatch.setattr(follow, "LONGEST_BYTES", 4)
    scene = Scene(tmp_path)
    scene.file.write_bytes(b"x" * 9)
    assert scene.all() == [b"xxxx", b"xxxx", None]


def test_waiting_costs_little(tmp_path: Path) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)

    (tmp_path / "log").write_bytes(b"")
    assert list(itertools.islice(followed(tmp_path / "log", sleep), 3)) == [None] * 3
    assert min(waits) >= 0.1
