"""The compiled configuration: checked across its parts, immutable, swapped as a whole."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from gateway.auth.issued import Access
from gateway.auth.keys import IssuedRing, KeyRing, Plan
from gateway.config.access import Limited, Rates
from gateway.config.choice import Choose, Sticky
from gateway.config.discovery import Discovery
from gateway.config.mirror import Mirror
from gateway.config.models import Hedging, Queue, Timeouts
from gateway.config.wake import Wake
from gateway.fleet.discovery.endpoint import Endpoint, Standing
from gateway.fleet.loadable import Adapter
from gateway.wire.http import Origin
from gateway.wire.prefix import SessionBy

UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Replica:
    """One engine process. `key` stays the same over reloads; `name` is for people.

    `concurrency`: requests it is to have at once, over all processes; None: to be found out.
    `is_found`: by discovery, so it may come and go. Only one whose `standing` is SERVING is to get
    requests.
    """

    key: str
    name: str
    url: str
    origin: Origin
    weight: float = 1.0
    concurrency: int | None = None
    is_found: bool = False
    standing: Standing = Standing.SERVING


@dataclass(frozen=True, slots=True)
class Variant:
    """A model in one quantization. `name` is `model:tag`, or the model's where there is no tag.

    `adapter` is what a variant of an adapter asks for, on the replicas of the variant `of`.
    `bits` of a weight, None: nobody knows. `seed` is a number drawn from its name, the same in
    every process. `times_onsets`: somebody wants to know how soon its answers begin.
    `replicas` are those that the configuration lists: none where `discovery` finds them, each of
    which is to have `concurrency` requests at once.
    """

    name: str
    model: str
    tag: str | None
    engine: str
    served_model: str
    replicas: tuple[Replica, ...]
    policy: str = "least-loaded"
    weight: float | None = None
    api_key: str | None = field(default=None, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    hedging: Hedging | None = None
    limits: Rates = field(default_factory=Limited)
    model_limits: Rates = field(default_factory=Limited)
    resume: bool | Literal["streams"] = True
    session: SessionBy = "header"
    queue: Queue = field(default_factory=Queue)
    mirror: Mirror | None = None
    adapters: tuple[Adapter, ...] = ()
    max_adapters: int = 8
    adapter: Adapter | None = None
    of: "Variant | None" = None
    wake: Wake | None = None
    bits: float | None = None
    seed: int = 0
    times_onsets: bool = False
    discovery: Discovery | None = None
    ca_file: str | None = None
    concurrency: int | None = None

    @property
    def engines(self) -> "Variant":
        """The variant whose replicas answer."""
        return self.of or self

    @property
    def may_have_several(self) -> bool:
        """Whether another replica may go on where one has failed."""
        return self.discovery is not None or len(self.replicas) > 1

    def replica_at(self, endpoint: Endpoint) -> Replica:
        """What discovery has found, as a replica. There has to be `discovery`."""
        assert self.discovery is not None  # noqa: S101  # nobody else finds anything
        scheme, path = self.discovery.scheme, self.discovery.path
        origin = Origin(scheme, endpoint.host, endpoint.port, path, self.ca_file)
        url = url_of(origin)
        return Replica(
            key=f"{url}#{endpoint.name}",  # another pod at this address is another replica
            name=endpoint.name,
            url=url,
            origin=origin,
            concurrency=self.concurrency,
            is_found=True,
            standing=endpoint.standing,
        )


@dataclass(frozen=True, slots=True)
class Model:
    """A name that clients ask for, with its variants in order of preference."""

    name: str
    aliases: tuple[str, ...]
    variants: tuple[Variant, ...]
    fallbacks: tuple[str, ...] = ()
    choose: Choose = field(default_factory=Choose)


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means: a model, exactly one of its variants, or a split of several.

    `model` of a split is that of its first part. `is_single`: there is nothing to choose.
    """

    model: Model
    variant: Variant | None = None
    split: "Split | None" = None
    is_single: bool = False

    @property
    def first(self) -> Variant:
        """The variant that it means first, where nothing is drawn."""
        if self.split is not None:
            return self.split.parts[0].target.first
        return self.variant or self.model.variants[0]


@dataclass(frozen=True, slots=True)
class Part:
    """Where `weight` of a split's calls go. `name` and `seed` as of a variant, or a model."""

    name: str
    target: Target
    weight: float
    seed: int


@dataclass(frozen=True, slots=True)
class Split:
    """Parts with a weight above 0."""

    name: str
    parts: tuple[Part, ...]
    sticky: Sticky


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything a running gateway needs to know of its configuration.

    `plans` and `rates` hold what each plan allows and limits, by its name. `names` holds every
    name that resolves: names, aliases, both with a tag, and splits.
    """

    models: Mapping[str, Model]
    names: Mapping[str, Target]
    plans: Mapping[str, Plan]
    rates: Mapping[str, Rates]
    keys: KeyRing = field(repr=False)

    @property
    def access(self) -> Access:
        """What keys made at run time depend on."""
        return Access(self.plans, self.rates, self.keys.of_file())

    def with_issued(self, issued: IssuedRing) -> "Catalog":
        """The same, with these keys beside those of the file."""
        return replace(self, keys=self.keys.with_issued(issued))


def seed_of(name: str) -> int:
    """64 bits that are the same in every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def url_of(origin: Origin) -> str:
    """As people write it."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    return f"{origin.scheme}://{host}:{origin.port}{origin.base_path}"
