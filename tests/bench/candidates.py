"""What is measured: this checkout, its compiled wheel, and other proxies beside them."""

import http.client
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from tests.bench.engine import MODEL
from tests.bench.load import Plan, request_bytes
from tests.bench.processes import CHECKOUT, BenchFailed, last_words, need_free, started
from tests.support.ports import free_port

KEY = "sk-bench"
VLLM_ROUTER_VERSION = "0.1.17"
_READY_S = 60.0
_INSTALL_S = 600.0
_ROUTER_HOME = CHECKOUT / "build" / "bench" / f"vllm-router-{VLLM_ROUTER_VERSION}"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A proxy to measure.

    In `command`, `{engine}` stands for the engine's URL, `{port}` for the port to listen on,
    `{spare}` for another free one, `{key}` for the key that clients send and `{folder}` for a
    folder that is empty but for `files`. `port` None: a free one.
    """

    name: str
    command: tuple[str, ...]
    port: int | None = None
    python_path: Path | None = None
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Serving:
    """A candidate that answers."""

    pid: int
    port: int


# limits that are counted and never reached
_LIMITS = {
    "requests_per_minute": 1_000_000_000,
    "tokens_per_minute": 1_000_000_000,
    "concurrent_requests": 1_000_000,
}


def sluicegate(
    name: str = "sluicegate",
    python: str = sys.executable,
    path: Path | None = CHECKOUT,
    limits: Mapping[str, object] | None = None,
    plan: Mapping[str, object] = MappingProxyType(_LIMITS),
    telemetry: Mapping[str, object] = MappingProxyType({}),
) -> Candidate:
    """The gateway that `python` has: with `path`, the one of this checkout.

    `limits`: how the configuration says where they are counted, by default such that are never
    reached (`plan`); None: nothing is limited.
    """
    document: dict[str, object] = {
        "models": [{"name": MODEL, "engine": "vllm", "url": "{engine}"}],
        "plans": [{"name": "default", **({} if limits is None else plan)}],
        "keys": [{"name": "bench", "secret": {"value": "{key}"}}],
        "limits": limits or {},
        "telemetry": dict(telemetry),
    }
    serve = ("-m", "gateway", "serve", "--config", "{folder}/gateway.yaml")
    listen = ("--host", "127.0.0.1", "--port", "{port}")
    # JSON is YAML
    files = {"gateway.yaml": json.dumps(document)}
    return Candidate(name, (python, *serve, *listen), python_path=path, files=files)


def compiled(
    python: str, name: str = "compiled", limits: Mapping[str, object] | None = None
) -> Candidate:
    """The wheel that is installed for another python."""
    return sluicegate(name, str(Path(python).absolute()), None, limits)


def limited(redis_port: int, compiled_python: str | None) -> Iterator[Candidate]:
    """With limits on a request, a slot and tokens, counted in memory and in Redis."""
    redis = {"store": "redis", "redis_url": {"value": f"redis://127.0.0.1:{redis_port}"}}
    yield sluicegate("limits in memory", limits={"store": "memory"})
    yield sluicegate("limits in Redis", limits=redis)
    if compiled_python is not None:
        yield compiled(compiled_python, "compiled, memory", {"store": "memory"})
        yield compiled(compiled_python, "compiled, Redis", redis)


def traced(collector_port: int, compiled_python: str | None) -> Iterator[Candidate]:
    """Remembering no calls, and tracing: none of them, and all of them."""
    url = {"otlp_endpoint": f"http://127.0.0.1:{collector_port}"}
    kinds: tuple[tuple[str, dict[str, object]], ...] = (
        ("no stories kept", {"recent_requests": 0}),
        ("traced, unsampled", url | {"sample_ratio": 0}),
        ("traced, sampled", url | {"sample_ratio": 1}),
    )
    for name, telemetry in kinds:
        yield sluicegate(name, telemetry=telemetry)
        if compiled_python is not None:
            python = str(Path(compiled_python).absolute())
            yield sluicegate(f"compiled, {name}", python, None, telemetry=telemetry)


@contextmanager
def collector(on: frozenset[int]) -> Iterator[int]:
    """The port of a collector of traces that shares the cores of engine and load."""
    port = free_port()
    with TemporaryDirectory(prefix="bench-") as name:
        command = [sys.executable, "-m", "tests.bench.collector", str(port)]
        with started(command, on, Path(name) / "log", cwd=CHECKOUT):
            yield port


def also(name: str, port: str, command: str) -> Candidate:
    """Raises BenchFailed when the port is no port."""
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise BenchFailed(f"--also {name}: {port!r} is not a port")
    words = tuple(shlex.split(command))
    if not words:
        raise BenchFailed(f"--also {name}: there is no command")
    return Candidate(name, words, int(port))


def vllm_router() -> tuple[Candidate, ...]:
    """vllm-router from PyPI, in an environment of its own. Raises BenchFailed.

    Twice: as it comes, with a policy that keeps a tree of all prompts, and without that.
    """
    program = _ROUTER_HOME / "bin" / "vllm-router"
    stamp = _ROUTER_HOME / "installed"
    if not stamp.exists():
        pip = (str(_ROUTER_HOME / "bin" / "python"), "-m", "pip", "--disable-pip-version-check")
        wanted = f"vllm-router=={VLLM_ROUTER_VERSION}"
        _install_step(sys.executable, "-m", "venv", "--clear", str(_ROUTER_HOME))
        _install_step(*pip, "install", "--quiet", wanted)
        _install_step(str(program), "--help")
        stamp.touch()
    listen = ("--host", "127.0.0.1", "--port", "{port}", "--prometheus-port", "{spare}")
    command = (str(program), *listen, "--worker-urls", "{engine}")
    simple = (*command, "--policy", "round_robin")
    return Candidate("vllm-router", command), Candidate("vllm-router round_robin", simple)


@contextmanager
def redis_server(on: frozenset[int]) -> Iterator[int]:
    """The port of a Redis that shares the cores of engine and load. Raises BenchFailed."""
    if shutil.which("redis-server") is None:
        raise BenchFailed("--limits needs redis-server on the path")
    port = free_port()
    with TemporaryDirectory(prefix="bench-") as name:
        command = ["redis-server", "--port", str(port), "--save", "", "--dir", name]
        with started(command, on, Path(name) / "log"):
            yield port


@contextmanager
def serving(candidate: Candidate, engine_port: int, on: frozenset[int]) -> Iterator[Serving]:
    """Start a candidate before the engine and wait until a call gets through. BenchFailed."""
    port = candidate.port or free_port()
    need_free(port)
    with TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        known = {
            "{engine}": f"http://127.0.0.1:{engine_port}",
            "{port}": str(port),
            "{spare}": str(free_port()),
            "{key}": KEY,
            "{folder}": name,
        }
        for file, text in candidate.files.items():
            (folder / file).write_text(_filled(text, known))
        command = [_filled(word, known) for word in candidate.command]
        log = folder / "log"
        env = _environment(candidate.python_path)
        with started(command, on, log, cwd=folder, env=env) as process:
            wait_until_it_answers(candidate.name, process, port, log)
            yield Serving(process.pid, port)


def _filled(text: str, known: Mapping[str, str]) -> str:
    for name, value in known.items():
        text = text.replace(name, value)
    return text


def _environment(python_path: Path | None) -> dict[str, str]:
    """Ours, without what would change how a gateway serves."""
    dropped = ("GATEWAY_", "OTEL_", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    if python_path is not None:
        env["PYTHONPATH"] = str(python_path)
    return env


def wait_until_it_answers(
    name: str, process: subprocess.Popen[bytes], port: int, log: Path
) -> None:
    end_s = time.monotonic() + _READY_S
    answer = "nothing listens there"
    while time.monotonic() < end_s:
        if process.poll() is not None:
            raise BenchFailed(f"{name} ended with {process.returncode}: {_said(log)}")
        try:
            status, body = _ask(port)
        except (OSError, http.client.HTTPException) as exc:
            answer = str(exc)
        else:
            if status == 200:
                return
            answer = f"{status} {body[:200].decode(errors='replace')}"
        time.sleep(0.1)
    raise BenchFailed(
        f"{name} answers no calls on port {port} after {_READY_S:.0f} s: {answer}\n{_said(log)}"
    )


def _ask(port: int) -> tuple[int, bytes]:
    """One small call, as the load sends it."""
    plan = Plan(port=port, connections=1, body_bytes=300, limit_s=1, model=MODEL, key=KEY)
    body = request_bytes(plan).partition(b"\r\n\r\n")[2]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _said(log: Path) -> str:
    return last_words(log.read_bytes()[-8000:])


def _install_step(*command: str) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise BenchFailed(f"vllm-router is not installed after {_INSTALL_S:.0f} s") from exc
    except OSError as exc:
        raise BenchFailed(f"vllm-router cannot be installed: {exc.strerror}") from exc
    if done.returncode:
        raise BenchFailed(f"vllm-router cannot be installed: {last_words(done.stdout)}")
