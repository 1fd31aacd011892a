import os
from typing import Any

from gateway.config.deploy import Deploy
from gateway.config.document import Document
from gateway.launch.environment import engine_environment

DOCUMENT = Document.model_validate(
    {
        "models": [
            {
                "name": "m",
                "engine": "vllm",
                "deploy": {},
                "api_key": {"from_env": "ENGINE_KEY"},
            }
        ],
        "keys": [{"name": "team", "secret": {"from_env": "TEAM_KEY"}}],
    }
)


def seen(ours: dict[str, str], **given: Any) -> dict[str, str]:
    asked: dict[str, Any] = {"kind": "vllm", "api_key": None, "gpus": ()} | given
    deploy = Deploy.model_validate(asked.pop("deploy", {}))
    return engine_environment(ours, DOCUMENT, deploy, **asked)


def test_what_is_the_gateways_alone_stays_with_it() -> None:
    ours = {"GATEWAY_ADMIN_KEY": "x", "TEAM_KEY": "x", "ENGINE_KEY": "x", "NOTIFY_SOCKET": "x"}
    assert seen(ours).keys() == {"PYTHONUNBUFFERED", "CUDA_VISIBLE_DEVICES"}


def test_all_else_passes_through() -> None:
    assert seen({"HF_TOKEN": "hf_x", "PYTHONPATH": "/a"}).items() >= {
        ("HF_TOKEN", "hf_x"),
        ("PYTHONPATH", "/a"),
    }


def test_an_engine_sees_its_gpus_and_no_others() -> None:
    ours = {"CUDA_VISIBLE_DEVICES": "0,1,2"}
    assert seen(ours, gpus=("GPU-a", "GPU-b"))["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert seen(ours)["CUDA_VISIBLE_DEVICES"] == ""


def test_its_key_is_in_the_variable_that_it_reads() -> None:
    for kind, name in (("vllm", "VLLM_API_KEY"), ("tgi", "API_KEY"), ("llamacpp", "LLAMA_API_KEY")):
        assert seen({}, kind=kind, api_key="k")[name] == "k"
    assert "k" not in seen({}, kind="openai", api_key="k").values()


def test_an_environment_of_its_own_is_not_ours() -> None:
    ours = {"PATH": "/usr/bin", "VIRTUAL_ENV": "/a", "PYTHONPATH": "/b"}
    found = seen(ours, deploy={"python": "/opt/vllm/bin/python"})
    assert found["PATH"] == f"/opt/vllm/bin{os.pathsep}/usr/bin"
    assert not {"VIRTUAL_ENV", "PYTHONPATH"} & found.keys()


def test_the_file_has_the_last_word() -> None:
    deploy = {"environment": {"CUDA_VISIBLE_DEVICES": "7", "A": "b"}}
    found = seen({"A": "a"}, deploy=deploy)
    assert (found["CUDA_VISIBLE_DEVICES"], found["A"]) == ("7", "b")


def test_a_vllm_that_is_to_be_woken_has_the_routes_for_it() -> None:
    assert seen({}, sleeps=True)["VLLM_SERVER_DEV_MODE"] == "1"
    assert "VLLM_SERVER_DEV_MODE" not in seen({})
