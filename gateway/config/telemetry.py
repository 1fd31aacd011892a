"""What the gateway records of itself: traces, and the stories of recent requests."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from gateway.config.base import Number, Section
from gateway.config.secrets import Secret


class Telemetry(Section):
    """Traces over OTLP, and what is kept for diagnosis.

    OpenTelemetry's `OTEL_*` variables hold where a key is absent.
    """

    otlp_endpoint: str | None = Field(
        None,
        description="The collector: `http://host:4317` for gRPC, `http://host:4318` for HTTP, "
        "`https` for TLS. Without one nothing is traced.",
    )
    otlp_protocol: Literal["grpc", "http/protobuf"] | None = Field(
        None, description="How spans are sent; default: `grpc` to port 4317, else `http/protobuf`."
    )
    otlp_headers: dict[str, Secret] = Field(
        {}, description="Headers that the collector asks for, by name."
    )
    sample_ratio: Annotated[float, Field(ge=0, le=1), Number] | None = Field(
        None,
        description="The share of requests that is traced where the caller has not decided; "
        "default: all.",
    )
    slow_s: Annotated[float, Field(gt=0, le=86_400), Number] = Field(
        10, description="Requests that take this long are always traced, as are failed ones."
    )
    record_content: bool = Field(
        False, description="Also record prompts and answers in traces. Think twice."
    )
    max_callers: Annotated[int, Field(ge=0, le=10_000), Number] = Field(
        100,
        description="How many callers have metrics of their own; the rest counts as `other`. "
        "Holds from the next start.",
    )
    recent_requests: Annotated[int, Field(ge=0, le=100_000), Number] = Field(
        1000,
        description="How many requests each worker remembers for `/admin/requests`, at 2 KiB each.",
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_a_url(cls, given: str | None) -> str | None:
        if given is not None and (wrong := wrong_with_url(given)) is not None:
            raise ValueError(wrong)
        return given

    @model_validator(mode="after")
    def _headers_have_names(self) -> Self:
        for name in self.otlp_headers:
            if not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"otlp_headers: {name!r} is no name of a header")
        return self


def wrong_with_url(given: str) -> str | None:
    """Why this is no collector's address; None: it is one."""
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError:
        return "must be a URL such as http://collector:4318"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must be a URL such as http://collector:4318"
    if parts.username is not None or parts.query or parts.fragment:
        return "must have no user, query or fragment; secrets belong into otlp_headers"
    return None
