import anyio
import pytest

from gateway.simulator.emit import Broken, Emitter
from gateway.simulator.faults import read_fault

EVENT = '{"a":1}'
SENT = b'data: {"a":1}\n\n'


class FakeWire:
    """Keeps what was written, piece by piece."""

    def __init__(self) -> None:
        self.left = anyio.Event()
        self.pieces: list[bytes] = []
        self.ends: list[str] = []

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    def piece(self, data: bytes) -> None:
        self.pieces.append(data)

    async def drain(self) -> None:
        pass

    def end(self) -> None:
        self.ends.append("end")

    def reset(self) -> None:
        self.ends.append("reset")


def an_emitter(fault: str = "") -> tuple[FakeWire, Emitter]:
    wire = FakeWire()
    return wire, Emitter(wire, read_fault(fault) if fault else None)  # type: ignore[arg-type]


async def until_broken(emitter: Emitter, limit: int = 10) -> int:
    """How many events with content came through."""
    for number in range(limit):
        try:
            await emitter.event(EVENT, content=True)
        except Broken:
            return number
    return limit


async def test_an_event_is_a_line_and_an_empty_one() -> None:
    wire, emitter = an_emitter()
    await emitter.begin()
    await emitter.event(EVENT)
    await emitter.done()
    assert wire.body == SENT + b"data: [DONE]\n\n"


async def test_half_a_surrogate_pair_does_not_end_the_engine() -> None:
    wire, emitter = an_emitter()
    await emitter.event('"\ud800"')
    assert wire.body == b'data: "?"\n\n'


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        ("reset-after=3", ["reset"]),
        ("truncate-after=3", ["end"]),
        ("abort-after=3", []),
        ("error-event-after=3", []),
    ],
)
async def test_a_fault_strikes_after_so_many_events_with_content(
    fault: str, ends: list[str]
) -> None:
    wire, emitter = an_emitter(fault)
    await emitter.event(EVENT)  # without content: it does not count
    assert await until_broken(emitter) == 3
    assert wire.ends == ends


@pytest.mark.parametrize("fault", ["stall-after=2", "stall-before-content"])
async def test_a_stall_lasts_until_the_client_has_left(fault: str) -> None:
    wire, emitter = an_emitter(fault)
    wire.left.set()
    with anyio.fail_after(5):
        assert await until_broken(emitter) == (2 if fault.endswith("2") else 0)


async def test_nothing_at_all_comes_before_a_stall_before_content() -> None:
    wire, emitter = an_emitter("stall-before-content")
    with anyio.move_on_after(0.02) as waited:
        await emitter.begin()
    assert waited.cancelled_caught
    assert wire.body == b""


async def test_a_stall_after_events_lets_the_role_through() -> None:
    wire, emitter = an_emitter("stall-after=0")
    await emitter.begin()
    await emitter.event(EVENT)
    assert wire.body == SENT


@pytest.mark.parametrize("at", [0, 1, len(SENT), len(SENT) + 5])
async def test_a_stream_is_cut_at_the_byte(at: int) -> None:
    wire, emitter = an_emitter(f"cut-at-byte={at}")
    assert await until_broken(emitter) == at // len(SENT)
    assert wire.body == (SENT * 2)[:at]
    assert wire.ends == ["reset"]


async def test_no_done_leaves_out_the_last_event() -> None:
    wire, emitter = an_emitter("no-done")
    await emitter.done()
    assert wire.body == b""


async def test_garbage_comes_once_after_the_first_token() -> None:
    wire, emitter = an_emitter("garbage")
    for _ in range(3):
        await emitter.event(EVENT, content=True)
    assert wire.body == b"data: {not json\n\n" + SENT * 3


async def test_one_event_is_huge() -> None:
    wire, emitter = an_emitter("huge-event=1000")
    for _ in range(2):
        await emitter.event(EVENT, content=True)
    assert wire.body.count(b"x" * 1000) == 1
    assert wire.body.endswith(SENT)


async def test_line_ends_may_be_of_two_characters() -> None:
    wire, emitter = an_emitter("crlf")
    await emitter.event(EVENT)
    assert wire.body == b'data: {"a":1}\r\n\r\n'


async def test_a_stream_is_split_into_pieces_of_so_many_bytes() -> None:
    wire, emitter = an_emitter("split=4")
    await emitter.event(EVENT)
    assert wire.body == SENT
    assert {len(piece) for piece in wire.pieces[:-1]} == {4}


async def test_a_split_into_nothing_is_one_byte_at_a_time() -> None:
    wire, emitter = an_emitter("split=0")
    await emitter.event(EVENT)
    assert {len(piece) for piece in wire.pieces} == {1}


async def test_a_dripping_stream_comes_byte_by_byte_with_a_pause_after_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    wire, emitter = an_emitter("drip")
    with monkeypatch.context() as patch:
        patch.setattr(anyio, "sleep", sleep)
        await emitter.event(EVENT)
    assert {len(piece) for piece in wire.pieces} == {1}
    assert len(slept) == len(SENT)


async def test_a_fault_whose_value_is_no_number_counts_from_zero() -> None:
    wire, emitter = an_emitter("usage=null")
    await emitter.event(EVENT, content=True)
    assert wire.body == SENT
