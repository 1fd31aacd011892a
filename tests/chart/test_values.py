"""The default values, the keys of the schema, and the chart's word for which keys are its own."""

import json
import re
from typing import Any

import yaml

from gateway import __version__
from gateway.config.document import Document
from tests.chart.own_values import Own
from tests.chart.render import CHART, gateway_yaml, manifests, refusal, rendered_values

DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
CHART_YAML = yaml.safe_load((CHART / "Chart.yaml").read_text())
GOOD = {"name": "m", "engine": "vllm", "url": "http://a"}


def test_the_defaults_are_whole_and_of_the_right_types() -> None:
    own = {key: value for key, value in DEFAULTS.items() if key != "models"}
    read = Own.model_validate(own)
    assert read.model_dump(by_alias=True).keys() == own.keys()


def test_without_a_model_nothing_is_installed() -> None:
    assert DEFAULTS["models"] == []
    assert "at '/models': minItems" in refusal("{}")


def test_the_chart_and_the_configuration_share_no_key() -> None:
    own = {field.alias for field in Own.model_fields.values()}
    assert not own & set(Document.model_fields)
    template = (CHART / "templates/_models.tpl").read_text()
    listed = re.search(r'"sluicegate.ownKeys" -}}\n(.*)\n', template)
    assert listed is not None
    assert set(json.loads(listed[1])) == own | {"global"}


def test_the_gateways_file_is_a_value_file() -> None:
    written: dict[str, Any] = {
        "models": [GOOD],
        "plans": [{"name": "default", "tokens_per_day": 123_456_789_012}],
        "server": {"drain_grace_s": 7.5},
        "cors": {"allow_origins": ["*"]},
    }
    text = gateway_yaml(rendered_values(written))
    again = yaml.safe_load(text)
    assert Document.model_validate(again) == Document.model_validate(written)


def test_versions_agree() -> None:
    assert CHART_YAML["appVersion"] == __version__
    named = {one["name"]: one["image"] for one in yaml.safe_load(
        CHART_YAML["annotations"]["artifacthub.io/images"]
    )}  # fmt: skip
    images = {**{kind: DEFAULTS["engines"][kind]["image"] for kind in DEFAULTS["engines"]}}
    images |= {"redis": DEFAULTS["redis"]["image"], "gateway": DEFAULTS["gateway"]["image"]}
    assert named == {
        name: f"{image['repository']}:{image['tag'] or __version__}"
        for name, image in images.items()
    }


def test_readme_says_how_small_values_can_be() -> None:
    page = (CHART / "README.md").read_text()
    (smallest,) = re.findall(r"```yaml\n(models:.*?)```", page, re.DOTALL)
    assert manifests(smallest)[0]["models"][0]["name"] == "llama-3.1-8b"
    assert rendered_values(manifests(smallest)[0])
