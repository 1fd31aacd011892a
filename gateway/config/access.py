"""Who may use what: plans, keys, and where limits are counted."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gateway.config.base import Number, Section
from gateway.config.choice import Choose
from gateway.config.secrets import Secret

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s]+$")]
Priority = Literal["interactive", "batch"]
# a number that the store cannot even be told would be everybody's trouble
Count = Annotated[int, Field(gt=0, le=10**12), Number]


class Bursts(Section):
    """What may come at once, where that is not the whole of the limit."""

    requests_per_minute: Count | None = Field(None, description="Requests at once.")
    requests_per_hour: Count | None = Field(None, description="Requests at once.")
    requests_per_day: Count | None = Field(None, description="Requests at once.")
    tokens_per_minute: Count | None = Field(None, description="Tokens at once.")
    tokens_per_hour: Count | None = Field(None, description="Tokens at once.")
    tokens_per_day: Count | None = Field(None, description="Tokens at once.")


class Rates(Section):
    """Limits, each kept on its own. An absent number is no limit."""

    requests_per_minute: Count | None = Field(None, description="Requests in a minute.")
    requests_per_hour: Count | None = Field(None, description="Requests in an hour.")
    requests_per_day: Count | None = Field(None, description="Requests in a day.")
    tokens_per_minute: Count | None = Field(None, description="Tokens in and out in a minute.")
    tokens_per_hour: Count | None = Field(None, description="Tokens in and out in an hour.")
    tokens_per_day: Count | None = Field(None, description="Tokens in and out in a day.")
    concurrent_requests: Count | None = Field(None, description="Requests at the same time.")
    burst: Bursts = Field(
        Bursts(), description="How much of each may come at once; default: all of it."
    )

    @property
    def are_any(self) -> bool:
        """Whether anything is limited."""
        return any(getattr(self, name) is not None for name in RATES)

    def without_rate(self) -> list[str]:
        """Bursts of limits that are not there."""
        return [
            name
            for name in Bursts.model_fields
            if getattr(self.burst, name) is not None and getattr(self, name) is None
        ]

    def overridden(self, own: "Rates") -> "Rates":
        """These, but for the numbers that `own` gives; one it gives as null is no limit."""
        changes = {name: getattr(own, name) for name in RATES if name in own.model_fields_set}
        given = {name: getattr(own.burst, name) for name in own.burst.model_fields_set}
        # a burst belongs to its limit: another limit without its own burst has the whole
        kept = {name: None for name in changes if name in Bursts.model_fields}
        burst = self.burst.model_copy(update=kept | given)
        return Rates(**{name: getattr(self, name) for name in RATES} | changes, burst=burst)


NO_LIMITS = Rates()
RATES = tuple(name for name in Rates.model_fields if name != "burst")


class Limited(Rates):
    """Limits that stand on their own."""

    @model_validator(mode="after")
    def _bursts_have_rates(self) -> Self:
        if unknown := self.without_rate():
            raise ValueError(f"burst.{unknown[0]}: there is no {unknown[0]} that it belongs to")
        return self


class Plan(Limited):
    """What a caller may use. An absent number is no limit; each key has all of it to itself."""

    name: Name = Field(description="What keys refer to.")
    models: tuple[str, ...] = Field(
        ("*",), min_length=1, description="Glob patterns over model names, tags included."
    )
    weight: Annotated[float, Field(gt=0, le=1_000_000), Number] = Field(
        1, description="Each key's share of the tokens while calls wait, against other keys'."
    )
    priority: Priority = Field(
        "interactive", description="Who goes first while calls wait: interactive before batch."
    )
    choose: Choose | None = Field(
        None,
        description="How variants are chosen for it, in place of what the models say: `first` "
        "waits for the best, and takes no part in canaries.",
    )
    server_timing: bool = Field(
        False, description="Answers say in `server-timing` where the time went."
    )


class Key(Section):
    """One caller's key: the secret itself from somewhere safe, or its SHA-256."""

    name: Name = Field(description="The caller's name in logs and metrics.")
    plan: Name = Field("default", description="The plan it has.")
    secret: Secret | None = Field(None, description="Where the key is kept.")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")] | None = Field(
        None, description="The SHA-256 of the key, in hex, so that the key is kept nowhere."
    )
    limits: Rates = Field(
        Rates(), description="Numbers that replace the plan's for this key; null lifts one."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.secret is None) == (self.sha256 is None):
            raise ValueError("give exactly one of secret, sha256")
        return self


class Limits(Section):
    """Where limits are counted."""

    store: Literal["memory", "redis"] = Field("memory", description="One process, or all of them.")
    redis_url: Secret | None = Field(
        None,
        description="Needed for the store redis: redis://, rediss://, unix://, "
        "redis+sentinel://host,…/MASTER or redis+cluster://host,…",
    )
    on_store_failure: Literal["local", "allow", "deny"] = Field(
        "local",
        description="What holds while Redis is away: each process its share of every limit, "
        "nothing, or no call at all.",
    )
    expected_processes: Annotated[int, Field(ge=1, le=10_000), Number] | None = Field(
        None,
        description="Processes that share the limits while Redis is away; "
        "default: those that Redis last saw alive.",
    )
    store_timeout_s: Annotated[float, Field(ge=0.005, le=10), Number] = Field(
        0.04, description="How long a request waits for Redis before it is done without."
    )
    slot_lease_s: Annotated[float, Field(ge=1, le=3600), Number] = Field(
        15, description="After how long the slots of a process that died are free again."
    )
    key_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")] = Field(
        "sluicegate", description="Begins the names of everything kept in Redis."
    )

    @model_validator(mode="after")
    def _redis_has_an_address(self) -> Self:
        if self.store == "redis" and self.redis_url is None:
            raise ValueError("the store redis needs redis_url")
        return self
