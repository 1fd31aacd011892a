"""Write what every engine is sent for the cases: `python -m tests.golden.calls`; read the diff."""

from tests.golden.calls.expected import EXPECTED, dumps, sent

if __name__ == "__main__":
    EXPECTED.write_text(dumps(sent()))
