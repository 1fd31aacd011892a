"""LoRA adapters: models of their own on the engines of the one that they adapt."""

from typing import Annotated

from pydantic import Field, StringConstraints

from gateway.config.base import Section


class LoraAdapter(Section):
    """One adapter of a variant. Replicas that have it answer; others may be told to load it."""

    name: Annotated[
        str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9._:/-]+$")
    ] = Field(description="What clients ask for, and the name by which the engine knows it.")
    path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        None,
        description="Where vLLM finds it (a folder there, or a name on the Hub), so that the "
        "gateway can have it loaded where it is asked for; absent: only the engine loads it.",
    )
