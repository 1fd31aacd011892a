"""Where the engines of the `deploy` entries listen on this machine. No I/O.

A replica whose url is on this machine is used as it is; where a file lists none, ports are given
out from 8101 on, in the order of the file. Replicas elsewhere are left to whoever runs them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from urllib.parse import urlsplit

from gateway.config.deploy import Deploy
from gateway.config.document import Document
from gateway.config.models import Model, Replica, Variant
from gateway.errors import ConfigInvalid

HOST = "127.0.0.1"
FIRST_PORT = 8101


@dataclass(frozen=True, slots=True)
class Address:
    """An engine that is to run here. `path`: of its variant in the file; `name`: for people."""

    path: str
    name: str
    model: Model
    variant: Variant
    deploy: Deploy
    port: int


@dataclass(frozen=True, slots=True)
class Addressed:
    """The file with every replica's url, and the engines that are to be started for it."""

    document: Document
    engines: tuple[Address, ...]


def addressed(document: Document, is_free: Callable[[int], bool]) -> Addressed:
    """Raises ConfigInvalid. `is_free`: whether nobody listens on a port of this machine now."""
    return _Addresser(document, is_free).addressed()


def with_known_addresses(document: Document, known: Document) -> Document:
    """A file that was changed, with the urls that the same entries have in `known`.

    Raises ConfigInvalid where an entry is not the same: its engine was started as it was.
    """
    started = {
        (model.name, variant.quantization): variant
        for model in known.models
        for variant in model.variants
    }
    problems: list[str] = []

    def fill(path: str, model: Model, variant: Variant) -> Variant:
        was = started.get((model.name, variant.quantization))
        if variant.deploy is None or variant.replicas or variant.discovery is not None:
            return variant
        if was is None or (was.deploy, was.engine, was.served_model) != (
            variant.deploy,
            variant.engine,
            variant.served_model,
        ):
            problems.append(f"{path}.deploy: engines are started with `gateway up`: start it again")
            return variant
        return variant.model_copy(update={"replicas": was.replicas})

    filled = with_variants(document, fill)
    if problems:
        raise ConfigInvalid(tuple(problems))
    return filled


def with_variants(document: Document, change: Callable[[str, Model, Variant], Variant]) -> Document:
    """The file with each variant changed. `change` is given its path, its model and itself."""
    models = tuple(
        model.model_copy(
            update={
                "variants": tuple(
                    change(f"models[{at}].variants[{number}]", model, variant)
                    for number, variant in enumerate(model.variants)
                )
            }
        )
        for at, model in enumerate(document.models)
    )
    return document.model_copy(update={"models": models})


def variant_name(model: Model, variant: Variant) -> str:
    """As clients name it."""
    return f"{model.name}:{variant.quantization}" if variant.quantization else model.name


class _Addresser:
    def __init__(self, document: Document, is_free: Callable[[int], bool]) -> None:
        self._document = document
        self._is_free = is_free
        self._problems: list[str] = []
        self._engines: list[Address] = []
        self._taken: dict[int, str] = {}
        written = set(_local_ports(document))
        self._ports = (p for p in count(FIRST_PORT) if p not in written and is_free(p))

    def addressed(self) -> Addressed:
        document = with_variants(self._document, self._variant)
        if self._problems:
            raise ConfigInvalid(tuple(self._problems))
        return Addressed(document, tuple(self._engines))

    def _variant(self, path: str, model: Model, variant: Variant) -> Variant:
        deploy = variant.deploy
        if deploy is None or variant.discovery is not None:
            return variant
        if deploy.nodes > 1:
            self._problems.append(f"{path}.deploy.nodes: {deploy.nodes} nodes are not one machine")
        if not variant.replicas:
            replicas = tuple(
                Replica.model_validate({"url": f"http://{HOST}:{next(self._ports)}"})
                for _ in range(_wanted(deploy))
            )
            variant = variant.model_copy(update={"replicas": replicas})
        elif deploy.replicas is not None and deploy.replicas != len(variant.replicas):
            self._problems.append(
                f"{path}.deploy.replicas: says {deploy.replicas}, replicas lists "
                f"{len(variant.replicas)}"
            )
        for number, replica in enumerate(variant.replicas):
            self._replica(f"{path}.replicas[{number}].url", replica, number, path, model, variant)
        return variant

    def _replica(
        self, where: str, replica: Replica, number: int, path: str, model: Model, variant: Variant
    ) -> None:
        port = _local_port(replica.url)
        if port is None or variant.deploy is None:
            return
        parts = urlsplit(replica.url)
        if parts.scheme != "http" or parts.path.rstrip("/"):
            self._problems.append(f"{where}: an engine started here listens at http://{HOST}:PORT")
        elif port in self._taken:
            self._problems.append(f"{where}: port {port} is {self._taken[port]} already")
        elif not self._is_free(port):
            self._problems.append(f"{where}: port {port} is taken by another program")
        else:
            self._taken[port] = where
            name = f"{variant_name(model, variant)}/{replica.name or f'r{number}'}"
            self._engines.append(Address(path, name, model, variant, variant.deploy, port))


def _wanted(deploy: Deploy) -> int:
    if deploy.autoscaling is not None:
        return deploy.autoscaling.min
    return deploy.replicas or 1


def _local_ports(document: Document) -> Iterator[int]:
    for model in document.models:
        for variant in model.variants:
            for replica in variant.replicas:
                port = _local_port(replica.url)
                if port is not None:
                    yield port


def _local_port(url: str) -> int | None:
    """The port of a url on this machine; None for one elsewhere."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_here = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_here = False
    return (parts.port or 80) if is_here else None
