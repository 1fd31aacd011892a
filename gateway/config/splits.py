"""Names whose calls are split between models: canaries, and one model in another's place."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from gateway.config.base import Number, Section
from gateway.config.choice import Sticky
from gateway.config.models import ModelName

Share = Annotated[float, Field(ge=0, le=1_000_000), Number]


class Part(Section):
    """Where a part of a split's calls goes."""

    to: ModelName = Field(description="A model, an alias, or one variant as `name:tag`.")
    weight: Share = Field(description="Its share, against the others'; 0: none.")


class Split(Section):
    """A name whose calls are split between models or variants, such as for a canary."""

    name: ModelName = Field(description="What clients ask for.")
    parts: tuple[Part, ...] = Field(
        min_length=1,
        description="The share of each. Where the one drawn cannot answer the others with a "
        "share do, in order.",
    )
    sticky: Sticky = Field(
        "caller",
        description="Who is sent to the same part each time: a `caller` (a key), a `session` "
        "(`x-session-id` or `prompt_cache_key`), a `user` (the field `user`), or nobody. Calls "
        "without a session or a user go by caller; without a key each goes where it is drawn.",
    )

    @model_validator(mode="after")
    def _is_a_split(self) -> Self:
        if not any(part.weight for part in self.parts):
            raise ValueError("parts: give at least one a weight above 0")
        targets = [part.to for part in self.parts]
        if len(set(targets)) < len(targets):
            raise ValueError("parts: every part must go somewhere else")
        return self
