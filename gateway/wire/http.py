"""One HTTP request to an engine, as values."""

from dataclasses import dataclass

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]


class UpstreamRequest(msgspec.Struct, frozen=True, gc=False):
    """`path` starts with a slash; the replica's base path is put before it.

    `headers` are all but host, content-length and connection, which the transport writes.
    """

    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a replica listens. `base_path` has no trailing slash and may be empty."""

    scheme: str
    host: str
    port: int
    base_path: str = ""
    ca_file: str | None = None
