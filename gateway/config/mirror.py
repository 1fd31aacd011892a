"""Mirroring: a sample of a model's calls is sent to another model or variant as well."""

from typing import Annotated

from pydantic import Field

from gateway.config.base import Number, Section

MAX_ANSWER_BYTES = 16 * 1024 * 1024


class Mirror(Section):
    """Where a sample of the answered calls is sent again, and what that may take."""

    to: Annotated[str, Field(min_length=1, max_length=321)] = Field(
        description="The shadow: a model, of which the first variant is meant, or `name:tag`."
    )
    sample: Annotated[float, Field(gt=0, le=1), Number] = Field(
        0.05, description="The share of calls that is mirrored."
    )
    max_in_flight: Annotated[int, Field(ge=1, le=1000), Number] = Field(
        8, description="Sampled calls at once, in each worker; further ones are not mirrored."
    )
    timeout_s: Annotated[float, Field(gt=0, le=3600), Number] = Field(
        120, description="How long the shadow may take for one answer."
    )
    max_body_bytes: Annotated[int, Field(ge=1024, le=32 * 1024 * 1024), Number] = Field(
        1024 * 1024, description="The largest request that is mirrored."
    )
    max_answer_bytes: Annotated[int, Field(ge=1024, le=MAX_ANSWER_BYTES), Number] = Field(
        1024 * 1024, description="The largest answer that is compared, of either side."
    )
