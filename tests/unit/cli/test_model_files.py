import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from gateway.cli.model_files import FoundModel, find_model
from gateway.errors import PlanInvalid
from tests.support.gguf import a_gguf
from tests.support.models import CONFIGS

CONFIG = CONFIGS["llama-3.1-8b"]
URL = "https://huggingface.co/org/name/resolve/main"
OFFLINE = {"HF_HUB_OFFLINE": "1"}


def a_folder(path: Path, config: dict[str, Any] = CONFIG) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    return path


def a_safetensors(path: Path, **sizes: int) -> None:
    header = json.dumps({name: {"data_offsets": [0, size]} for name, size in sizes.items()})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())


def find(path: Path | str, **environ: str) -> FoundModel:
    return find_model(str(path), {**OFFLINE, **environ})


def problem(path: Path | str, **environ: str) -> str:
    with pytest.raises(PlanInvalid) as told:
        find(path, **environ)
    return told.value.public


def test_a_config_and_the_folder_of_one_are_the_same(tmp_path: Path) -> None:
    a_folder(tmp_path)
    for path in (tmp_path, tmp_path / "config.json"):
        found = find(path)
        assert found.model.hidden == 4096
        assert found.source == f"model: {tmp_path / 'config.json'}"
        assert found.weighed is None


def test_safetensors_beside_it_say_the_exact_size(tmp_path: Path) -> None:
    a_folder(tmp_path)
    a_safetensors(tmp_path / "model-1.safetensors", a=100, b=50)
    a_safetensors(tmp_path / "model-2.safetensors", c=7)
    a_safetensors(tmp_path / "consolidated.safetensors", c=999)
    weighed = find(tmp_path).weighed
    assert weighed is not None
    assert weighed.size_bytes == 157
    assert weighed.source == "weights: headers of 2 safetensors files"


def test_another_json_file_is_only_a_description(tmp_path: Path) -> None:
    a_folder(tmp_path)
    a_safetensors(tmp_path / "model.safetensors", a=100)
    (tmp_path / "config.json").rename(tmp_path / "other.json")
    assert find(tmp_path / "other.json").weighed is None


def test_a_gguf_file_is_found_alone_or_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(a_gguf())
    for path in (tmp_path, tmp_path / "model.gguf"):
        found = find(path)
        assert found.gguf is not None
        assert found.gguf.name == "q8_0"
        assert found.weighed is not None


def test_the_cache_is_looked_into_where_the_environment_says(tmp_path: Path) -> None:
    for environ, cache in (
        ({"HF_HUB_CACHE": str(tmp_path / "a")}, tmp_path / "a"),
        ({"HF_HOME": str(tmp_path / "b")}, tmp_path / "b/hub"),
        ({"HOME": str(tmp_path / "c")}, tmp_path / "c/.cache/huggingface/hub"),
    ):
        folder = cache / "models--org--name"
        a_folder(folder / "snapshots/abc")
        assert find("org/name", **environ).source.endswith("snapshots/abc/config.json")
        a_folder(folder / "snapshots/def")
        (folder / "refs").mkdir()
        (folder / "refs/main").write_text("def\n")
        assert find("org/name", **environ).source.endswith("snapshots/def/config.json")


def test_a_snapshot_without_a_config_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "models--org--name/snapshots/abc").mkdir(parents=True)
    assert "HF_HUB_OFFLINE keeps" in problem("org/name", HF_HUB_CACHE=str(tmp_path))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    assert problem(tmp_path / "none.json").endswith("none.json: no such file or folder")
    assert problem("./none") == "./none: no such file or folder"
    assert problem(tmp_path) == f"{tmp_path}: holds no config.json and no .gguf file"
    assert problem("org/name") == (
        '"org/name" is no file or folder, and not in the Hugging Face cache; HF_HUB_OFFLINE keeps '
        "the Hub from being asked"
    )


def test_files_that_cannot_be_used_are_told_by_name(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    for content in (b"", b"GGML" + bytes(99)):
        bad.write_bytes(content)
        assert problem(bad).startswith(f"{bad}: ")
    bad.unlink()
    a_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no")
    assert problem(tmp_path) == f"{tmp_path / 'model.safetensors'}: not a safetensors file"
    (tmp_path / "config.json").write_bytes(b" " * (5 << 20))
    assert problem(tmp_path).endswith("config.json: too large for a config.json")


def test_files_that_may_not_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_folder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    opened = Path.open

    def refused(path: Path, *arguments: Any) -> Any:
        if path.name == forbidden:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refused)
    for forbidden in ("config.json", "model.safetensors"):
        assert problem(tmp_path) == f"{tmp_path / forbidden}: permission denied"


@respx.mock
def test_the_hub_is_asked_last_with_the_token() -> None:
    config = respx.get(f"{URL}/config.json").respond(json=CONFIG)
    index = {"metadata": {"total_size": 16060522496}}
    respx.get(f"{URL}/model.safetensors.index.json").respond(json=index)
    found = find_model("org/name", {"HF_TOKEN": "hf_s3cret"})
    assert found.weighed is not None
    assert found.weighed.size_bytes == 16060522496
    assert config.calls[0].request.headers["authorization"] == "Bearer hf_s3cret"


@respx.mock
@pytest.mark.parametrize(
    "index", [httpx.Response(404), httpx.Response(200), httpx.Response(200, json=[])]
)
def test_a_checkpoint_without_an_index_is_counted(index: httpx.Response) -> None:
    respx.get("https://mirror.example/org/name/resolve/main/config.json").respond(json=CONFIG)
    respx.get(url__regex=r".*index\.json").mock(return_value=index)
    found = find_model("org/name", {"HF_ENDPOINT": "https://mirror.example/"})
    assert found.weighed is None


@respx.mock
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.Response(401), "accept the model's terms there and set HF_TOKEN"),
        (httpx.Response(404), "the Hub answers 404"),
        (httpx.ConnectTimeout("slow"), "the Hub cannot be reached (ConnectTimeout): give the path"),
        (httpx.Response(200, text="<html>"), "org/name/config.json: not valid JSON"),
    ],
)
def test_what_the_hub_refuses_is_told(answer: Any, told: str) -> None:
    is_answer = isinstance(answer, httpx.Response)
    route = respx.get(f"{URL}/config.json")
    route.mock(**{"return_value" if is_answer else "side_effect": answer})
    with pytest.raises(PlanInvalid) as raised:
        find_model("org/name", {})
    assert told in raised.value.public
