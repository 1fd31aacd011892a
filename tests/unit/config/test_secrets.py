from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from gateway.config.secrets import Secret


def test_a_secret_may_be_given_as_it_is() -> None:
    assert Secret(value=SecretStr("s3cret")).read({}) == "s3cret"


def test_a_secret_may_come_from_the_environment() -> None:
    assert Secret(from_env="KEY").read({"KEY": "s3cret"}) == "s3cret"


def test_a_secret_may_come_from_a_file_and_loses_the_end_of_its_line(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    assert Secret(from_file=file).read({}) == "s3cret"


@pytest.mark.parametrize(
    "given", [{}, {"value": "a", "from_env": "A"}, {"from_env": "A", "from_file": "b"}]
)
def test_there_is_exactly_one_source(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="exactly one of value, from_env, from_file"):
        Secret.model_validate(given)


def test_an_absent_variable_is_named() -> None:
    with pytest.raises(ValueError, match="the environment variable KEY is not set"):
        Secret(from_env="KEY").read({})


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing-here cannot be read"):
        Secret(from_file=tmp_path / "nothing-here").read({})


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "binary"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="binary cannot be read"):
        Secret(from_file=file).read({})


@pytest.mark.parametrize("bad", ["", "schlüssel", "two\nlines", "bell\x07"])
def test_a_secret_that_fits_in_no_header_is_refused_and_not_shown(bad: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII and not empty") as refused:
        Secret(from_env="KEY").read({"KEY": bad})
    assert not bad or bad not in str(refused.value)


def test_a_secret_is_not_in_its_repr() -> None:
    secret = Secret(value=SecretStr("s3cret"))
    assert "s3cret" not in f"{secret!r} {secret}"
