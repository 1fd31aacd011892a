"""Which variant answers a call that may have several: what an operator may write of it."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import override

from gateway.config.base import Number, Section

By = Literal["first", "weighted", "spill"]
Sticky = Literal["caller", "session", "user", "none"]


class Choose(Section):
    """How one of a model's variants is chosen for a call without a tag; the others follow.

    A word stands for the mapping: `choose: spill` is `choose: {by: spill}`.
    """

    by: By | None = Field(
        None,
        description="`first`: the first that can answer. `weighted`: one at random, by `weight`. "
        "`spill`: the first, until its line or its time to first token passes a threshold; then "
        "the next. Default: `weighted` where any variant has a weight, else `first`.",
    )
    sticky: Sticky = Field(
        "none",
        description="Of `weighted`: who gets the same variant each time: a `caller` (a key), a "
        "`session` (`x-session-id` or `prompt_cache_key`), a `user` (the field `user`), or nobody. "
        "Calls without a session or a user go by caller.",
    )
    waiting: Annotated[int, Field(ge=0, le=100_000), Number] | None = Field(
        None,
        description="Of `spill`: calls that may wait in line for a variant, in each worker, before "
        "the next one is taken; default: 0 where `ttft_s` is not given, else any number.",
    )
    ttft_s: Annotated[float, Field(gt=0, le=86_400), Number] | None = Field(
        None,
        description="Of `spill`: the longest predicted time to the first token, the wait in line "
        "included; a call that has waited for so long goes on to the next as well.",
    )

    @model_validator(mode="before")
    @classmethod
    def _word(cls, given: object) -> object:
        return {"by": given} if isinstance(given, str) else given

    @classmethod
    @override
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"enum": list(get_args(By))}, handler(core_schema)]}

    @model_validator(mode="after")
    def _belong(self) -> Self:
        if self.by != "spill" and (self.waiting is not None or self.ttft_s is not None):
            raise ValueError("waiting and ttft_s are thresholds of `by: spill`")
        if self.by in ("first", "spill") and self.sticky != "none":
            raise ValueError("sticky is for `by: weighted`")
        return self
