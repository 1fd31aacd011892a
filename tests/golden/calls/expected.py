"""What every engine is sent for the calls in `cases.json`."""

import json
from pathlib import Path
from typing import Any

import msgspec

from gateway.engines import ENGINES
from gateway.engines.adapter import EngineAdapter, Served
from gateway.errors import GatewayError
from gateway.wire.ask import Operation, read_ask

_HERE = Path(__file__).parent
CASES: dict[str, dict[str, Any]] = json.loads((_HERE / "cases.json").read_text())
EXPECTED = _HERE / "expected.json"
_SERVED = Served("org/served", "sk-engine")


def sent() -> dict[str, dict[str, Any]]:
    """By case, by engine: path and body, or the error that the client gets."""
    return {
        name: {kind: _sent_to(adapter, case) for kind, adapter in ENGINES.items()}
        for name, case in CASES.items()
    }


def dumps(value: object) -> str:
    return json.dumps(value, indent=1) + "\n"


def _sent_to(adapter: EngineAdapter, case: dict[str, Any]) -> object:
    operation = Operation(case["operation"])
    if operation not in adapter.operations:
        return "not supported"
    model = "m" if operation is Operation.GENERATE else None
    ask = read_ask(msgspec.json.encode(case["body"]), operation, model=model)
    try:
        request = adapter.prepare(ask, _SERVED, "req-1")
    except GatewayError as error:
        return {"status": error.status, "message": error.public, "param": error.param}
    assert dict((*request.fixed, *request.headers)) == {
        b"content-type": b"application/json",
        b"x-request-id": b"req-1",
        b"authorization": b"Bearer sk-engine",
    }
    return {"path": request.path, "body": json.loads(request.body)}
