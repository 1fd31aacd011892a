"""The tests mirror the code: whoever changes a module knows where its tests are, and is missed.

A module needs tests when it holds functions; Protocols, values and constants are tested where
they are used.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GATEWAY, UNIT = ROOT / "gateway", ROOT / "tests/unit"

# a process, or sockets, are what these are about: module, and the tests that cover it instead
ELSEWHERE = {
    "cli/demo.py": "tests/integration/test_serve_command.py",
    "cli/serve.py": "tests/integration/test_serve_command.py",
    "cli/server.py": "tests/integration/test_drain.py",
    "cli/up.py": "tests/integration/test_up_command.py",
}

MODULES = [module.relative_to(GATEWAY).as_posix() for module in sorted(GATEWAY.rglob("*.py"))]
TESTS = [test.relative_to(UNIT).as_posix() for test in sorted(UNIT.rglob("*.py"))]


def functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Every function that does something, so none of a Protocol's."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif not (isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)):
            yield from functions(node)


def has_code(module: str) -> bool:
    return any(functions(ast.parse((GATEWAY / module).read_text())))


def place_of(module: str) -> str:
    path = Path(module)
    return (path.parent / f"test_{path.name}").as_posix()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_with_code_has_tests_at_its_own_place(module: str) -> None:
    is_tested = place_of(module) in TESTS
    if module in ELSEWHERE:
        assert not is_tested, f"{module} has its own tests now: take it off the list"
    elif has_code(module):
        assert is_tested, f"write tests/unit/{place_of(module)}"


@pytest.mark.parametrize("test", TESTS)
def test_a_test_file_mirrors_a_module(test: str) -> None:
    assert test in map(place_of, MODULES), f"{test} mirrors no module of gateway/"


@pytest.mark.parametrize("module", ELSEWHERE)
def test_a_module_that_is_tested_elsewhere_exists_and_its_tests_too(module: str) -> None:
    assert module in MODULES
    assert (ROOT / ELSEWHERE[module]).exists()


def test_code_is_told_from_what_only_declares() -> None:
    assert has_code("app.py")
    assert not has_code("proxy/client.py")
    assert not has_code("telemetry/fields.py")
    assert not has_code("wire/__init__.py")
