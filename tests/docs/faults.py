"""What is promised, fault by fault: the tables of docs/reliability.md, made of the tests' own."""

from collections.abc import Iterable, Mapping
from typing import Final

from tests.chaos.client_faults import CLIENT_FAULTS, ClientFault
from tests.chaos.engine_faults import ENGINE_FAULTS
from tests.chaos.fault import Ends, EngineFault
from tests.chaos.process_faults import PROCESS_FAULTS
from tests.chaos.redis_faults import REDIS_FAULTS, RedisFault

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

_ANSWER = "the answer"
_BESIDE: Final[Mapping[Ends, str]] = {
    Ends.ANSWERED: _ANSWER,
    Ends.HIDDEN: "the answer, of another replica",
    Ends.RESUMED: "the answer: another replica goes on",
    Ends.AVOIDED: "the answer: another replica is asked at once",
}
_OF: Final = {("stream",): "stream", ("whole",): "not streamed", ("stream", "whole"): "both"}


def engines() -> Table:
    rows = [(f.name, _OF[f.of], _beside(f), _alone(f)) for f in ENGINE_FAULTS]
    return ("an engine that …", "calls", "another replica is well", "there is no other"), _merged(
        rows
    )


def _beside(fault: EngineFault) -> str:
    return _BESIDE.get(fault.ends) or _status(fault.status, fault.code)


def _alone(fault: EngineFault) -> str:
    match fault.ends:
        case Ends.ANSWERED:
            return _ANSWER
        case Ends.RESUMED:
            return f"what came until then, and an error event `{fault.code}`"
        case _:
            return _status(fault.status, fault.code)


def clients() -> Table:
    rows = [(f.name, _gets(f), f"`{f.logged}`" if f.logged else "none") for f in CLIENT_FAULTS]
    return ("a client that …", "gets", "line in the log"), _merged(rows)


def _gets(fault: ClientFault) -> str:
    if fault.status is None:
        return "nothing: the engine's request is closed at once"
    closed = ", and the connection is closed" if fault.is_closed else ""
    return _status(fault.status, fault.code) + closed


def stores() -> Table:
    rows = [(f.name, _under_local(f), _under_deny(f)) for f in REDIS_FAULTS]
    return ("Redis …", "calls with `local`", "calls with `deny`"), _merged(rows)


def _under_local(fault: RedisFault) -> str:
    return "answered, by the limits of each worker" if fault.stops else "answered"


def _under_deny(fault: RedisFault) -> str:
    if fault.blinks:
        return "answered; of that moment perhaps 503 `limits_unavailable`"
    return "503 `limits_unavailable`" if fault.stops else "answered"


def processes() -> Table:
    return ("a gateway that …", "promise"), [(f.name, f.promise) for f in PROCESS_FAULTS]


def _status(status: int, code: str | None) -> str:
    return f"{status} `{code}`" if code else str(status)


def _merged(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows that promise the same, in one."""
    names: dict[tuple[str, ...], list[str]] = {}
    for name, *promise in rows:
        names.setdefault(tuple(promise), []).append(name)
    return [("; ".join(dict.fromkeys(given)), *promise) for promise, given in names.items()]
