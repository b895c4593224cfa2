"""ARCHITECTURE.md lists every file with its caption, which is the first paragraph in it."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def caption(path: Path) -> str:
    """The first paragraph of a file's docstring, in one line."""
    told = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return told.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def test_every_file_has_its_caption() -> None:
    listed = set((ROOT / "ARCHITECTURE.md").read_text("utf-8").splitlines())
    missing = []
    for path in sorted((ROOT / "flambeau").rglob("*.py")):
        row = f"| `{path.relative_to(ROOT / 'flambeau').as_posix()}` | {caption(path)} |"
        if caption(path) and row not in listed:
            missing.append(row)
    assert missing == []


def test_no_file_is_listed_that_is_gone() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for row in text.split("## Files")[1].splitlines():
        if row.startswith("| `"):
            assert (ROOT / "flambeau" / row.split("`")[1]).exists(), row


def test_every_file_says_what_it_is() -> None:
    for path in sorted((ROOT / "flambeau").rglob("*.py")):
        assert caption(path) or not path.read_text("utf-8").strip(), path
