"""What only the reference does: it leaves nothing open when it closes."""

import anyio
import pytest

from gateway.errors import GatewayError
from gateway.proxy.upstream.reference import HttpxUpstream
from gateway.wire.http import UpstreamRequest
from tests.support.scripted_server import serving, silent

pytestmark = pytest.mark.integration


async def test_a_request_under_way_when_it_closes_fails() -> None:
    async with serving(silent) as it, anyio.create_task_group() as tasks:

        async def send() -> None:
            with pytest.raises(GatewayError):
                await upstream.send(
                    it.origin, UpstreamRequest("GET", "/"), connect_s=5, first_byte_s=5
                )

        async with HttpxUpstream() as upstream:
            tasks.start_soon(send)
            with anyio.fail_after(2):
                while not it.server.requests:  # noqa: ASYNC110 - nothing tells when
                    await anyio.sleep(0.005)
        await it.server.settled()
