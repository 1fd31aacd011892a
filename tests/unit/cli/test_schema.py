import json

from gateway.config.schema import json_schema
from tests.support.command import run_command


def test_the_schema_is_printed_as_json() -> None:
    outcome = run_command("schema")
    assert outcome.code == 0
    assert outcome.err == ""
    assert json.loads(outcome.out) == json_schema()
