"""Who may use what: plans, keys, and where limits are counted."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gateway.config.base import Number, Section
from gateway.config.secrets import Secret

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\s]+$")]
Count = Annotated[int, Field(gt=0), Number]


class Plan(Section):
    """What a caller may use. An absent number is no limit."""

    name: Name = Field(description="What keys refer to.")
    models: tuple[str, ...] = Field(
        ("*",), min_length=1, description="Glob patterns over model names, tags included."
    )
    requests_per_minute: Count | None = Field(None, description="Requests in a minute.")
    tokens_per_minute: Count | None = Field(None, description="Tokens in and out in a minute.")
    concurrent_requests: Count | None = Field(None, description="Requests at the same time.")


class Key(Section):
    """One caller's key: the secret itself from somewhere safe, or its SHA-256."""

    name: Name = Field(description="The caller's name in logs and metrics.")
    plan: Name = Field("default", description="The plan it has.")
    secret: Secret | None = Field(None, description="Where the key is kept.")
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")] | None = Field(
        None, description="The SHA-256 of the key, in hex, so that the key is kept nowhere."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.secret is None) == (self.sha256 is None):
            raise ValueError("give exactly one of secret, sha256")
        return self


class Limits(Section):
    """Where limits are counted."""

    store: Literal["memory", "redis"] = Field("memory", description="One process, or all of them.")
    redis_url: Secret | None = Field(None, description="Needed for the store redis.")
    on_store_failure: Literal["local", "allow", "deny"] = Field(
        "local", description="What holds while Redis is away."
    )

    @model_validator(mode="after")
    def _redis_has_an_address(self) -> Self:
        if self.store == "redis" and self.redis_url is None:
            raise ValueError("the store redis needs redis_url")
        return self
