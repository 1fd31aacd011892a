import signal
from collections.abc import Iterator

import pytest

from gateway import __main__
from gateway.cli import main as command_line


@pytest.fixture
def _signals_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_signals_as_before")
def test_until_a_command_takes_it_ctrl_c_ends_without_a_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, Ctrl-C during the imports printed a stack, or was lost in the middle of one.

    Python raises KeyboardInterrupt anywhere; the system's own way simply ends the process.
    """
    seen: list[object] = []
    monkeypatch.setattr(command_line, "main", lambda: seen.append(signal.getsignal(signal.SIGINT)))
    __main__.main()
    assert seen == [signal.SIG_DFL]
