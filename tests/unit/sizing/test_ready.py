import yaml

from gateway.config.load import read_document
from gateway.sizing.gpus import find_gpu
from gateway.sizing.ready import helm_values, models_entry
from gateway.sizing.recommend import Goal, Workload, recommend
from tests.support.models import a_deployment, a_model


def test_a_choice_is_a_configuration() -> None:
    load = Workload(1024, 256, 60.0)
    choice = recommend(a_model(), a_deployment(), [find_gpu("H100")], load, Goal.COST)[0]
    document = read_document(models_entry("org/Llama-3.1-8B", choice))
    (model,) = document.models
    (variant,) = model.variants
    assert model.name == "llama-3.1-8b"
    assert variant.served_model == "org/Llama-3.1-8B"
    assert len(variant.replicas) == choice.replicas > 1
    assert variant.deploy is not None
    assert variant.deploy.max_model_len == 1280
    assert variant.deploy.quantization == choice.plan.quantization


def test_the_values_say_how_many_and_no_addresses() -> None:
    load = Workload(1024, 256, 60.0)
    choice = recommend(a_model(), a_deployment(), [find_gpu("H100")], load, Goal.COST)[0]
    (model,) = yaml.safe_load(helm_values("org/Llama-3.1-8B", choice))["models"]
    (variant,) = model["variants"]
    assert "replicas" not in variant
    assert variant["deploy"]["replicas"] == choice.replicas > 1
    (entry,) = yaml.safe_load(models_entry("org/Llama-3.1-8B", choice))["models"]
    (of_entry,) = entry["variants"]
    assert variant["deploy"].items() >= of_entry["deploy"].items()
