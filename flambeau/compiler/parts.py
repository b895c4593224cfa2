"""Functions that are not one program: the parts of them that are, and when to part them further.

Where a trace met something that it cannot stand for, the statement that did so runs in Python
from then on, and what is before and after it becomes parts, each with programs of its own
(`split`). What that statement calls may be compiled by itself. Where a part is no program and no
statement can be blamed, it is halved, until one can be.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from importlib import import_module
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from flambeau.base.messages import text
from flambeau.base.pytree import tree_flatten
from flambeau.compiler.flow import heads, uses_of
from flambeau.compiler.observer import LIBRARY, PROGRAM, STANDARD, kind_of, nested_codes
from flambeau.compiler.repeatable import shared_results, unrepeatable
from flambeau.compiler.results import FAILED, MISSED
from flambeau.compiler.sources import Source, source_of
from flambeau.compiler.split import PICK, TRUSTS, UNSET, Piece, Splitter, own_statements
from flambeau.compiler.state import State
from flambeau.compiler.trace import Trace
from flambeau.compiler.unit import Reason, Unit
from flambeau.core.tensor import Tensor

__all__ = ["Part", "Parts", "parts_of"]

# How many callables one place of a function may compile.
CALLABLES = 16
# How many calls in a row may fit no program of a part, once it may have no more of them.
MISSES = 32
# How many programs may differ in the values of the same variables.
VALUES = 4
_RUNS_LATER = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class _Unset(Enum):
    """What stands for a variable that is not bound."""

    UNSET = 0


class _Quiet(Unit):
    """A unit that nobody asked for: it warns of nothing, and fails as eager mode does."""

    undoes = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.misses = 0
        self.runs_then = -1
        # Whether calling it compiled is not worth the try.
        self.hopeless = False

    def _tell(self, key: str, **facts: Any) -> None:
        pass

    def _is_due(self, leaves: list) -> bool:
        if len(self.programs) < self.limit:
            return super()._is_due(leaves)
        runs = self.runs
        self.misses = self.misses + 1 if runs == self.runs_then else 0
        self.runs_then = runs
        if self.misses > MISSES:
            self._give_up()
        return False

    def _give_up(self) -> None:
        self.hopeless = True

    def _checked(self, result: Any, trace: Trace, leaves: list, args: tuple,
                 kwargs: dict[str, Any], state: State) -> list[Reason]:
        return _idle(trace) + super()._checked(result, trace, leaves, args, kwargs, state)

    def _give_way(self, reasons: list[Reason]) -> None:
        super()._give_way(reasons)
        self.hopeless = self.parts is None


class Part(_Quiet):
    """A run of statements as a unit: calls give what they set, or None where they did not run."""

    def __init__(self, parts: Parts, piece: Piece, function: FunctionType) -> None:
        super().__init__(function)
        self.name = text("compile_lines", name=parts.unit.name, first=piece.lines[0],
                         last=piece.lines[1])
        self.owner = parts
        self.piece = piece
        known = parts.unit.observer
        if known is not None:
            self.observer = known.joined(nested_codes(function.__code__), function.__globals__)
        # Which input each leaf of the arguments is of.
        self.inputs_of: list[str] = []

    def _as_it_is(self, args: tuple, kwargs: dict[str, Any]) -> None:
        return None

    def _in_python(self, args: tuple, kwargs: dict[str, Any]) -> None:
        return None

    def _give_up(self) -> None:
        self.owner.give_up(self, text("compile_many", name=self.name, count=self.limit))

    def _give_way(self, reasons: list[Reason]) -> None:
        self.owner.blame(reasons, self)

    def _is_due(self, leaves: list) -> bool:
        if len(self.programs) == VALUES:
            names = self._varying()
            if names:
                reason = text("compile_varies", names=", ".join(names))
                self.owner.blame([Reason(reason, None, tuple(names))], self)
                return False
        return super()._is_due(leaves)

    def _varying(self) -> list[str]:
        """The names of what was something else at every call."""
        found = [n for i, n in enumerate(self.inputs_of) if self._varies(i)]
        places = {why.partition(" was ")[0] for why in self.retraces[1 - VALUES:]}
        if not found and len(places) == 1 and not self.runs:
            found += self._names(places.pop())
        return found

    def _varies(self, i: int) -> bool:
        """Whether leaf ``i`` is another constant in every program."""
        held = [p.constants[i] for p in self.programs if i < len(p.constants)]
        return not any([x is y or type(x) is type(y) and not isinstance(x, Tensor) and x == y
                        for at, x in enumerate(held) for y in held[:at]]) and held[0] is not None

    def _traced(self, args: tuple, kwargs: dict[str, Any], leaves: list, spec: Any) -> Any:
        self.inputs_of = [name for name, x in zip(self.piece.inputs, args)
                          for _ in tree_flatten(x)[0]]
        return super()._traced(args, kwargs, leaves, spec)

    def _names(self, path: str) -> tuple[str, ...]:
        found = re.search(r"\bargument (\d+)", path)
        if found and int(found[1]) < len(self.inputs_of):
            return (self.inputs_of[int(found[1])],)
        return super()._names(path)

    def _checked(self, result: Any, trace: Trace, leaves: list, args: tuple,
                 kwargs: dict[str, Any], state: State) -> list[Reason]:
        outputs = self.piece.outputs
        known = {*state.objects, *map(id, leaves)}
        found = _idle(trace)
        found += [Reason(text("compile_anew", kind=kind), None, (outputs[at],))
                 for at, kind in unrepeatable(result, args, known)]
        assert trace.spec is not None
        owners = [name for name, of in zip(outputs, trace.spec.children)
                  for _ in range(of.num_leaves)]
        return found + [Reason(text("compile_views"), None, (owners[at],))
                        for at in shared_results(trace)]


class Parts:
    """The parts of a unit's function. ``run`` calls it, with those that are compiled."""

    def __init__(self, unit: Unit, source: Source, splitter: Splitter,
                 called: Callable[[FunctionType], Callable]) -> None:
        self.unit = unit
        self.source = source
        self.splitter = splitter
        self.called = called
        # Why statements run in Python, by identity.
        self.why: dict[int, str] = {}
        self.parts: dict[tuple, Part] = {}
        self.picks: dict[tuple[int, int], _Pick] = {}
        self.run: Callable[..., Any] = unit.function

    @property
    def runs(self) -> int:
        """How often parts ran compiled."""
        return sum([p.runs for p in self.parts.values()])

    def blame(self, reasons: list[Reason], part: Part | None = None) -> bool:
        """Let the statements that are the reason run in Python.

        Returns whether anything else is left to compile.
        """
        run = self.splitter.tree.body if part is None else part.piece.statements
        if any([r.names == NOTHING for r in reasons]) and part is not None:
            self.splitter.dead.add((id(run[0]), id(run[-1])))
        elif not any([self._mark(s, r) for r in reasons
                      for s in self._about(r, run, part is None)]):
            if part is not None:
                self._halve(run, reasons[0])
            elif self.parts:
                return True
        return self._rebuild()

    def give_up(self, part: Part, why: str) -> None:
        """Leave a part's statements to Python."""
        run = part.piece.statements
        self.splitter.dead.add((id(run[0]), id(run[-1])))
        self.why[id(run[0])] = why
        self._rebuild()

    def _mark(self, s: ast.stmt, reason: Reason) -> bool:
        if id(s) in self.splitter.python:
            return False
        self.splitter.python.add(id(s))
        self.why[id(s)] = reason.text
        return True

    def _about(self, reason: Reason, run: list[ast.stmt], whole: bool) -> Iterator[ast.stmt]:
        """The statements of a run that a reason is about."""
        if reason.place is not None:
            found = self.splitter.at(reason.place, whole)
            if found is not None:
                yield found
        elif reason.names:
            for s in own_statements(run):
                if not mentioned(s).isdisjoint(reason.names):
                    yield s

    def _halve(self, run: list[ast.stmt], reason: Reason) -> None:
        if len(run) > 1:
            self.splitter.cuts.add(id(run[len(run) // 2]))
        else:
            self._mark(run[0], reason)
            # Found: what was cut in looking for it may be one again.
            self.splitter.cuts.clear()

    def _rebuild(self) -> bool:
        written = self.splitter.written()
        known, self.parts = self.parts, {}
        held: dict[str, Any] = {UNSET: _Unset.UNSET, TRUSTS: trusts}
        new = [p for p in self.splitter.pieces if p.key not in known]
        made = self.source.build([p.definition() for p in new], held) if new else []
        for piece, function in zip(new, made):
            known[piece.key] = Part(self, piece, function)
        for piece in self.splitter.pieces:
            part = self.parts[piece.key] = known[piece.key]
            held[piece.name] = _entry(part)
        for number, place in enumerate(self.splitter.picks):
            held[f"{PICK}{number}"] = self.picks.setdefault(place, _Pick())
        (function,) = self.source.build([written], held)
        original = self.source.function
        function.__defaults__, function.__kwdefaults__ = (
            original.__defaults__, original.__kwdefaults__)
        self.run = self.called(function)
        return bool(self.splitter.pieces or self.splitter.picks)

    def told(self) -> Iterator[tuple[ast.stmt, str, str]]:
        """The statements that run in Python, what they look like, and why."""
        for s in self.splitter.statements():
            if id(s) in self.why:
                yield s, ast.unparse(s).partition("\n")[0], self.why[id(s)]

    def units(self) -> Iterator[tuple[tuple[int, int], Unit]]:
        """What is compiled by itself, with its lines."""
        for part in self.parts.values():
            yield part.piece.lines, part
        for place in self.splitter.picks:
            for _, unit in self.picks[place].known.values():
                if unit is not None:
                    yield (place[0], place[0]), unit


# The name that reasons have which say that a part computes nothing.
NOTHING = ("",)


def _idle(trace: Trace) -> list[Reason]:
    """That a traced call neither computed nor changed anything, where so."""
    works = trace.written or trace.moved or any(
        [before is not after for before, after in trace.grads.values()]) or any(
        [node.kind in ("op", "draw", "write") for node in trace.graph.nodes])
    return [] if works else [Reason(text("compile_nothing"), None, NOTHING)]


def mentioned(s: ast.stmt) -> set[str]:
    """The variables and attributes that a statement's own line mentions."""
    nodes = heads(s)
    uses = uses_of(nodes)
    return uses.loads | uses.stores | {
        n.attr for x in nodes for n in ast.walk(x) if isinstance(n, ast.Attribute)}


def _entry(unit: Unit) -> Callable[..., Any]:
    """What calls a unit."""

    def call(*args: Any, **kwargs: Any) -> Any:
        if not kwargs and len(args) == unit.count:
            result = unit.fast(*args)
            if result is not MISSED and result is not FAILED:
                return result
        return unit(args, kwargs)

    return call


def trusts(manager: Any) -> bool:
    """Whether errors go on through a context manager: those of flambeau swallow none."""
    if isinstance(manager, contextlib.nullcontext):
        return True
    code = getattr(getattr(manager, "gen", None), "gi_code", None)
    if code is None:
        code = getattr(getattr(type(manager), "__exit__", None), "__code__", None)
    return code is not None and kind_of(code.co_filename) not in (PROGRAM, STANDARD)


class _Pick:
    """What a place in a function calls: as it is, or as a unit of its own."""

    def __init__(self) -> None:
        self.known: dict[Any, tuple[Any, _Quiet | None]] = {}
        self.entries: dict[Any, Callable] = {}

    def __call__(self, f: Any) -> Any:
        kind = type(f)
        if kind is BuiltinFunctionType or kind is type:
            return f
        if kind is MethodType:
            if isinstance(f.__self__, Tensor):
                return f
            key: Any = (id(f.__func__), id(f.__self__))
        else:
            key = id(f)
        if key not in self.known:
            if len(self.known) >= CALLABLES:
                return f
            # Held, so that no other object gets its number.
            made = _Quiet(f, parted=parts_of) if _is_compilable(f) else None
            self.known[key] = (f, made)
            if made is not None:
                self.entries[key] = _entry(made)
        unit = self.known[key][1]
        return f if unit is None or unit.hopeless else self.entries[key]


def _is_compilable(f: Any) -> bool:
    """Whether calling ``f`` may be worth a program: a module, or a function of the user's."""
    if hasattr(f, "_unit") or hasattr(f, "_compiled_call") or hasattr(f, "_torchdynamo_disable"):
        return False
    if hasattr(f, "named_parameters") and hasattr(f, "forward"):
        return True
    function = f.__func__ if type(f) is MethodType else f
    if type(function) is not FunctionType or function.__code__.co_flags & _RUNS_LATER:
        return False
    kind = kind_of(function.__code__.co_filename)
    return kind is PROGRAM or kind is LIBRARY and function.__module__.startswith(
        ("flambeau.nn", "flambeau.optim", "torch.nn", "torch.optim"))


def parts_of(unit: Unit) -> Parts | None:
    """The parts of a unit's function; None where its source cannot be told or parted."""
    function, called = _target(unit.function)
    if function is None or function.__code__.co_flags & _RUNS_LATER:
        return None
    source = source_of(function)
    if source is None:
        return None
    splitter = Splitter(source.tree, function.__globals__)
    return Parts(unit, source, splitter, called) if splitter.splits else None


def _target(function: Any) -> tuple[FunctionType | None, Callable[[FunctionType], Callable]]:
    """The function in Python behind a callable, and how to call another one in its place."""
    if type(function) is FunctionType:
        return function, lambda f: f
    if type(function) is MethodType and type(function.__func__) is FunctionType:
        return function.__func__, lambda f: functools.partial(f, function.__self__)
    if hasattr(function, "named_parameters") and hasattr(function, "forward"):
        own = getattr(function.forward, "__func__", None)
        # a later layer has the class of modules
        calls = import_module("flambeau.nn.optimized_module").calls_forward
        if type(own) is FunctionType and calls(function):
            call_with = import_module("flambeau.nn.optimized_module").call_with
            return own, lambda f: functools.partial(call_with, function, own, f)
    return None, lambda f: f
