"""What every part of the configuration has in common: frozen, and unknown keys are errors."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)
