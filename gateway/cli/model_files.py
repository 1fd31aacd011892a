"""Where a model's description is found: a file, a folder, the Hugging Face cache, or the Hub.

The Hub is asked last, waited for a few seconds, and never when HF_HUB_OFFLINE is set.
"""

import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.errors import PlanInvalid
from gateway.sizing.architecture import Architecture
from gateway.sizing.config_json import read_architecture
from gateway.sizing.gguf import read_gguf
from gateway.sizing.names import find_gguf
from gateway.sizing.plan import Weighed
from gateway.sizing.quantization import Quantization
from gateway.sizing.safetensors import LENGTH_BYTES, header_bytes, tensor_bytes

HUB = "https://huggingface.co"
HUB_WAIT_S = 8.0
_MOST_CONFIG_BYTES = 4 * 1024 * 1024
_INDEX = "model.safetensors.index.json"
_NOT_WEIGHTS = ("consolidated", "adapter_")


class NotSeen(PlanInvalid):
    """The model's description is not within reach: nothing can be said of it."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model, where it was found, its files' size, and the type of a .gguf file."""

    model: Architecture
    source: str
    weighed: Weighed | None = None
    gguf: Quantization | None = None


def find_model(name: str, environ: Mapping[str, str]) -> FoundModel:
    """Raises PlanInvalid that says where it was looked for."""
    path = Path(name).expanduser()
    if path.is_file():
        return _gguf(path) if path.suffix == ".gguf" else _described(path, path.parent)
    if path.is_dir():
        return _folder(path)
    if path.suffix in (".gguf", ".json") or name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise PlanInvalid(f"{name}: no such file or folder")
    cached = _cached(name, environ)
    if cached is not None:
        return _folder(cached)
    return _from_hub(name, environ)


def _folder(path: Path) -> FoundModel:
    config = path / "config.json"
    if config.is_file():
        return _described(config, path)
    files = sorted(path.glob("*.gguf"))
    if files:
        return _gguf(files[0])
    raise PlanInvalid(f"{path}: holds no config.json and no .gguf file")


def _described(config: Path, folder: Path) -> FoundModel:
    try:
        with config.open("rb") as file:
            written = file.read(_MOST_CONFIG_BYTES + 1)
    except OSError as exc:
        raise PlanInvalid(f"{config}: {(exc.strerror or 'cannot be read').lower()}") from exc
    model = read_architecture(_json(written, str(config)))
    weighed = _weigh(folder, model) if config.name == "config.json" else None
    return FoundModel(model, f"model: {config}", weighed)


def _json(written: bytes, source: str) -> Any:  # noqa: ANN401  # JSON: whatever stands there
    if len(written) > _MOST_CONFIG_BYTES:
        raise PlanInvalid(f"{source}: too large for a config.json")
    try:
        return json.loads(written)
    except (ValueError, RecursionError) as exc:
        raise PlanInvalid(f"{source}: not valid JSON") from exc


def _weigh(folder: Path, model: Architecture) -> Weighed | None:
    """The exact size, from the headers of the folder's safetensors files; None without any."""
    whole = 0
    files = [f for f in sorted(folder.glob("*.safetensors")) if not f.name.startswith(_NOT_WEIGHTS)]
    for path in files:
        try:
            with path.open("rb") as file:
                whole += tensor_bytes(
                    file.read(header_bytes(file.read(LENGTH_BYTES))), len(model.layers)
                )
        except OSError as exc:
            raise PlanInvalid(f"{path}: {(exc.strerror or 'cannot be read').lower()}") from exc
        except PlanInvalid as exc:
            raise PlanInvalid(f"{path}: {exc.public}") from exc
    return Weighed(whole, f"weights: headers of {len(files)} safetensors files") if whole else None


def _gguf(path: Path) -> FoundModel:
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as bytes_,
        ):
            view = memoryview(bytes_)
            try:
                found = read_gguf(view)
            finally:
                view.release()
    except (OSError, ValueError) as exc:
        raise PlanInvalid(f"{path}: cannot be read as a GGUF file") from exc
    except PlanInvalid as exc:
        raise PlanInvalid(f"{path}: {exc.public}") from exc
    return FoundModel(
        read_architecture(found.config),
        f"model: {path}",
        Weighed(found.size_bytes, "weights: tensors of the GGUF file"),
        find_gguf(found.type_name),
    )


def _caches(environ: Mapping[str, str]) -> Iterator[Path]:
    if environ.get("HF_HUB_CACHE"):
        yield Path(environ["HF_HUB_CACHE"])
    if environ.get("HF_HOME"):
        yield Path(environ["HF_HOME"]) / "hub"
    home = environ.get("HOME")
    if home:
        yield Path(home) / ".cache/huggingface/hub"


def _cached(name: str, environ: Mapping[str, str]) -> Path | None:
    """The newest snapshot of a model in the Hugging Face cache, the main one before others."""
    for cache in _caches(environ):
        folder = cache / f"models--{name.replace('/', '--')}"
        main = folder / "refs/main"
        snapshots = [folder / "snapshots" / main.read_text().strip()] if main.is_file() else []
        snapshots += sorted((folder / "snapshots").glob("*"))
        for snapshot in snapshots:
            if (snapshot / "config.json").is_file():
                return snapshot
    return None


def _from_hub(name: str, environ: Mapping[str, str]) -> FoundModel:
    looked = f'"{name}" is no file or folder, and not in the Hugging Face cache'
    if environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        raise NotSeen(f"{looked}; HF_HUB_OFFLINE keeps the Hub from being asked")
    hub = environ.get("HF_ENDPOINT", HUB).rstrip("/")
    token = environ.get("HF_TOKEN")
    headers = {"authorization": f"Bearer {token}"} if token else {}
    url = f"{hub}/{name}/resolve/main"
    try:
        with httpx.Client(timeout=HUB_WAIT_S, headers=headers, follow_redirects=True) as client:
            answer = client.get(f"{url}/config.json")
            if answer.status_code in (401, 403):
                raise NotSeen(
                    f"{looked}; the Hub wants to know who asks: accept the model's terms there "
                    "and set HF_TOKEN"
                )
            if answer.status_code != 200:
                raise NotSeen(f"{looked}; the Hub answers {answer.status_code}")
            model = read_architecture(_json(answer.content, f"{name}/config.json"))
            return FoundModel(model, f"model: {name} on the Hub", _weigh_hub(client, url))
    except httpx.HTTPError as exc:
        raise NotSeen(
            f"{looked}; the Hub cannot be reached ({type(exc).__name__}): give the path of a "
            "config.json"
        ) from exc


def _weigh_hub(client: httpx.Client, url: str) -> Weighed | None:
    """The total that the index of a sharded checkpoint states; None where there is none."""
    answer = client.get(f"{url}/{_INDEX}")
    if answer.status_code != 200:
        return None
    index = _json(answer.content[: _MOST_CONFIG_BYTES * 4], _INDEX) if answer.content else {}
    size = index.get("metadata", {}).get("total_size") if isinstance(index, dict) else None
    return Weighed(int(size), "weights: the checkpoint's index") if size else None
