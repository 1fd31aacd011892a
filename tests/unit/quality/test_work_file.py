import pytest

from gateway.quality.item import failed_item
from gateway.quality.work_file import Header, line_of, read_work, whole_lines
from gateway.remote.wrong_input import WrongInput
from tests.support.compared import an_item

HEADER = Header("m@http://a", "m@http://b", "chat", 256, 20, "auto")
ITEMS = [an_item(i) for i in range(3)]
KEYS = [item.key for item in ITEMS]
WHOLE = line_of(HEADER) + b"".join(map(line_of, ITEMS))


def test_what_is_done_comes_back_as_it_was() -> None:
    assert read_work(WHOLE, HEADER, KEYS, "f") == dict(enumerate(ITEMS))
    assert read_work(b"", HEADER, KEYS, "f") == {}


def test_a_last_line_that_is_cut_is_asked_again() -> None:
    cut = WHOLE[:-10]
    assert set(read_work(cut, HEADER, KEYS, "f")) == {0, 1}
    assert whole_lines(cut) == len(line_of(HEADER) + b"".join(map(line_of, ITEMS[:2])))
    assert whole_lines(b"no line") == 0


def test_what_failed_is_asked_again() -> None:
    raw = line_of(HEADER) + line_of(failed_item(0, KEYS[0], "no")) + line_of(ITEMS[1])
    assert set(read_work(raw, HEADER, KEYS, "f")) == {1}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"hello\n", "f holds no comparison"),
        (line_of(Header("m@http://a", "x", "chat", 99, 20, "auto")), r"\(b, max_tokens\)"),
        (line_of(HEADER) + b"{}\n" + line_of(ITEMS[0]), "f line 2 cannot be read"),
        (line_of(HEADER) + line_of(an_item(9)), "f line 2 is of a prompt"),
        (line_of(HEADER) + line_of(failed_item(0, "other", "x")), "f line 2 is of a prompt"),
    ],
)
def test_a_file_of_something_else_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(WrongInput, match=words):
        read_work(raw, HEADER, KEYS, "f")
