"""Start and stop real engine processes, with every wait bounded and nothing left behind.

`start_vllm` and `start_llama_server` return at once; `wait_until_ready` waits for the engine's own
`/health`. An engine runs in a session of its own and its whole family of processes is ended
together: vLLM's engine core and workers do not always follow their parent.

Models are named by a path relative to the process's folder, so that nothing the engine says
(`/v1/models`, `/props`, logs) tells where this machine keeps its files.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.engines.tiny_model import GGUF_NAME, HUGGING_FACE_NAME, write_models
from tests.support.engine_home import engines_folder, llama_server_binary, vllm_home

VLLM_READY_S = 240.0
LLAMA_SERVER_READY_S = 30.0
STOP_S = 20.0
ENGINE_CORE = "VLLM::EngineCore"
WORKER = "VLLM::Worker"


class EngineNotReadyError(Exception):
    """The engine died or stayed silent; the text ends with the end of its log."""


@dataclass(frozen=True, slots=True)
class TinyModels:
    """The tiny model in both forms; see `tests.engines.tiny_model`."""

    hugging_face: Path
    gguf: Path


@dataclass(slots=True)
class RealEngine:
    """One running engine: where it answers, its process, its log."""

    name: str
    url: str
    served_name: str
    process: subprocess.Popen[bytes]
    log: Path
    ready_limit_s: float
    family: set[int] = field(default_factory=set)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_until_ready(self) -> "RealEngine":
        deadline = time.monotonic() + self.ready_limit_s
        while time.monotonic() < deadline:
            if not self.is_running:
                raise EngineNotReadyError(
                    f"{self.name} exited with {self.process.returncode}:\n{self.log_tail()}"
                )
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    self.family = _descendants(self.process.pid)
                    return self
            time.sleep(0.1)
        raise EngineNotReadyError(
            f"{self.name} was not ready after {self.ready_limit_s:g} s:\n{self.log_tail()}"
        )

    def terminate(self) -> None:
        """Ask the engine to end, as an orchestrator does: SIGTERM to its first process only."""
        if self.is_running:
            self.process.terminate()

    def kill_engine_core(self) -> None:
        """Kill vLLM's engine behind the back of its HTTP server."""
        cores = [pid for pid in _descendants(self.process.pid) if _title(pid) == ENGINE_CORE]
        if len(cores) != 1:
            raise ProcessLookupError(f"{self.name}: expected one engine core, found {cores}")
        os.kill(cores[0], signal.SIGKILL)

    def freeze(self) -> None:
        """vLLM computes nothing more, until `compute`; its server still answers."""
        self._signal_worker(signal.SIGSTOP)

    def compute(self) -> None:
        """Go on; nothing where it is dead."""
        self._signal_worker(signal.SIGCONT)

    def _signal_worker(self, number: signal.Signals) -> None:
        for pid in self.family:
            if _title(pid) == WORKER:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)

    def wait_until_gone(self, limit_s: float = STOP_S) -> int:
        """The exit status of the first process; negative for a signal."""
        return self.process.wait(limit_s)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for whatever is still there."""
        self.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the engine and everything it started; safe to call twice."""
        family = self.family | _descendants(self.process.pid)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_S)
        for pid in family:
            if _session(pid) == self.process.pid:  # never a stranger that inherited the number
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def log_tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def write_tiny_models(folder: Path) -> TinyModels:
    write_models(folder)
    return TinyModels(folder / HUGGING_FACE_NAME, folder / GGUF_NAME)


def start_vllm(
    port: int, model_dir: Path, served_name: str | Sequence[str], extra_args: Sequence[str] = ()
) -> RealEngine:
    """vLLM on `port`; the first of several served names is the one its answers carry."""
    names = [served_name] if isinstance(served_name, str) else list(served_name)
    command = [
        *(str(vllm_home().python), "-m", "vllm.entrypoints.openai.api_server"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--model", model_dir.name, "--served-model-name", *names),
        *("--dtype", "float32", "--max-model-len", "1024", "--enforce-eager"),
        *extra_args,
    ]
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CACHE_ROOT": str(engines_folder() / "cache" / "vllm"),
        "HF_HUB_OFFLINE": "1",
    }
    return start_engine(
        "vllm", port, names[0], command, model_dir.parent, environment, VLLM_READY_S
    )


def start_llama_server(
    port: int, gguf: Path, served_name: str, extra_args: Sequence[str] = ()
) -> RealEngine:
    """llama-server on `port`: two slots of 8,192 tokens, metrics on."""
    command = [
        *(str(llama_server_binary()), "--host", "127.0.0.1", "--port", str(port)),
        *("--model", gguf.name, "--alias", served_name),
        *("--ctx-size", "16384", "--parallel", "2", "--threads", "1", "--metrics", "--slots"),
        *extra_args,
    ]
    return start_engine(
        "llamacpp", port, served_name, command, gguf.parent, {}, LLAMA_SERVER_READY_S
    )


@contextmanager
def running(*engines: RealEngine) -> Iterator[tuple[RealEngine, ...]]:
    """The engines, ready; stopped at the end whatever happened."""
    try:
        for engine in engines:
            engine.wait_until_ready()
        yield engines
    finally:
        for engine in engines:
            engine.terminate()  # first all, then wait for each: they take their time together
        for engine in engines:
            engine.stop()


def start_engine(
    kind: str,
    port: int,
    served_name: str,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    ready_limit_s: float,
) -> RealEngine:
    """The engine that this command starts in `folder`, with `environment` beside our own."""
    log = engines_folder() / "logs" / f"{kind}-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return RealEngine(
        name=f"{kind}-{port}",
        url=f"http://127.0.0.1:{port}",
        served_name=served_name,
        process=process,
        log=log,
        ready_limit_s=ready_limit_s,
    )


def _descendants(ancestor: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found: set[int] = set()
    waiting = [ancestor]
    while waiting:
        born = children.get(waiting.pop(), [])
        found.update(born)
        waiting.extend(born)
    return found


def _title(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    return ""


def _session(pid: int) -> int | None:
    with suppress(OSError):
        return os.getsid(pid)
    return None
