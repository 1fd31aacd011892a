from pathlib import Path

import pytest

from gateway.cli.loaded import config_path, load_catalog
from gateway.errors import ConfigInvalid


def test_the_file_of_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", "other.yaml")
    assert config_path(Path("gateway.yaml")) == Path("gateway.yaml")


def test_the_environment_may_name_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_CONFIG", "other.yaml")
    assert config_path(None) == Path("other.yaml")


def test_a_file_must_be_named() -> None:
    with pytest.raises(ConfigInvalid, match="name a configuration file"):
        config_path(None)


def test_a_file_is_read_and_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    file = tmp_path / "gateway.yaml"
    file.write_text("models: [{name: m, engine: vllm, url: http://h, api_key: {from_env: KEY}}]\n")
    document, catalog = load_catalog(file)
    assert document.models[0].name == "m"
    assert catalog.models["m"].variants[0].api_key == "s3cret"
