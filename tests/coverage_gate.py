"""The bar for coverage: 95 % of lines and branches over all, 100 % for every pure module.

Run after pytest wrote `.coverage`: `python -m tests.coverage_gate`. The pure modules are those
that the import contract "Cores are pure" names in pyproject.toml.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOTAL_PERCENT = 95.0


def pure_modules() -> tuple[str, ...]:
    """Path prefixes of the pure modules, `gateway/wire` or `gateway/proxy/retry`."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    contracts = project["tool"]["importlinter"]["contracts"]
    pure = next(one for one in contracts if one["name"].startswith("Cores are pure"))
    return tuple(name.replace(".", "/") for name in pure["source_modules"])


def shortfalls(report: dict[str, Any]) -> Iterator[str]:
    """What is below the bar, one line each."""
    total = report["totals"]["percent_covered"]
    if total < TOTAL_PERCENT:
        yield f"all of gateway/: {total:.1f} %, {TOTAL_PERCENT:g} % is asked for"
    prefixes = pure_modules()
    for path, found in report["files"].items():
        module = path.removesuffix(".py")
        is_pure = any(module == pure or module.startswith(pure + "/") for pure in prefixes)
        percent = found["summary"]["percent_covered"]
        if is_pure and percent < 100:
            yield f"{path}: {percent:.1f} %, 100 % is asked of a pure module"


def main() -> None:
    command = [sys.executable, "-m", "coverage", "json", "-q", "-o", "-"]
    written = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    below = list(shortfalls(json.loads(written)))
    print("\n".join(below) or "coverage is where it has to be")
    sys.exit(bool(below))


if __name__ == "__main__":
    main()
