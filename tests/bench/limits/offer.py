"""An open-loop load on several gateways in turn: calls come when they come, answered or not."""

import time
from collections.abc import Sequence

import anyio
import httpx

from tests.bench.candidates import KEY
from tests.bench.engine import MODEL
from tests.bench.processes import BenchFailed

_BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5}
_CONNECTIONS = 200
_PATIENCE_S = 10.0


async def offered(ports: Sequence[int], per_s: float, seconds: float) -> list[float]:
    """When calls were admitted: their answers' times, in seconds since the first was offered.

    An answer comes after its admission, so the curve is never too high. Raises BenchFailed.
    """
    admitted: list[float] = []
    limits = httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=_PATIENCE_S) as client:
        began_s = time.monotonic()

        async def call(port: int) -> None:
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            status = (await client.post(url, json=_BODY)).status_code
            if status == 200:
                admitted.append(time.monotonic() - began_s)
            elif status != 429:
                raise BenchFailed(f"a gateway answered {status}")

        async with anyio.create_task_group() as tasks:
            for number in range(round(per_s * seconds)):
                await anyio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))
                tasks.start_soon(call, ports[number % len(ports)])
    return [at for at in admitted if at <= seconds]
