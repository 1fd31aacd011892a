"""A transport that keeps what is written, and tells its protocol what a socket would."""

import asyncio

from typing_extensions import override


class FakeTransport(asyncio.Transport):
    """`unsent_bytes` is what the other side has not taken yet."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False
        self.is_closed = False
        self.is_half_closed = False
        self.can_half_close = True
        self._is_reading = True
        self.unsent_bytes = 0

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    @override
    def abort(self) -> None:
        self.is_aborted = True

    @override
    def pause_reading(self) -> None:
        assert self._is_reading
        self._is_reading = False

    @override
    def resume_reading(self) -> None:
        assert not self._is_reading
        self._is_reading = True

    @override
    def is_reading(self) -> bool:
        return self._is_reading

    @override
    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    @override
    def close(self) -> None:
        self.is_closed = True

    @override
    def is_closing(self) -> bool:
        return self.is_closed or self.is_aborted

    @override
    def can_write_eof(self) -> bool:
        return self.can_half_close

    @override
    def write_eof(self) -> None:
        self.is_half_closed = True
