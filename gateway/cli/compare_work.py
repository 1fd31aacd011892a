"""The file from which an interrupted comparison goes on."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from gateway.quality.entry import Entry
from gateway.quality.item import Item
from gateway.quality.work_file import Header, line_of, read_work, whole_lines
from gateway.remote.wrong_input import WrongInput


class WorkFile:
    """Items as they are done; every one is on the disk before the next. `path` None: nowhere."""

    def __init__(self, path: Path | None, header: Header, entries: Sequence[Entry]) -> None:
        """Reads what is there. Raises WrongInput."""
        self.items: dict[int, Item] = {}
        self._path = path
        self._header = header
        self._file: BinaryIO | None = None
        if path is not None and path.exists():
            keys = [entry.key for entry in entries]
            self.items = read_work(_bytes_of(path), header, keys, str(path))

    def __enter__(self) -> Self:
        if self._path is not None:
            raw = _bytes_of(self._path) if self._path.exists() else b""
            file = self._file = self._path.open("r+b" if raw else "wb")
            file.seek(whole_lines(raw))
            file.truncate()
            if not whole_lines(raw):
                file.write(line_of(self._header))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def keep(self, item: Item) -> None:
        """One more is done."""
        self.items[item.number] = item
        if self._file is not None:
            self._file.write(line_of(item))
            self._file.flush()


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise WrongInput(f"--resume {path}: {(exc.strerror or str(exc)).lower()}") from exc
