"""The command line, run in this process."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from gateway.cli.main import main
from tests.support.leaks import LEDGER


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def run_command(*arguments: str) -> Outcome:
    """Run `gateway ARGUMENTS`. A stack on the way is a failure of the test."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["gateway", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            code = 0
        except SystemExit as left:
            code = int(left.code or 0)
    LEDGER.hear(err.getvalue())
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Outcome(code, out.getvalue(), err.getvalue())
