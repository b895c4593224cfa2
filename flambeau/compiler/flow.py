"""Which variables statements read, set and leave bound: what passes between parts of a function."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["CONSUMERS", "Uses", "bound_after", "heads", "uses_of"]

# Built-in functions that have used up a generator when they return.
CONSUMERS = frozenset(("all", "any", "dict", "list", "max", "min", "set", "sorted", "sum", "tuple"))


class Uses(ast.NodeVisitor):
    """The variables that code reads (``loads``), sets (``stores``) and deletes.

    ``captured`` are those that functions, classes and generators written in it refer to, whenever
    they run; ``outer`` are those it declares global or nonlocal, ``changed`` those that a function
    written in it so declares.
    """

    def __init__(self) -> None:
        self.loads: set[str] = set()
        self.stores: set[str] = set()
        self.deletes: set[str] = set()
        # With the place of the first that does.
        self.captured: dict[str, tuple[int, int]] = {}
        self.outer: set[str] = set()
        self.changed: set[str] = set()

    def visit_Name(self, node: ast.Name) -> None:
        kind = type(node.ctx)
        (self.loads if kind is ast.Load else self.stores if kind is ast.Store
         else self.deletes).add(node.id)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.loads.add(node.target.id)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.stores.add(node.name)
            self.deletes.add(node.name)
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        self.stores.add(node.asname or node.name.partition(".")[0])

    def _visit_pattern(self, node: ast.AST) -> None:
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if name:
            self.stores.add(name)
        self.generic_visit(node)

    visit_MatchAs = visit_MatchStar = visit_MatchMapping = _visit_pattern

    def _visit_outer(self, node: ast.Global | ast.Nonlocal) -> None:
        self.outer.update(node.names)

    visit_Global = visit_Nonlocal = _visit_outer

    def _visit_function(self, node: Any) -> None:
        if not isinstance(node, ast.Lambda):
            self.stores.add(node.name)
            for decorator in node.decorator_list:
                self.visit(decorator)
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        inner = uses_of(node.body if isinstance(node.body, list) else [node.body])
        own = {a.arg for a in ast.walk(node.args) if isinstance(a, ast.arg)}
        self._take(inner, (own | inner.stores) - inner.outer, node)
        self.changed |= inner.outer

    visit_FunctionDef = visit_AsyncFunctionDef = visit_Lambda = _visit_function

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.stores.add(node.name)
        for x in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(x)
        inner = uses_of(node.body)
        self._take(inner, set(), node)
        self.changed |= inner.outer

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in CONSUMERS and node.args and (
                isinstance(node.args[0], ast.GeneratorExp)):
            self.loads.add(node.func.id)
            self._comprehend(node.args[0], True)
            for x in (*node.args[1:], *node.keywords):
                self.visit(x)
        else:
            self.generic_visit(node)

    def _comprehend(self, node: Any, at_once: bool) -> None:
        # The first thing iterated over is looked up at once, in the scope around.
        self.visit(node.generators[0].iter)
        inner = Uses()
        for name, part in ast.iter_fields(node):
            for x in part if isinstance(part, list) else [part]:
                if name == "generators" and x is node.generators[0]:
                    for own in (x.target, *x.ifs):
                        inner.visit(own)
                else:
                    inner.visit(x)
        targets = uses_of([c.target for c in node.generators]).stores
        self.stores |= inner.stores - targets
        self._take(inner, targets, None if at_once else node)

    def _visit_comprehension(self, node: ast.AST) -> None:
        self._comprehend(node, not isinstance(node, ast.GeneratorExp))

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    def _take(self, inner: Uses, own: set[str], keeper: Any) -> None:
        """What code of another scope uses of this one; ``keeper`` may run it later."""
        free = inner.loads - own
        self.loads |= free
        for name, place in inner.captured.items():
            if name not in own:
                self._keep(name, place)
        for name in free if keeper is not None else ():
            self._keep(name, (keeper.lineno, keeper.col_offset))
        self.changed |= inner.changed

    def _keep(self, name: str, place: tuple[int, int]) -> None:
        self.captured[name] = min(place, self.captured.get(name, place))


def heads(s: ast.stmt) -> list[ast.AST]:
    """What of a statement is evaluated by itself: not the statements inside of it."""
    found: list[ast.AST] = []
    for name, part in ast.iter_fields(s):
        if name not in ("body", "orelse", "finalbody", "handlers", "cases"):
            found += [n for n in (part if isinstance(part, list) else [part])
                      if isinstance(n, ast.AST)]
    return found


def uses_of(nodes: Iterable[ast.AST]) -> Uses:
    """The variables of these statements or expressions."""
    found = Uses()
    for node in nodes:
        found.visit(node)
    return found


def bound_after(statements: Sequence[ast.stmt], bound: set[str] | None,
                exposed: set[str]) -> set[str] | None:
    """What is bound for sure behind ``statements``, given what is before; None: never reached.

    Variables that they may read before they set them are added to ``exposed``.
    """
    for s in statements:
        if bound is None:
            bound = set()
        bound = _after(s, bound, exposed)
    return bound


def _both(a: set[str] | None, b: set[str] | None) -> set[str] | None:
    return b if a is None else a if b is None else a & b


def _after(s: ast.stmt, bound: set[str], exposed: set[str]) -> set[str] | None:
    def read(*nodes: ast.AST | None) -> None:
        exposed.update(uses_of([n for n in nodes if n is not None]).loads - bound)

    if isinstance(s, ast.If):
        read(s.test)
        return _both(bound_after(s.body, bound, exposed), bound_after(s.orelse, bound, exposed))
    if isinstance(s, ast.For):
        read(s.iter, s.target)
        bound_after(s.body, bound | uses_of([s.target]).stores, exposed)
        bound_after(s.orelse, bound, exposed)
        return bound - uses_of([s]).deletes
    if isinstance(s, ast.While):
        read(s.test)
        bound_after(s.body, bound, exposed)
        bound_after(s.orelse, bound, exposed)
        return bound - uses_of([s]).deletes
    if isinstance(s, ast.With):
        inner = bound
        for item in s.items:
            exposed.update(uses_of([item]).loads - inner)
            inner = inner | uses_of([item]).stores
        bound_after(s.body, inner, exposed)
        # It may swallow an error.
        return bound - uses_of([s]).deletes
    if isinstance(s, ast.Try):
        bound_after(s.body, bound, exposed)
        for handler in s.handlers:
            read(handler.type)
            own = set() if handler.name is None else {handler.name}
            bound_after(handler.body, bound | own, exposed)
        bound_after(s.orelse, bound, exposed)
        bound_after(s.finalbody, bound, exposed)
        return bound - uses_of([s]).deletes
    found = uses_of([s])
    exposed |= found.loads - bound
    if isinstance(s, (ast.Return, ast.Raise, ast.Break, ast.Continue)):
        return None
    if isinstance(s, (ast.Assign, ast.AugAssign, ast.Import, ast.ImportFrom, ast.FunctionDef,
                      ast.ClassDef)) or isinstance(s, ast.AnnAssign) and s.value is not None:
        targets = uses_of(s.targets) if isinstance(s, ast.Assign) else uses_of(
            [s.target]) if isinstance(s, (ast.AugAssign, ast.AnnAssign)) else found
        return bound | targets.stores
    return bound - found.deletes
