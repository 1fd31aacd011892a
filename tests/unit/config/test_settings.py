import io
import os

import pytest

from gateway.config.settings import environment, load_settings
from gateway.errors import ConfigInvalid
from gateway.telemetry.log_style import LogStyle


def test_without_variables_there_are_defaults() -> None:
    settings = load_settings({})
    assert (settings.host, settings.port, settings.log_level) == ("0.0.0.0", 8080, "info")
    assert settings.config is None
    assert settings.redis_url is None
    assert settings.admin_key is None
    assert settings.url == "http://localhost:8080"


def test_every_variable_is_read() -> None:
    settings = load_settings(
        {
            "GATEWAY_CONFIG": "gateway.yaml",
            "GATEWAY_HOST": "127.0.0.1",
            "GATEWAY_PORT": "9000",
            "GATEWAY_REDIS_URL": "redis://r",
            "GATEWAY_LOG_LEVEL": "debug",
            "GATEWAY_LOG_FORMAT": "text",
            "GATEWAY_ADMIN_KEY": "s3cret",
            "GATEWAY_URL": "http://gateway:1",
        }
    )
    assert settings.config == "gateway.yaml"
    assert (settings.host, settings.port, settings.log_level) == ("127.0.0.1", 9000, "debug")
    assert settings.log_format == "text"
    assert settings.log_style(io.StringIO(), {}) is LogStyle.TEXT
    assert settings.url == "http://gateway:1"
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://r"
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "s3cret"


def test_secrets_are_not_in_the_repr() -> None:
    settings = load_settings({"GATEWAY_ADMIN_KEY": "s3cret", "GATEWAY_REDIS_URL": "redis://:pw@r"})
    assert "s3cret" not in repr(settings)
    assert "pw" not in repr(settings)


def test_an_empty_variable_is_an_absent_one() -> None:
    assert load_settings({"GATEWAY_PORT": "", "GATEWAY_CONFIG": ""}) == load_settings({})


def test_variables_of_others_are_left_alone() -> None:
    assert load_settings({"PORT": "x", "GATEWAY_SERVICE_HOST": "10.0.0.1"}) == load_settings({})


def test_every_wrong_variable_is_named_at_once() -> None:
    with pytest.raises(ConfigInvalid) as invalid:
        load_settings({"GATEWAY_PORT": "http", "GATEWAY_LOG_LEVEL": "loud"})
    ports, levels = invalid.value.problems
    assert ports.startswith("GATEWAY_PORT: ")
    assert levels == ("GATEWAY_LOG_LEVEL: input should be 'debug', 'info', 'warning' or 'error'")


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "1234")
    assert environment() is os.environ
    assert load_settings(environment()).port == 1234
