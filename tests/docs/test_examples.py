import re

import pytest

from gateway.config.load import read_document
from gateway.fleet.compiling import compile_catalog
from gateway.routing import POLICIES
from tests.docs.generate import DOCS

EXAMPLES = re.findall(r"```yaml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_docs_is_a_configuration(example: str) -> None:
    environ = dict.fromkeys(re.findall(r"from_env: (\w+)", example), "s3cret")
    assert compile_catalog(read_document(example), environ, policies=POLICIES).names
