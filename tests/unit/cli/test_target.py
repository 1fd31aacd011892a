import os
import signal
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
import typer

from gateway.cli.target import (
    check_writable,
    endpoint_at,
    run_until_interrupted,
    text_of,
    write,
)
from gateway.remote.wrong_input import WrongInput


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match=r"--x .*: no such file"):
        text_of(tmp_path / "none", "--x")
    (tmp_path / "odd").write_bytes(b"\xff")
    with pytest.raises(WrongInput, match="is not UTF-8"):
        text_of(tmp_path / "odd", "--x")


def test_where_nothing_can_be_written_is_told_before(tmp_path: Path) -> None:
    check_writable(None, "--x")
    check_writable(tmp_path / "new", "--x")
    check_writable(Path("here"), "--x")
    with pytest.raises(WrongInput, match="is a folder"):
        check_writable(tmp_path, "--x")
    with pytest.raises(WrongInput, match="its folder does not exist"):
        check_writable(tmp_path / "no" / "file", "--x")


def test_a_report_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(None, "x")
    write(tmp_path / "f", "ü")
    assert (tmp_path / "f").read_text(encoding="utf-8") == "ü"
    assert capsys.readouterr().err == f"wrote {tmp_path / 'f'}\n"
    with pytest.raises(typer.Exit) as left:
        write(tmp_path, "x")
    assert left.value.exit_code == 1
    assert "cannot write" in capsys.readouterr().err


def test_an_authority_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(WrongInput, match="no such file"):
        endpoint_at(
            "https://h", api_key_env=None, headers=(), ca_file=tmp_path / "none", timeout_s=1
        )
    (tmp_path / "ca.pem").touch()
    endpoint = endpoint_at(
        "https://h", api_key_env=None, headers=(), ca_file=tmp_path / "ca.pem", timeout_s=1
    )
    assert endpoint.origin.ca_file == str(tmp_path / "ca.pem")


def test_work_ends_by_itself_or_by_a_signal() -> None:
    async def quick() -> None:
        await anyio.lowlevel.checkpoint()

    async def long() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep(60)

    assert not run_until_interrupted(quick)
    assert run_until_interrupted(long)


def test_what_work_raises_comes_out_of_its_groups() -> None:
    async def wrong() -> None:
        async with anyio.create_task_group():
            raise WrongInput("no")

    with pytest.raises(WrongInput, match="no"):
        run_until_interrupted(wrong)
