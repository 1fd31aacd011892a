"""What the operators' page names, exists: metrics, log events, codes, commands and pages."""

import re

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.config.load import read_document
from gateway.launch.addresses import addressed
from tests.docs.generate import DOCS, PARTS

PAGES = ("operations.md", "one-machine.md")
TEXT = "\n".join((DOCS / page).read_text() for page in PAGES)
OF_OTHERS = {"stop_grace_period"}  # of compose
WORDS = set(re.findall(r"`([a-z_]+)`", TEXT)) - OF_OTHERS
KNOWN = "\n".join(
    PARTS[part]() for part in ("metrics", "log-events", "errors", "configuration", "log-fields")
)


def named(pattern: str) -> list[str]:
    return sorted(set(re.findall(pattern, TEXT)))


@pytest.mark.parametrize("metric", named(r"\b((?:gateway|gen_ai)_[a-z_]+)\b"))
def test_a_metric_is_one_of_ours(metric: str) -> None:
    assert f"`{metric}`" in KNOWN


@pytest.mark.parametrize("word", sorted(word for word in WORDS if "_" in word))
def test_a_word_of_the_code_is_one_of_ours(word: str) -> None:
    assert re.search(rf"\b{word}\b", KNOWN), word


@pytest.mark.parametrize("key", named(r"`((?:limits|server|timeouts|deploy)\.[a-z_]+)`"))
def test_a_key_is_in_the_configuration(key: str) -> None:
    assert re.search(rf"\b{re.escape(key)}`", PARTS["configuration"]()), key


@pytest.mark.parametrize("command", named(r"`gateway ([a-z]+(?: (?:usage|list))?)\b"))
def test_a_command_exists(command: str) -> None:
    assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0


@pytest.mark.parametrize("link", named(r"\]\(([^)#]+)[^)]*\)"))
def test_a_link_leads_somewhere(link: str) -> None:
    assert (DOCS / link).exists()


def test_the_example_of_one_machine_is_a_configuration_to_start() -> None:
    (example, _) = re.findall(
        r"```yaml\n(.*?)```", (DOCS / "one-machine.md").read_text(), re.DOTALL
    )
    engines = addressed(read_document(example), lambda _: True).engines
    assert [engine.name for engine in engines] == [
        "llama-3.1-8b/r0",
        "llama-3.1-8b/r1",
        "qwen-2.5-0.5b/r0",
    ]
