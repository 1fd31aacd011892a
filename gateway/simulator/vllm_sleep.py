"""vLLM's sleep mode on the wire: `/sleep`, `/wake_up` and `/is_sleeping` of its development mode.

An engine that sleeps takes requests and computes none until it is woken. `mode=wait` sleeps when
what runs is done, `abort` (the default) ends it.

Source: vLLM 0.32, `entrypoints/serve/dev/sleep` and the engine core's `pause_scheduler`.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

import anyio

from gateway.simulator.engine import SimulatedEngine

PATHS: Final = ("/sleep", "/wake_up")


async def sleep_or_wake(engine: SimulatedEngine, path: str, query: str) -> Mapping[str, object]:
    """What `POST` on one of `PATHS` does and answers."""
    given = parse_qs(query)
    if path == "/wake_up":
        await anyio.sleep(engine.options.wake_s)
        engine.is_asleep = False
        return {"status": "awake", "tags": given.get("tags")}
    if given.get("mode", ["abort"])[0] == "abort":
        engine.abort_all()
    await engine.idle()
    engine.is_asleep = True
    return {"status": "sleeping", "level": int(given.get("level", ["1"])[0])}
