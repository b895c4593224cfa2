"""A function as parts: runs of statements that may be compiled, and Python between them.

The function is written anew so that each run of statements is first tried as a compiled part. A
part gets the variables it reads and gives those it sets; where it cannot run, the statements
themselves follow in their place. So what is written anew does what the function does, whatever
becomes of its parts.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from flambeau.compiler.flow import CONSUMERS, bound_after, heads, uses_of

__all__ = ["PICK", "TRUSTS", "UNSET", "Piece", "Splitter", "own_statements"]

# Names in what is written anew.
UNSET, TRUSTS, PICK = "_flambeau_unset", "_flambeau_trusts", "_flambeau_pick"
_OUT, _RESULT, _TEST = "_flambeau_out", "_flambeau_result", "_flambeau_test"
_MANAGER = "_flambeau_manager"
# What sees the frame it is called from, or makes one part depend on another unseen.
_SEES_FRAME = frozenset(("locals", "vars", "dir", "eval", "exec", "globals"))
_ALWAYS_PYTHON = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef, ast.Import, ast.ImportFrom,
                  ast.Global, ast.Nonlocal, ast.Delete, ast.Return, ast.Match, ast.AsyncFor,
                  ast.AsyncWith)
_COMPUTES = (ast.Call, ast.BinOp, ast.UnaryOp, ast.AugAssign, ast.Compare, ast.Subscript)
# Methods of tensors and containers that are too short to be worth a look.
_SHORT = frozenset(("append", "backward", "cpu", "detach", "extend", "format", "get", "item",
                    "items", "join", "keys", "numpy", "parameters", "tolist", "update", "values"))
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


class Piece:
    """Statements that run as one part, and the variables that go in and come out.

    Those that may be unbound (``loose``) travel as a mark that stands for that.
    """

    def __init__(self, statements: list[ast.stmt], inputs: list[str], outputs: list[str],
                 loose_in: set[str], loose_out: set[str]) -> None:
        self.statements = statements
        self.inputs = inputs
        self.outputs = outputs
        self.loose_in = loose_in
        self.loose_out = loose_out
        first, last = statements[0], statements[-1]
        self.lines = (first.lineno, last.end_lineno or last.lineno)
        self.name = (f"_flambeau_piece_{first.lineno}_{first.col_offset}_"
                     f"{last.end_lineno}_{last.end_col_offset}")
        self.key = (id(first), id(last), *inputs, None, *outputs, None, *sorted(loose_in), None,
                    *sorted(loose_out))

    def definition(self) -> ast.FunctionDef:
        """The part as a function of its inputs."""
        lines = [f"def {self.name}({', '.join(self.inputs)}):"]
        for n in self.inputs:
            if n in self.loose_in:
                lines += [f"    if {n} is {UNSET}:", f"        del {n}"]
        lines.append("    pass")
        for at, n in enumerate(self.outputs):
            if n in self.loose_out:
                lines += ["    try:", f"        {_OUT}{at} = {n}", "    except NameError:",
                          f"        {_OUT}{at} = {UNSET}"]
        made = [f"{_OUT}{at}" if n in self.loose_out else n for at, n in enumerate(self.outputs)]
        lines.append(f"    return ({''.join([n + ', ' for n in made])})")
        function = _written(lines, self.statements[0])[0]
        assert isinstance(function, ast.FunctionDef)
        at = next(i for i, s in enumerate(function.body) if isinstance(s, ast.Pass))
        function.body[at:at + 1] = self.statements
        return function

    def call(self) -> list[ast.stmt]:
        """Statements that run the part, or else its own statements."""
        lines, loose = [], [n for n in self.inputs if n in self.loose_in]
        for n in loose:
            lines += ["try:", f"    {_OUT}_{n} = {n}", "except NameError:",
                      f"    {_OUT}_{n} = {UNSET}"]
        given = [f"{_OUT}_{n}" if n in self.loose_in else n for n in self.inputs]
        lines.append(f"{_OUT} = {self.name}({', '.join(given)})")
        lines += [f"{_OUT}_{n} = None" for n in loose]
        lines += [f"if {_OUT} is None:", "    pass", "else:"]
        if self.outputs:
            lines.append(f"    {''.join([n + ', ' for n in self.outputs])} = {_OUT}")
        for n in self.outputs:
            if n in self.loose_out:
                lines += [f"    if {n} is {UNSET}:", f"        del {n}"]
        # What came out shall not live longer than the variables.
        lines.append(f"    {_OUT} = None")
        found = _written(lines, self.statements[0])
        found[-1].body = self.statements  # type: ignore[attr-defined]
        return found


def _written(lines: Sequence[str], where: ast.stmt) -> list[ast.stmt]:
    """Statements from text, which count as standing where ``where`` does."""
    tree = ast.parse("\n".join(lines))
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            ast.copy_location(node, where)
    return tree.body


class Splitter:
    """The parts of a function: ``python`` are statements that run in Python, ``cuts`` statements
    that begin a part, ``dead`` first and last ones of parts that never fit; all by identity.
    """

    def __init__(self, tree: ast.FunctionDef, scope: dict[str, Any]) -> None:
        self.tree = tree
        self.python: set[int] = set()
        self.cuts: set[int] = set()
        self.dead: set[tuple[int, int]] = set()
        tree.body = _unfolded(tree.body)
        uses = uses_of(tree.body)
        parameters = {a.arg for a in ast.walk(tree.args) if isinstance(a, ast.arg)}
        self.parameters = parameters
        self.outer, self.captured = uses.outer, uses.captured
        self.locals = (uses.stores | parameters) - uses.outer
        odd = uses.changed & self.locals or uses.loads & _SEES_FRAME or (
            CONSUMERS & (self.locals | scope.keys()))
        # Whether parts of it can be told from each other at all.
        self.splits = not odd
        self.places = [(n.id, n.lineno, n.col_offset) for s in tree.body for n in ast.walk(s)
                       if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Store)]
        self.places += [(s.target.id, s.lineno, s.col_offset) for s in ast.walk(tree)
                        if isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name)]
        # Where variables are set.
        self.sets = [(n, s.lineno, s.col_offset) for s in self.statements()
                     for n in uses_of([s] if isinstance(s, _SCOPES) else
                                      [*heads(s), *getattr(s, "handlers", ())]).stores]
        self.pieces: list[Piece] = []
        self.picks: list[tuple[int, int]] = []

    def written(self) -> ast.FunctionDef:
        """The function with its parts, which ``pieces`` has then."""
        self.pieces, self.picks = [], []
        made = copy.copy(self.tree)
        made.args = copy.deepcopy(self.tree.args)
        made.args.defaults = []
        made.args.kw_defaults = [None for _ in made.args.kwonlyargs]
        made.returns = None
        made.body = self._block(self.tree.body, set(self.parameters), False)
        return made

    def _block(self, statements: Sequence[ast.stmt], bound: set[str], loops: bool
               ) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        run: list[ast.stmt] = []
        before = bound
        for s in statements:
            if id(s) in self.cuts or not self._may_be_compiled(s, loops):
                found += self._part(run, before, loops)
                run = []
            if not run:
                before = bound
            if self._may_be_compiled(s, loops):
                run.append(s)
            else:
                found += self._as_python(s, bound, loops)
            bound = bound_after([s], bound, set()) or set()
        return found + self._part(run, before, loops) or [ast.Pass()]

    def _part(self, run: list[ast.stmt], bound: set[str], loops: bool) -> list[ast.stmt]:
        """A run of statements, as a part where there is anything to compute."""
        if not run or (id(run[0]), id(run[-1])) in self.dead or not any(map(_computes, run)):
            return run
        exposed: set[str] = set()
        sure = bound_after(run, set(), exposed) or set()
        outputs = {n for n in uses_of(run).stores if self._is_read_later(n, run, loops, exposed)}
        inputs = (exposed & self.locals) | outputs - sure
        self.pieces.append(Piece(run, sorted(inputs), sorted(outputs), inputs - bound,
                                 outputs - sure - bound))
        return self.pieces[-1].call()

    def _is_read_later(self, name: str, run: list[ast.stmt], loops: bool,
                       exposed: set[str]) -> bool:
        start = (run[0].lineno, run[0].col_offset)
        end = (run[-1].end_lineno or 0, run[-1].end_col_offset or 0)
        for n, *place in self.places:
            if n == name and (tuple(place) >= end or loops and tuple(place) < start):
                return True
        return loops and name in exposed

    def _may_be_compiled(self, s: ast.stmt, loops: bool) -> bool:
        if isinstance(s, _ALWAYS_PYTHON) or leaves(s) or any(
                [id(x) in self.python for x in own_statements([s])]):
            return False
        uses = uses_of([s])
        if uses.deletes or uses.outer or uses.stores & self.outer or {
                "super", "__class__"} & uses.loads:
            return False
        # What refers to a variable must not be older than its value.
        start, end = (s.lineno, s.col_offset), (s.end_lineno or 0, s.end_col_offset or 0)
        return all([n not in self.captured or not loops and self.captured[n] >= end
                    for n in uses.stores]) and not any(
            [n in uses.captured and (loops or tuple(place) >= start) for n, *place in self.sets])

    def _as_python(self, s: ast.stmt, bound: set[str], loops: bool) -> list[ast.stmt]:
        """A statement that runs in Python; what it has inside may be parts again."""
        if isinstance(s, (ast.If, ast.While)):
            loops = loops or isinstance(s, ast.While)
            made: Any = copy.copy(s)
            made.test = self._picking(s.test)
        elif isinstance(s, ast.For):
            made = copy.copy(s)
            made.iter = self._picking(s.iter)
            made.body = self._block(s.body, bound | uses_of([s.target]).stores, True)
            made.orelse = self._block(s.orelse, bound, loops) if s.orelse else []
            return [made]
        elif isinstance(s, ast.With):
            return self._with(s, s.items, bound, loops)
        elif isinstance(s, _ALWAYS_PYTHON):
            return [s]
        else:
            return [self._picking(s)]
        made.body = self._block(s.body, bound, loops)
        made.orelse = self._block(s.orelse, bound, loops) if s.orelse else []
        return [made]

    def _with(self, s: ast.With, items: Sequence[ast.withitem], bound: set[str], loops: bool
              ) -> list[ast.stmt]:
        """Parts inside only where an error goes on through the context manager."""
        if not items:
            return self._block(s.body, bound, loops)
        manager = f"{_MANAGER}{len(items)}"
        made = _written([f"{manager} = None", f"if {TRUSTS}({manager}):", f"    with {manager}:",
                         "        pass", "else:", f"    with {manager}:", "        pass"], s)
        made[0].value = self._picking(items[0].context_expr)  # type: ignore[attr-defined]
        choice: Any = made[1]
        inner = bound | uses_of([items[0]]).stores
        for one, body in ((choice.body[0], self._with(s, items[1:], inner, loops)),
                          (choice.orelse[0], self._plain_with(s, items[1:]))):
            one.items[0].optional_vars = items[0].optional_vars
            one.body = body
        return made

    def _plain_with(self, s: ast.With, items: Sequence[ast.withitem]) -> list[ast.stmt]:
        if not items:
            return s.body
        made = copy.copy(s)
        made.items = list(items)
        return [made]

    def _picking(self, node: Any) -> Any:
        """What it calls may be compiled."""
        return _Picking(self).visit(copy.deepcopy(node))

    def statements(self) -> Iterator[ast.stmt]:
        """All statements of the function's own."""
        return own_statements(self.tree.body)

    def at(self, place: tuple, whole: bool) -> ast.stmt | None:
        """The innermost statement at a place, (line, end line, column, end column).

        Where what is tested was traced together with the test (``whole``), it is the test.
        """
        line, _, column, _ = place
        around = [s for s in self.statements() if (s.lineno, s.col_offset) <= (line, column) < (
            s.end_lineno or s.lineno, s.end_col_offset or 0)]
        found = max(around, key=lambda s: (s.lineno, s.col_offset), default=None)
        if whole and isinstance(found, ast.Assign) and hasattr(found, "user") and place == (
                found.lineno, found.end_lineno, found.col_offset, found.end_col_offset):
            return found.user
        return found


