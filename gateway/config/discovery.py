"""Where the replicas of a variant are looked up, instead of being listed."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from gateway.config.base import Number, Section

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_PORT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_LARGEST_PORT = 65_535
_API_SERVER = "must be https://HOST[:PORT] or http://HOST[:PORT]"

Dns1123 = Annotated[
    str, StringConstraints(max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
]


def _is_host(name: str) -> str:
    if not _HOST.fullmatch(name) or len(name) > 253:
        raise ValueError("must be the name of a host, such as vllm.models.svc.cluster.local")
    try:
        ip_address(name)
    except ValueError:
        return name
    raise ValueError("is an address already: list it under replicas")


def _is_port(port: int | str) -> int | str:
    if isinstance(port, int):
        if not 1 <= port <= _LARGEST_PORT:
            raise ValueError("must be from 1 to 65535")
    elif not _PORT_NAME.fullmatch(port):
        raise ValueError("must be a number, or the name of a port of the service, such as http")
    return port


def _is_path(path: str) -> str:
    path = path.rstrip("/")
    if not path:
        return path
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise ValueError("must begin with / and be ASCII without spaces")
    if "?" in path or "#" in path:
        raise ValueError("must not hold a query or a fragment")
    if path.endswith("/v1"):
        raise ValueError("leave out /v1, the gateway adds it")
    return path


def _is_nameserver(server: str) -> str:
    host, _, port = server.rpartition(":")
    try:
        ip_address(host.strip("[]"))
        _is_port(int(port))
    except ValueError as exc:
        raise ValueError("must be ADDRESS:PORT, such as 127.0.0.1:8600") from exc
    return server


def _is_api_server(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as exc:
        raise ValueError(_API_SERVER) from exc
    if not is_address or parts.username or parts.query or parts.fragment:
        raise ValueError(_API_SERVER)
    return url.rstrip("/")


class Kubernetes(Section):
    """The pods of a service, by its EndpointSlices."""

    service: Dns1123 | None = Field(None, description="The name of the service.")
    selector: (
        Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\s].*$")]
        | None
    ) = Field(
        None,
        description="Instead: a label selector of EndpointSlices, which have the labels of their "
        "service, such as `app=vllm,tier=gpu`.",
    )
    namespace: Dns1123 | None = Field(None, description="Default: the gateway's own.")
    port: Annotated[int | str, Number, AfterValidator(_is_port)] | None = Field(
        None,
        description="Name or number of the service's port; default: its only one, or the one "
        "named `http`.",
    )
    api_server: Annotated[str, AfterValidator(_is_api_server)] | None = Field(
        None, description="Default: the API server of the cluster that the gateway runs in."
    )
    token_file: Path | None = Field(
        None, description="The token to show; default: the service account's."
    )
    ca_file: Path | None = Field(
        None, description="Who signed the API server's certificate; default: the cluster's own."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.service is None) == (self.selector is None):
            raise ValueError("give exactly one of service and selector")
        return self


class Discovery(Section):
    """Replicas that come and go: looked up again and again, by exactly one of the ways."""

    dns: Annotated[str, AfterValidator(_is_host)] | None = Field(
        None, description="A name of which every address is a replica; needs `port`."
    )
    kubernetes: Kubernetes | None = Field(None, description="A service of Kubernetes.")
    port: Annotated[int, Field(ge=1, le=_LARGEST_PORT), Number] | None = Field(
        None, description="With `dns`: where the replicas listen."
    )
    refresh_s: Annotated[float, Field(ge=1, le=3600), Number] = Field(
        5, description="With `dns`: asked again at least so often; sooner where the answer ages."
    )
    nameservers: tuple[Annotated[str, AfterValidator(_is_nameserver)], ...] = Field(
        (), description="With `dns`: whom to ask; default: those of the machine."
    )
    scheme: Literal["http", "https"] = Field("http", description="What the replicas speak.")
    path: Annotated[str, AfterValidator(_is_path)] = Field(
        "", description="What is put before our paths."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.dns is None) == (self.kubernetes is None):
            raise ValueError("give exactly one of dns and kubernetes")
        if self.dns is not None and self.port is None:
            raise ValueError("dns needs the port that the replicas listen at")
        if self.kubernetes is not None:
            for name in ("port", "refresh_s", "nameservers"):
                if name in self.model_fields_set:
                    hint = "; give it inside kubernetes" if name == "port" else ""
                    raise ValueError(f"{name} belongs to dns{hint}")
        return self

    @property
    def kind(self) -> str:
        """The name of the way."""
        return "dns" if self.dns is not None else "kubernetes"

    @property
    def told(self) -> str:
        """For people: what is looked up."""
        if self.kubernetes is None:
            return f"dns {self.dns}:{self.port}"
        what, where = self.kubernetes, self.kubernetes.namespace
        return f"kubernetes {what.service or what.selector}" + (f" in {where}" if where else "")
