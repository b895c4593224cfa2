"""Files, functions and lines stay short enough to read."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["flambeau", "tests", "examples", "benchmarks"]
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))

# The aim is 500, 40 and 100; these are where it stops being a matter of taste.
FILE_LINES = 600
FUNCTION_LINES = 70
COLUMNS = 100


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function, its docstring aside."""
    length = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node, clean=False) is not None:
        text = node.body[0]
        length -= text.end_lineno - text.lineno + 1
    return length


def too_long(source: str) -> list[str]:
    lines = source.splitlines()
    found = [f"line {number} has {len(line)} columns"
             for number, line in enumerate(lines, 1) if len(line) > COLUMNS]
    if len(lines) > FILE_LINES:
        found.append(f"the file has {len(lines)} lines")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = function_lines(node)
            if length > FUNCTION_LINES:
                found.append(f"{node.name} (line {node.lineno}) has {length} lines")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_short_enough(path: Path) -> None:
    assert too_long(path.read_text("utf-8")) == []


def test_what_is_too_long_is_caught() -> None:
    assert too_long("x = '" + "y" * COLUMNS + "'")
    assert too_long("x = 1\n" * (FILE_LINES + 1))
    assert too_long("def f():\n" + "    x = 1\n" * FUNCTION_LINES)
    assert not too_long("def f():\n" + "    x = 1\n" * (FUNCTION_LINES - 1))