def own_statements(body: Iterable[ast.AST]) -> Iterator[ast.stmt]:
    for s in body:
        if isinstance(s, ast.stmt):
            yield s
        if not isinstance(s, _SCOPES):
            yield from own_statements(ast.iter_child_nodes(s))


def _unfolded(body: list[ast.stmt]) -> list[ast.stmt]:
    """The same statements, where what is computed to be returned or tested has one of its own."""
    found: list[ast.stmt] = []
    for s in body:
        if not isinstance(s, _SCOPES):
            for name in ("body", "orelse", "finalbody"):
                if getattr(s, name, None):
                    setattr(s, name, _unfolded(getattr(s, name)))
            for handler in getattr(s, "handlers", ()):
                handler.body = _unfolded(handler.body)
        if isinstance(s, ast.Return) and s.value is not None and _computes(s.value):
            found.append(_moved(s.value, _RESULT, s))
            s.value, s.lineno, s.col_offset = _behind(s.value, _RESULT)
        elif isinstance(s, ast.If) and _computes(s.test):
            found.append(_moved(s.test, _TEST, s))
            s.test = _behind(s.test, _TEST)[0]
        elif isinstance(s, ast.While) and _computes(s.test) and not s.orelse:
            leaving = _written([f"if {_TEST}:", "    pass", "else:", "    break"], s)[0]
            first = _moved(s.test, _TEST, leaving)
            ast.copy_location(leaving, first)
            leaving.test = _behind(s.test, _TEST)[0]  # type: ignore[attr-defined]
            s.test = ast.copy_location(ast.Constant(True), s.test)
            s.body = [first, leaving, *s.body]
        found.append(s)
    return found


