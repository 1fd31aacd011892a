"""What is done already, as JSON lines: an interrupted comparison goes on where it was. No I/O.

The first line says what is compared and how; a file of another comparison is refused. The last
line may be cut, when the process died within it: that prompt is asked again, as are those that
failed.
"""

from collections.abc import Mapping, Sequence

import msgspec

from gateway.quality.item import Item
from gateway.remote.wrong_input import WrongInput

VERSION = 1


class Header(msgspec.Struct, frozen=True):
    """What must be the same for two runs to be one."""

    a: str
    b: str
    operation: str
    max_tokens: int
    top_logprobs: int
    rule: str
    body: Mapping[str, object] = {}
    compare: int = VERSION


def line_of(value: Header | Item) -> bytes:
    """One line of the file."""
    return msgspec.json.encode(value) + b"\n"


def read_work(raw: bytes, header: Header, keys: Sequence[str], name: str) -> dict[int, Item]:
    """Items that are done, by number. `keys`: of the prompts. Raises WrongInput."""
    lines = raw.splitlines(keepends=True)
    if not lines:
        return {}
    advice = f"give another --resume, or delete {name}"
    try:
        known = msgspec.json.decode(lines[0], type=Header)
    except msgspec.DecodeError as exc:
        raise WrongInput(f"{name} holds no comparison: {advice}") from exc
    different = [field for field in Header.__struct_fields__ if _differs(known, header, field)]
    if different:
        raise WrongInput(f"{name} is of another comparison ({', '.join(different)}): {advice}")
    done: dict[int, Item] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            item = msgspec.json.decode(line, type=Item)
        except msgspec.DecodeError as exc:
            if number == len(lines):
                break  # the process died while it wrote this
            raise WrongInput(f"{name} line {number} cannot be read: {advice}") from exc
        if not 0 <= item.number < len(keys) or keys[item.number] != item.key:
            raise WrongInput(f"{name} line {number} is of a prompt that is not in --prompts now")
        if item.failure is None:
            done[item.number] = item
    return done


def whole_lines(raw: bytes) -> int:
    """How many bytes of the file end with a line end: what comes after is written anew."""
    return raw.rfind(b"\n") + 1


def _differs(known: Header, header: Header, field: str) -> bool:
    return bool(getattr(known, field) != getattr(header, field))
