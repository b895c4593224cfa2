"""Each layer imports only from those before it, and functions import nothing without a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "flambeau"

# Layers in order, and what belongs to each: the folders and files straight below flambeau/.
# Those of one layer may import each other.
LAYERS = [
    ["base", "torch_version", "version"],
    ["interop"],
    ["backends"],
    ["core"],
    ["ops"],
    ["autograd", "func", "compiler"],
    # The rest of the public modules (nn, optim, utils, cuda ...), by default.
    ["*"],
    ["__init__"],
    ["cli", "__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}

FILES = sorted(PACKAGE.rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def rank_of(module: str) -> int:
    parts = module.split(".")
    part = parts[1] if len(parts) > 1 else "__init__"
    return RANK.get(part, RANK["*"])


def imports(tree: ast.AST, package: str) -> Iterator[tuple[ast.stmt, str]]:
    """Every import statement of ``tree`` with the modules of flambeau that it may load."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[:len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                # `from flambeau import nn` loads the layer nn; `from flambeau.nn import x`, too.
                yield node, f"{base}.{alias.name}" if base == "flambeau" else base


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).parent.parts)


def backward_imports(path: Path, source: str) -> list[str]:
    here = rank_of(module_of(path))
    tree = ast.parse(source)
    typing_only = {id(node) for block in ast.walk(tree) if _is_typing_block(block)
                   for node in ast.walk(block)}
    found = []
    for node, module in imports(tree, package_of(path)):
        ours = module.split(".")[0] == "flambeau" and id(node) not in typing_only
        if ours and rank_of(module) > here:
            found.append(f"{path.name}:{node.lineno} imports {module}, of a later layer")
    return found


def _is_typing_block(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def unexplained_imports(path: Path, source: str) -> list[str]:
    lines = source.splitlines()
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        statements = {node.lineno: node for node, _ in imports(function, package_of(path))}
        for line in sorted(statements):
            if line - 1 in statements or "#" in lines[line - 1]:
                continue
            if not lines[line - 2].lstrip().startswith("#"):
                found.append(f"{path.name}:{line} imports inside {function.name} without a reason")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_forward(path: Path) -> None:
    assert backward_imports(path, path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_inside_functions_say_why(path: Path) -> None:
    assert unexplained_imports(path, path.read_text("utf-8")) == []


@pytest.mark.parametrize("source", [
    "from flambeau.nn import Linear",
    "from flambeau import nn",
    "import flambeau.nn.functional as F",
    "import flambeau",
    "from ..nn import Linear",
    "def f():\n    from flambeau import nn",
])
def test_a_backward_import_is_caught(source: str) -> None:
    assert len(backward_imports(PACKAGE / "core" / "planted.py", source)) == 1


@pytest.mark.parametrize("source", [
    "from flambeau.base import naming", "from ..base import naming", "from . import kinds",
    "import numpy", "if TYPE_CHECKING:\n    from flambeau.nn import Linear",
])
def test_a_forward_import_is_not(source: str) -> None:
    assert backward_imports(PACKAGE / "core" / "planted.py", source) == []


def test_an_unexplained_import_is_caught() -> None:
    path = PACKAGE / "core" / "planted.py"
    assert unexplained_imports(path, "def f():\n    import scipy")
    assert not unexplained_imports(path, "def f():\n    # Optional.\n    import scipy")
    assert not unexplained_imports(path, "def f():\n    import scipy  # optional")