def _computes(node: ast.AST) -> bool:
    return any([isinstance(n, _COMPUTES) for n in ast.walk(node)])


def _moved(value: ast.expr, name: str, user: ast.stmt) -> ast.stmt:
    """A statement that computes ``value``, where it stands, for the statement ``user``."""
    target = ast.copy_location(ast.Name(name, ast.Store()), value)
    made = ast.copy_location(ast.Assign([target], value), value)
    made.user = user  # type: ignore[attr-defined]
    return made


def _behind(value: ast.expr, name: str) -> tuple[ast.expr, int, int]:
    """The variable ``name``, read right behind ``value``; and that place."""
    line, column = value.end_lineno or 0, value.end_col_offset or 0
    return ast.Name(name, ast.Load(), lineno=line, col_offset=column, end_lineno=line,
                    end_col_offset=column), line, column


def leaves(s: ast.AST, inside: bool = False) -> bool:
    """Whether a statement may leave the run it stands in, but by an error."""
    if isinstance(s, (ast.Return, ast.Yield, ast.YieldFrom, ast.Await)):
        return True
    if isinstance(s, (ast.Break, ast.Continue)):
        return not inside
    if isinstance(s, _SCOPES):
        return False
    inside = inside or isinstance(s, (ast.For, ast.While))
    return any([leaves(x, inside) for x in ast.iter_child_nodes(s)])


class _Picking(ast.NodeTransformer):
    """Writes ``pick(f)(x)`` for ``f(x)``, where it is evaluated in the function itself."""

    def __init__(self, splitter: Splitter) -> None:
        self.splitter = splitter

    def _leave(self, node: Any) -> Any:
        return node

    visit_Lambda = visit_FunctionDef = visit_ClassDef = visit_AsyncFunctionDef = _leave
    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _leave

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        f = node.func
        if isinstance(f, ast.Name) and hasattr(builtins, f.id) or (
                isinstance(f, ast.Attribute) and f.attr in _SHORT):
            return node
        number = len(self.splitter.picks)
        self.splitter.picks.append((node.lineno, node.end_col_offset or 0))
        picked = ast.Call(func=ast.Name(id=f"{PICK}{number}", ctx=ast.Load()), args=[f],
                          keywords=[])
        for made in (picked, picked.func):
            ast.copy_location(made, f)
        node.func = picked
        return node
