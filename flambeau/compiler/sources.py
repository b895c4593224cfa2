"""The syntax tree of a function, checked against its code, and functions made of changed trees."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator, Sequence
from types import CellType, CodeType, FunctionType
from typing import Any

__all__ = ["Source", "source_of"]

_FUTURE = 0x1FF0000
_KIND = 0x2F
_FACTORY = "_flambeau_factory"


class Source:
    """The tree of a function's definition, at the lines and columns of its file."""

    def __init__(self, function: FunctionType, tree: ast.FunctionDef, owner: str | None,
                 imports: list[ast.stmt]) -> None:
        self.function = function
        self.tree = tree
        # Those of its module: attributes of what is imported are looked up in another way.
        self.imports = imports
        # The class that private names belong to.
        self.owner = owner

    def build(self, definitions: Sequence[ast.FunctionDef], held: dict[str, Any]) -> list:
        """Functions of these definitions, in the scope of this one; ``held`` are further names."""
        codes = self.compiled(definitions, held)
        made = []
        cells = dict(zip(self.function.__code__.co_freevars, self.function.__closure__ or ()))
        for definition in definitions:
            code = codes[definition.name].replace(
                co_qualname=self.function.__qualname__, co_name=self.function.__name__)
            closure = tuple([cells[n] if n in cells else CellType(held[n])
                             for n in code.co_freevars])
            made.append(FunctionType(code, self.function.__globals__, self.function.__name__,
                                     None, closure))
        return made

    def compiled(self, definitions: Sequence[ast.FunctionDef],
                 held: Sequence[str] | dict[str, Any] = ()) -> dict[str, CodeType]:
        """The code of these definitions, by name."""
        code = self.function.__code__
        body: list[ast.stmt] = list(definitions)
        if self.owner is not None:
            around = ast.parse(f"class {self.owner}: pass").body[0]
            around.body = body  # type: ignore[attr-defined]
            body = [around]
        names = ", ".join([*code.co_freevars, *held])
        module = ast.parse(f"def {_FACTORY}({names}): pass")
        module.body[0].body = body  # type: ignore[attr-defined]
        module.body += self.imports
        made = compile(module, code.co_filename, "exec", flags=code.co_flags & _FUTURE,
                       dont_inherit=True)
        # Inside of the factory, and of the class.
        for _ in range(1 if self.owner is None else 2):
            made = next(_codes_in(made))
        return {c.co_name: c for c in _codes_in(made)}


def _codes_in(code: CodeType) -> Iterator[CodeType]:
    return (c for c in code.co_consts if isinstance(c, CodeType))


def source_of(function: Any) -> Source | None:
    """The source of a function as it runs; None where that cannot be told for sure."""
    if type(function) is not FunctionType:
        return None
    code = function.__code__
    lines = linecache.getlines(code.co_filename, function.__globals__)
    try:
        tree = ast.parse("".join(lines))
    except (SyntaxError, ValueError):
        return None
    for definition, owner in _definitions(tree, None):
        first = min([definition.lineno, *[d.lineno for d in definition.decorator_list]])
        if definition.name == code.co_name and first == code.co_firstlineno:
            definition.decorator_list = []
            source = Source(function, definition, owner, _imports(tree))
            try:
                made = source.compiled([definition]).get(definition.name)
            except SyntaxError:
                return None
            return source if made is not None and _same(made, code) else None
    return None


def _definitions(tree: ast.AST, owner: str | None) -> Iterator[tuple[ast.FunctionDef, str | None]]:
    """All functions that a tree defines, each with the class around it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node, owner
        yield from _definitions(node, node.name if isinstance(node, ast.ClassDef) else owner)


def _imports(tree: ast.AST) -> list[ast.stmt]:
    """What a module imports in its own scope."""
    found: list[ast.stmt] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import) or (
                isinstance(node, ast.ImportFrom) and node.module != "__future__"):
            found.append(node)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef,
                                   ast.Lambda)):
            found += _imports(node)
    return found


def _same(a: CodeType, b: CodeType) -> bool:
    """Whether two code objects do the same."""
    for name in ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars",
                 "co_exceptiontable", "co_argcount", "co_posonlyargcount", "co_kwonlyargcount"):
        if getattr(a, name) != getattr(b, name):
            return False
    if a.co_flags & _KIND != b.co_flags & _KIND or len(a.co_consts) != len(b.co_consts):
        return False
    return all([_same(x, y) if isinstance(x, CodeType) and isinstance(y, CodeType)
                else type(x) is type(y) and repr(x) == repr(y)
                for x, y in zip(a.co_consts, b.co_consts)])
