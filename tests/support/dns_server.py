"""A DNS server over UDP and TCP, whose answers a test says."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
from typing_extensions import override


@dataclass
class DnsServer:
    """`addresses` by name and kind (`A`, `AAAA`); a name that is not there is NXDOMAIN.

    `failing`: answer SERVFAIL. `is_silent`: answer nothing. `needs_tcp`: UDP is told to truncate.
    """

    port: int = 0
    addresses: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    ttl_s: int = 1
    failing: bool = False
    is_silent: bool = False
    needs_tcp: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    over_tcp: int = 0

    @property
    def nameserver(self) -> str:
        return f"127.0.0.1:{self.port}"

    def answer(self, wire: bytes, *, over_udp: bool) -> bytes | None:
        """The answer to a question; None: none."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text(True), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        if self.is_silent:
            return None
        reply = dns.message.make_response(query, recursion_available=True)
        if self.failing:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.addresses:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        elif over_udp and self.needs_tcp:
            reply.flags |= dns.flags.TC
        elif found := self.addresses[name].get(kind):
            reply.answer.append(dns.rrset.from_text(question.name, self.ttl_s, "IN", kind, *found))
        return reply.to_wire()

    async def over_a_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """One question over TCP."""
        self.over_tcp += 1
        (size,) = struct.unpack("!H", await reader.readexactly(2))
        reply = self.answer(await reader.readexactly(size), over_udp=False)
        if reply is not None:
            writer.write(struct.pack("!H", len(reply)) + reply)
            await writer.drain()
        writer.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: DnsServer) -> None:
        self._server = server

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    @override
    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._server.answer(data, over_udp=True)
        if reply is not None:
            self._transport.sendto(reply, addr)


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """A server on a free port until left."""
    here = DnsServer()
    streams = await asyncio.start_server(here.over_a_stream, "127.0.0.1", 0)
    here.port = streams.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Udp(here), ("127.0.0.1", here.port)
    )
    try:
        yield here
    finally:
        transport.close()
        streams.close()
