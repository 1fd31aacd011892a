"""What `gateway plan --goal` recommends is a value file, started with the flags that it printed."""

import json
from pathlib import Path

import pytest
import yaml

from tests.chart.render import engine_args, gateway_yaml, of_kind, rendered_values
from tests.chart.test_engine_flags import ALWAYS, pairs
from tests.support.command import run_command
from tests.support.models import CONFIGS


@pytest.mark.parametrize("goal", ["latency", "throughput", "quality", "cost"])
def test_the_recommended_values_deploy_what_was_recommended(goal: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIGS["llama-3.1-8b"]))
    words = ["--gpu", "H100", "--goal", goal, "--requests-per-second", "60", "--json"]
    told = json.loads(run_command("plan", str(config), *words).out)
    best = told["choices"][0]
    found = rendered_values(yaml.safe_load(told["helm_values"]))
    ((name, args),) = engine_args(found).items()
    given = {flag: value for flag, value in pairs(args).items() if flag not in ALWAYS}
    assert given == pairs(best["plan"]["flags"])
    (workload,) = of_kind(found, name.partition("/")[0])
    assert workload["spec"]["replicas"] == best["replicas"]
    (model,) = yaml.safe_load(gateway_yaml(found))["models"]
    assert len(model["variants"][0]["replicas"]) == best["replicas"]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == str(best["plan"]["gpus"])
