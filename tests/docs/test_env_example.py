import re
from pathlib import Path

from gateway.config.settings import PREFIX, Settings, load_settings

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text()
LINES = re.findall(r"^([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE)


def test_the_example_lists_exactly_what_is_read() -> None:
    assert [name for name, _ in LINES] == [PREFIX + name.upper() for name in Settings.model_fields]


def test_every_variable_is_explained_in_the_words_of_the_settings() -> None:
    for name, field in Settings.model_fields.items():
        assert f"# {field.description}\n{PREFIX}{name.upper()}=" in EXAMPLE


def test_the_example_is_the_default_where_there_is_one() -> None:
    settings = load_settings(dict(LINES))
    assert settings == load_settings({"GATEWAY_CONFIG": "gateway.yaml"})


def test_opentelemetry_is_mentioned() -> None:
    assert "OTEL_" in EXAMPLE
