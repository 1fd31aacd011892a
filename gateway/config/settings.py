"""What the environment says: the only place that reads it."""

import os
from collections.abc import Mapping
from typing import Literal, TextIO

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from gateway.errors import ConfigInvalid
from gateway.telemetry.log_style import LogFormat, LogStyle, style_of

PREFIX = "GATEWAY_"


class Settings(BaseModel):
    """`GATEWAY_*` variables; an option of the command line wins over them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: str | None = Field(None, description="The configuration file.")
    host: str = Field("0.0.0.0", description="The address to listen on.")  # noqa: S104  # a server
    port: int = Field(8080, ge=0, le=65535, description="The port to listen on.")
    redis_url: SecretStr | None = Field(None, description="Redis, where the file asks for it.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What is logged: debug, info, warning or error."
    )
    log_format: LogFormat = Field(
        "auto",
        description="How: json, text, or auto, which is text where the output is a terminal.",
    )
    admin_key: SecretStr | None = Field(
        None, description="The key for /admin; without one nothing of it can be reached."
    )
    url: str = Field(
        "http://localhost:8080",
        description="The gateway that `gateway keys` and `gateway top` talk to.",
    )

    def log_style(self, output: TextIO, environ: Mapping[str, str]) -> LogStyle:
        """How this output is logged to."""
        return style_of(self.log_format, output, environ)


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ  # noqa: TID251  # this module is where it is read


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Raises ConfigInvalid. An empty variable is an absent one."""
    given = {
        name: environ[PREFIX + name.upper()]
        for name in Settings.model_fields
        if environ.get(PREFIX + name.upper())
    }
    try:
        return Settings.model_validate(given)
    except ValidationError as exc:
        problems = tuple(
            f"{PREFIX}{str(error['loc'][0]).upper()}: {error['msg'].lower()}"
            for error in exc.errors(include_input=False, include_url=False)
        )
        raise ConfigInvalid(problems) from exc
