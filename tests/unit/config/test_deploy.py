import pytest

from gateway.config.load import read_document
from gateway.errors import ConfigInvalid

MODEL = "models: [{{name: m, engine: vllm, url: http://a, deploy: {deploy}}}]"


def test_the_short_form_may_hold_it() -> None:
    document = read_document(MODEL.format(deploy="{gpu: H100, gpus: 2}"))
    deploy = document.models[0].variants[0].deploy
    assert deploy is not None
    assert (deploy.gpu, deploy.gpus, deploy.kv_cache_dtype) == ("H100", 2, "auto")


@pytest.mark.parametrize(
    ("deploy", "path"),
    [
        ("{gpu: [H100]}", "deploy.gpu"),
        ("{gpu: H100, gpus: 0}", "deploy.gpus"),
        ("{gpu: H100, gpu_memory_utilization: 1.5}", "deploy.gpu_memory_utilization"),
        ("{gpu: H100, max_model_len: yes}", "deploy.max_model_len"),
        ("{gpu: H100, max_len: 5}", "deploy.max_len"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(deploy: str, path: str) -> None:
    with pytest.raises(ConfigInvalid) as told:
        read_document(MODEL.format(deploy=deploy))
    assert path in told.value.problems[0]


def test_without_replicas_it_leaves_them_to_what_deploys_them() -> None:
    document = read_document("models: [{name: m, engine: vllm, deploy: {gpu: H100}}]")
    assert document.models[0].variants[0].replicas == ()


@pytest.mark.parametrize("gpu", ["cpu", "none"])
def test_an_engine_on_cpus_has_no_gpu(gpu: str) -> None:
    with pytest.raises(ConfigInvalid, match="leave it out"):
        read_document(MODEL.format(deploy=f"{{gpu: {gpu}}}"))


def test_it_may_say_how_an_engine_is_started_here() -> None:
    deploy = read_document(
        MODEL.format(deploy='{command: [serve, "{port}"], environment: {OMP_NUM_THREADS: "2"}}')
    ).models[0].variants[0].deploy  # fmt: skip
    assert deploy is not None
    assert deploy.command == ("serve", "{port}")
    assert deploy.environment == {"OMP_NUM_THREADS": "2"}
