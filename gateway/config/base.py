"""What every part of the configuration has in common: frozen, and unknown keys are errors."""

from pydantic import BaseModel, BeforeValidator, ConfigDict


class Section(BaseModel):
    """A part of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def _no_switch(given: object) -> object:
    # YAML reads `yes` as true, which Python would take for 1
    if isinstance(given, bool):
        raise ValueError("must be a number, not yes or no")  # noqa: TRY004  # pydantic's way
    return given


Number = BeforeValidator(_no_switch)
