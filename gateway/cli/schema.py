"""`gateway schema`: the configuration file as JSON Schema, for editors and Helm."""

import json

import typer

from gateway.config.schema import json_schema


def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    typer.echo(json.dumps(json_schema(), indent=2))
