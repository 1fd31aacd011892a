"""The models: what clients ask for, and the engines that answer."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gateway.config.access import Limited
from gateway.config.adapters import LoraAdapter
from gateway.config.base import Number, Section
from gateway.config.choice import Choose
from gateway.config.deploy import Deploy
from gateway.config.discovery import Discovery
from gateway.config.mirror import Mirror
from gateway.config.secrets import Secret
from gateway.config.wake import Wake

EngineKind = Literal["vllm", "tgi", "llamacpp", "openai"]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\s]+$")]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Seconds = Annotated[float, Field(gt=0, le=86_400), Number]
_ADDRESS = "must be http://HOST[:PORT] or https://HOST[:PORT]"
_HOST = re.compile(r"[a-z0-9._:%-]+")
Weight = Annotated[float, Field(gt=0, le=1_000_000), Number]
# requests at once: a number, found out by the gateway, or whatever comes
Concurrency = Annotated[int, Field(ge=1, le=1_000_000), Number] | Literal["auto", "unlimited"]


class Timeouts(Section):
    """How long a model's engines may take."""

    connect_s: Seconds = Field(2, description="To open a connection to a replica.")
    first_byte_s: Seconds = Field(
        120, description="From the request to the first event of a streamed answer."
    )
    idle_s: Seconds = Field(60, description="Between two events of a streamed answer.")
    unreachable_s: Seconds = Field(
        10,
        description="Until the first event, or between two, of an engine that probes cannot "
        "connect to any more.",
    )
    total_s: Seconds = Field(900, description="For the whole call, retries included.")


class Replica(Section):
    """One engine process."""

    url: str = Field(
        description="Where it listens, such as http://10.0.3.11:8000; a path is put before ours."
    )
    weight: Weight = Field(1, description="Its share of the requests, against its siblings'.")
    name: Tag | None = Field(
        None, description="Its name in logs, metrics and answers; default: r0, r1, …"
    )
    concurrency: Concurrency | None = Field(
        None, description="Calls that it is to have at once; default: the variant's."
    )

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        # it goes into the head of every request as it is
        if not url.isascii() or not url.isprintable() or " " in url:
            raise ValueError("must be ASCII without spaces; write other characters as %XX")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise ValueError(_ADDRESS) from exc
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or port == 0:
            raise ValueError(_ADDRESS)
        if parts.username or parts.password:
            raise ValueError("must not hold a user name; give api_key instead")
        if parts.query or parts.fragment:
            raise ValueError("must not hold a query or a fragment")
        if parts.path.rstrip("/").endswith("/v1"):
            raise ValueError("leave out /v1, the gateway adds it")
        return url


class Tls(Section):
    """How to trust a replica's certificate."""

    ca_file: Path | None = Field(None, description="PEM file of the authority that signed it.")


class Variant(Section):
    """A model in one quantization, on engines of one kind."""

    quantization: Tag | None = Field(
        None, description="The tag: clients may ask for `name:tag`. At most one variant has none."
    )
    engine: EngineKind = Field(description="What kind of engine the replicas are.")
    served_model: str | None = Field(
        None, min_length=1, description="The name the engine knows; default: the model's name."
    )
    deploy: Deploy | None = Field(
        None, description="What its engines run on: planned, and refused if it cannot start."
    )
    adapters: tuple[LoraAdapter, ...] = Field(
        (), description="LoRA adapters that clients may ask for by name, as models of their own."
    )
    max_adapters: Annotated[int, Field(ge=1, le=10_000), Number] = Field(
        8,
        description="Adapters that the gateway keeps loaded on a replica, beside those that the "
        "engine was started with; the least recently used are unloaded.",
    )
    discovery: Discovery | None = Field(
        None, description="Where its replicas are looked up, instead of listing them."
    )
    replicas: tuple[Replica, ...] = Field(
        (),
        validate_default=True,
        description="The engine processes; where `deploy` is given, `gateway up` and the Helm "
        "chart fill them in.",
    )
    api_key: Secret | None = Field(None, description="The key that the engine asks for.")
    weight: Weight | None = Field(
        None,
        description="If any variant has one, calls without a tag choose their first variant at "
        "random by weight (0 where absent), unless `choose` says otherwise; the others follow in "
        "order.",
    )
    bits: Annotated[float, Field(ge=1, le=64), Number] | None = Field(
        None,
        description="Bits of a weight, for `x-gateway-min-bits`; default: what the tag tells, or "
        "`deploy.quantization`.",
    )
    tls: Tls = Field(Tls(), description="For https replicas.")
    concurrency: Concurrency = Field(
        "auto",
        description="Calls that each replica is to have at once, over all processes; further ones "
        "wait in the gateway. `auto`: learned from the engine.",
    )
    wake: Wake | None = Field(
        None,
        description="Its engines may be away while nobody calls, and come back; none: an engine "
        "that is away is one that has failed. `{}` for these defaults.",
    )
    limits: Limited = Field(
        Limited(), description="What all callers together may use of this variant."
    )

    @field_validator("wake")
    @classmethod
    def _is_woken_by_its_own_means(cls, wake: Wake | None, info: ValidationInfo) -> Wake | None:
        if wake is not None and wake.sleeps and info.data.get("engine") != "vllm":
            raise ValueError("method vllm-sleep needs engine: vllm")
        return wake

    @property
    def sleeps(self) -> bool:
        """Whether its engines are vLLMs that the gateway wakes."""
        return self.wake is not None and self.wake.sleeps

    @field_validator("replicas", mode="before")
    @classmethod
    def _are_given_or_deployed(cls, given: object, info: ValidationInfo) -> object:
        # what is wrong itself is not there: it was told already
        has_others = info.data.get("discovery", True) is not None
        if given != () and info.data.get("discovery") is not None:
            raise ValueError("give either replicas or discovery")
        if given in ((), []) and info.data.get("deploy", True) is None and not has_others:
            # the default is a tuple; an empty list of the file is another mistake
            raise PydanticCustomError("missing" if given == () else "too_short", "")
        return given


