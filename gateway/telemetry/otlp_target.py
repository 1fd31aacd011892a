"""Where spans are sent, as values."""

from dataclasses import dataclass, field
from enum import StrEnum


class OtlpProtocol(StrEnum):
    """How OTLP travels, in the words of `OTEL_EXPORTER_OTLP_PROTOCOL`."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


@dataclass(frozen=True, slots=True)
class OtlpTarget:
    """A collector. `url` is whole: with the path for HTTP, without one for gRPC.

    `headers` may hold secrets. The files are paths of PEM files; None: the system's authorities,
    and no certificate of our own.
    """

    url: str
    protocol: OtlpProtocol
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeout_s: float = 10.0
    gzip: bool = False
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None

    @property
    def is_secure(self) -> bool:
        return self.url.startswith("https:")
