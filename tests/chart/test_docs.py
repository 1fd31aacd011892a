"""The value files of docs/kubernetes.md are value files, and its alerts are those that exist."""

import re

import pytest
import yaml

from tests.chart.render import CHART, CHECKOUT, of_kind, rendered, rendered_values

PAGE = (CHECKOUT / "docs/kubernetes.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_can_be_installed(example: str) -> None:
    assert of_kind(rendered_values(yaml.safe_load(example)), "Deployment")


def test_every_alert_is_on_the_page() -> None:
    (rule,) = of_kind(rendered(CHART / "ci/hpa-values.yaml"), "PrometheusRule")
    alerts = {
        one["alert"] for group in rule["spec"]["groups"] for one in group["rules"] if "alert" in one
    }
    assert set(re.findall(r"^\| `(Sluicegate\w+)`", PAGE, re.MULTILINE)) == alerts


def test_the_first_steps_name_what_the_chart_makes() -> None:
    (service,) = re.findall(r"port-forward svc/(\S+) 8080:80", PAGE)
    found = rendered_values(yaml.safe_load(EXAMPLES[0]))
    names = {one["metadata"]["name"].replace("gw-", "llm-", 1) for one in of_kind(found, "Service")}
    assert service in names
