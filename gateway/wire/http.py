"""One HTTP request to an engine, as values."""

import msgspec

Headers = tuple[tuple[bytes, bytes], ...]


class UpstreamRequest(msgspec.Struct, frozen=True, gc=False):
    """`path` starts with a slash; the replica's base path is put before it.

    `fixed` and `headers` together are all but host, content-length and connection, which the
    transport writes; `fixed` are the same in every request, so they are encoded only once.
    """

    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""
    fixed: Headers = ()


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a replica listens. `base_path` has no trailing slash and may be empty."""

    scheme: str
    host: str
    port: int
    base_path: str = ""
    ca_file: str | None = None
