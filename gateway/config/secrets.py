"""Secrets: given as they are, by an environment variable, or by a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from gateway.config.base import Section


class Secret(Section):
    """Exactly one of `value`, `from_env`, `from_file`."""

    value: SecretStr | None = Field(None, description="The secret itself; better use the others.")
    from_env: str | None = Field(None, description="Name of the environment variable that has it.")
    from_file: Path | None = Field(None, description="Path of the file that has it.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(source is not None for source in (self.value, self.from_env, self.from_file)) != 1:
            raise ValueError("give exactly one of value, from_env, from_file")
        return self

    def read(self, environ: Mapping[str, str]) -> str:
        """The secret. Raises ValueError, which names the source and never its content."""
        if self.value is not None:
            secret = self.value.get_secret_value()
        elif self.from_env is not None:
            if self.from_env not in environ:
                raise ValueError(f"the environment variable {self.from_env} is not set")
            secret = environ[self.from_env]
        else:
            try:
                secret = (self.from_file or Path()).read_text().strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise ValueError(f"the file {self.from_file} cannot be read") from exc
        if not secret or not secret.isascii() or not secret.isprintable():
            raise ValueError("the secret must be printable ASCII and not empty")
        return secret
