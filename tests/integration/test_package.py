"""The distribution: built, installed into an environment that has nothing else, and served from."""

import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from gateway import __version__
from tests.support.child import CHECKOUT
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build(CHECKOUT, folder)
    return folder


def build(source: Path, folder: Path, *targets: str) -> None:
    words = [word for target in targets for word in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder), *words]
    subprocess.run(command, cwd=source, check=True, capture_output=True)


def wheel_files(folder: Path) -> set[str]:
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_the_version_stands_in_one_place(built: Path) -> None:
    assert {file.name for file in built.iterdir()} == {
        f"sluicegate-{__version__}-py3-none-any.whl",
        f"sluicegate-{__version__}.tar.gz",
    }


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(built: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "gateway"],
        cwd=CHECKOUT, check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    of_package = {name for name in wheel_files(built) if ".dist-info/" not in name}
    assert of_package == {name for name in listed if (CHECKOUT / name).exists()}


def test_the_source_distribution_makes_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    build(tmp_path / f"sluicegate-{__version__}", tmp_path / "dist", "wheel")
    assert wheel_files(tmp_path / "dist") == wheel_files(built)


def test_it_serves_from_an_environment_that_has_nothing_else(built: Path, tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    (wheel,) = built.glob("*.whl")
    pip = [str(tmp_path / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "install"]
    done = subprocess.run(
        [*pip, "--quiet", "--no-compile", str(wheel)],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("gateway", "sluicegate"):
        command = [str(tmp_path / "venv/bin" / name), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
        assert said.stdout == f"sluicegate {__version__}\n"
    port = free_port()
    served = subprocess.Popen(
        [str(tmp_path / "venv/bin/gateway"), "demo", "--port", str(port)],
        cwd=tmp_path,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url)
        body = {"model": "llama-3.1-8b:fp8", "messages": [{"role": "user", "content": "Hello"}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=30)
        assert answer.json()["choices"][0]["message"]["content"]
        served.send_signal(signal.SIGTERM)
        assert served.wait(30) == 0
    finally:
        served.kill()
        served.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/ready", timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail("the installed gateway does not answer")
