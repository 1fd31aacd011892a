"""Engines that are away while nobody calls, and what brings them back."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.base import Number, Section

_Seconds = Annotated[float, Field(gt=0, le=86_400), Number]


class Wake(Section):
    """Calls wait for engines that are away, where nobody else can take them."""

    method: Literal["wait", "vllm-sleep"] = Field(
        "wait",
        description="What brings an engine back. `wait`: somebody who sees that calls wait, such "
        "as KEDA; `vllm-sleep`: the gateway, which wakes a vLLM that sleeps.",
    )
    max_wait_s: _Seconds = Field(
        600, description="How long a call may wait; `timeouts.total_s` bounds it as well."
    )
    max_waiting: Annotated[int, Field(ge=1, le=100_000), Number] = Field(
        100, description="Calls that may wait for them, in each worker."
    )
    sleep_after_s: Annotated[float, Field(ge=5, le=86_400), Number] | None = Field(
        None,
        description="With `vllm-sleep`: how long an engine must have had nothing to do, for "
        "anybody, before it is put to sleep; none: never.",
    )

    @property
    def sleeps(self) -> bool:
        """Whether its engines are vLLMs that the gateway wakes."""
        return self.method == "vllm-sleep"

    @model_validator(mode="after")
    def _puts_to_sleep_what_it_wakes(self) -> Self:
        if self.sleep_after_s is not None and not self.sleeps:
            raise ValueError("sleep_after_s needs method: vllm-sleep")
        return self