class Queue(Section):
    """Calls that wait in the gateway while every replica has all that it can do."""

    max_waiting: Annotated[int, Field(ge=0, le=100_000), Number] = Field(
        1000, description="Calls that may wait for a variant, in each worker; 0: none."
    )
    max_wait_s: Seconds = Field(
        30, description="How long one may wait; it is refused at once where it would be longer."
    )


class Hedging(Section):
    """A second replica asked beside the first, where a short call that is not streamed is late."""

    max_tokens: Annotated[int, Field(ge=1, le=100_000), Number] = Field(
        256, description="Short is what may generate at most so many tokens; and all embeddings."
    )
    after_percentile: Annotated[float, Field(ge=50, le=99.9), Number] = Field(
        95, description="Late is slower than so many percent of the model's last short calls."
    )
    extra_ratio: Annotated[float, Field(gt=0, le=0.5), Number] = Field(
        0.05, description="Second tries in 10 s, at most, as a share of the short calls in them."
    )


class Model(Section):
    """One name that clients ask for."""

    name: ModelName = Field(description="What clients ask for.")
    aliases: tuple[ModelName, ...] = Field((), description="Other names for it.")
    variants: tuple[Variant, ...] = Field(
        min_length=1, description="In order of preference; the first is the default."
    )
    choose: Choose = Field(Choose(), description="How a variant is chosen.")
    policy: str = Field("least-loaded", description="How a replica is chosen.")
    session: Literal["header", "user", "none"] = Field(
        "header",
        description="What keeps a session on one replica with `prefix-affinity`: the header "
        "`x-session-id` or the field `prompt_cache_key`; `user`: or the field `user`; `none`.",
    )
    fallbacks: tuple[ModelName, ...] = Field(
        (), description="Other models, asked in order when no variant can answer."
    )
    timeouts: Timeouts = Field(Timeouts(), description="Deadlines.")
    queue: Queue = Field(Queue(), description="Waiting while all replicas are busy.")
    hedging: Hedging | None = Field(
        None,
        description="Second tries for short calls that are late; none unless given, "
        "`{}` for these defaults.",
    )
    mirror: Mirror | None = Field(
        None,
        description="A shadow that gets a sample of the answered calls as well; its answers are "
        "compared with those that the clients got, and told to nobody.",
    )
    resume: bool | Literal["streams"] = Field(
        True,
        description="Let another replica go on with an answer whose engine fails in the middle; "
        "`streams`: only where the answer is streamed.",
    )
    limits: Limited = Field(
        Limited(), description="What all callers together may use of this model."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, given: object) -> object:
        """`engine` and `url` on the model itself stand for one variant with one replica."""
        if not isinstance(given, dict) or "variants" in given or not SHORT_FORM & given.keys():
            return given
        own = {key: given[key] for key in SHORT_FORM & given.keys()}
        ways = [way for way in ("url", "replicas", "discovery") if way in own]
        if len(ways) > 1:
            raise ValueError(f"give either {' or '.join(ways)}")
        if "url" in own:
            own["replicas"] = [{"url": own.pop("url")}]
        return {key: v for key, v in given.items() if key not in SHORT_FORM} | {"variants": [own]}

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.name in self.aliases or len(set(self.aliases)) < len(self.aliases):
            raise ValueError("every alias must be another name")
        if self.choose.by == "weighted" and not any(one.weight for one in self.variants):
            raise ValueError("choose: give the variants their weight")
        return self


SHORT_FORM = frozenset(
    {
        "engine",
        "url",
        "replicas",
        "discovery",
        "quantization",
        "served_model",
        "bits",
        "api_key",
        "tls",
        "concurrency",
        "deploy",
        "adapters",
        "max_adapters",
        "wake",
    }
)
