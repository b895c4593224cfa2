"""Numbers that keep changing, a learning rate say, as inputs of a program.

While a step is traced, such a number is a `LiveFloat` in its place. It computes as a float does,
and remembers how: what an operator gets is then an input of the graph, computed again at every
call. A comparison is a check; where the number gets away (to be printed, rounded, hashed) the
trace is one for its present value alone.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CellType
from typing import Any

import numpy as np

from flambeau.compiler.graph import Scalar, Value
from flambeau.compiler.state import Entry, State

__all__ = ["LiveFloat", "Place", "Watched", "agrees", "changed_floats", "frozen", "in_place",
           "is_index", "live", "now",
           "place_of", "settled", "signature"]

Expression = Callable[[Sequence[float]], float]


class Place:
    """Where a changing number is: in a container of the program's, or argument number ``key``.

    It is of the class ``held``: a float, or an integer that indexes.
    """

    __slots__ = ("held", "index", "key", "kind", "owner")

    def __init__(self, kind: str, owner: Any, key: Any, index: int, held: type = float) -> None:
        self.held = held
        self.kind = kind
        self.owner = owner
        self.key = key
        # its number among what the entry of its container holds
        self.index = index

    @property
    def mark(self) -> tuple:
        """What tells it from others."""
        return self.kind, id(self.owner), self.key

    def is_there(self, leaves: Sequence[Any]) -> bool:
        """Whether there is such a number at a call with these arguments, which may be fewer."""
        return now((self,), leaves) is not None

    def read(self) -> Any:
        """What is there now."""
        return self.owner.cell_contents if self.kind == "cell" else self.owner[self.key]

    def write(self, value: Any) -> None:
        """Put ``value`` there."""
        if self.kind == "cell":
            self.owner.cell_contents = value
        else:
            self.owner[self.key] = value


class Watched:
    """What became of the changing numbers of one trace."""

    def __init__(self) -> None:
        self.leaked = False
        # (left, right, comparison, its outcome)
        self.checks: list[tuple[Expression, Expression, Callable, bool]] = []


class LiveFloat(float):
    """A float whose value at later calls ``expression(values)`` gives."""

    expression: Expression
    watched: Watched

    def __new__(cls, value: float, expression: Expression, watched: Watched) -> LiveFloat:
        made = super().__new__(cls, value)
        made.expression = expression
        made.watched = watched
        return made

    def __reduce__(self) -> tuple:
        return float, (float.__pos__(self),)

    def __pos__(self) -> LiveFloat:
        return self

    @property
    def real(self) -> float:
        """The value: as a constant."""
        self.watched.leaked = True
        return float.__pos__(self)


def _expression_of(x: Any) -> Expression:
    if isinstance(x, LiveFloat):
        return x.expression
    fixed = x
    return lambda values: fixed


def _binary(name: str, compute: Callable, swapped: bool) -> None:
    def method(self: LiveFloat, other: Any) -> Any:
        if type(other) not in (float, int, bool, LiveFloat):
            return NotImplemented
        mine, theirs = self.expression, _expression_of(other)
        a = float.__pos__(self)
        b = float.__pos__(other) if isinstance(other, float) else other
        left, right = (theirs, mine) if swapped else (mine, theirs)
        value = compute(b, a) if swapped else compute(a, b)
        if type(value) is not float:
            self.watched.leaked = True
            return value
        return LiveFloat(value, lambda v: compute(left(v), right(v)), self.watched)

    setattr(LiveFloat, f"__{'r' if swapped else ''}{name}__", method)


def _unary(name: str, compute: Callable) -> None:
    def method(self: LiveFloat) -> LiveFloat:
        mine = self.expression
        return LiveFloat(compute(float.__pos__(self)), lambda v: compute(mine(v)), self.watched)

    setattr(LiveFloat, f"__{name}__", method)


def _comparison(name: str, compare: Callable) -> None:
    def method(self: LiveFloat, other: Any) -> Any:
        if type(other) not in (float, int, bool, LiveFloat):
            return NotImplemented
        b = float.__pos__(other) if isinstance(other, float) else other
        found = compare(float.__pos__(self), b)
        self.watched.checks.append((self.expression, _expression_of(other), compare, found))
        return found

    setattr(LiveFloat, f"__{name}__", method)


def _leak(name: str) -> None:
    plain = getattr(float, name)

    def method(self: LiveFloat, *args: Any) -> Any:
        self.watched.leaked = True
        return plain(self, *args)

    setattr(LiveFloat, name, method)


for _name, _compute in {"add": operator.add, "sub": operator.sub, "mul": operator.mul,
                        "truediv": operator.truediv, "pow": operator.pow, "mod": operator.mod,
                        "floordiv": operator.floordiv}.items():
    _binary(_name, _compute, False)
    _binary(_name, _compute, True)
_unary("neg", operator.neg)
_unary("abs", abs)
for _name, _compute in {"lt": operator.lt, "le": operator.le, "gt": operator.gt,
                        "ge": operator.ge, "eq": operator.eq, "ne": operator.ne}.items():
    _comparison(_name, _compute)
for _name in ("__int__", "__trunc__", "__round__", "__floor__", "__ceil__", "__hash__", "__float__",
              "__repr__", "__str__", "__format__", "__divmod__", "__rdivmod__", "is_integer",
              "as_integer_ratio", "hex"):
    _leak(_name)


def _bool(self: LiveFloat) -> bool:
    found = float.__ne__(self, 0.0)
    self.watched.checks.append((self.expression, lambda v: 0.0, operator.ne, found))
    return found


LiveFloat.__bool__ = _bool  # type: ignore[method-assign, assignment]


def changed_floats(state: State) -> Iterator[Place]:
    """The floats of a program's state that are other floats now."""
    for entry in state.entries:
        for i, old, new in entry.changes():
            if i >= 0 and type(old) is float and type(new) is float:
                place = place_of(entry, i)
                if place is not None:
                    yield place


def place_of(entry: Entry, i: int) -> Place | None:
    """Where number ``i`` of an entry is, if it can be replaced there."""
    owner = entry.owner
    if entry.kind == "cell" and isinstance(owner, CellType):
        return Place("cell", owner, None, 0)
    if entry.kind == "items" and type(owner) is dict:
        return Place("items", owner, entry.key[i], i)
    if entry.kind == "dict" and isinstance(owner, dict) and i % 2:
        return Place("dict", owner, entry.held[i - 1], i)
    if entry.kind == "list" and type(owner) is list:
        return Place("list", owner, i, i)
    return None


def now(places: Sequence[Place], leaves: Sequence[Any]) -> list[Any] | None:
    """The values of changing numbers at this call; None where one is of another class now."""
    try:
        found = [leaves[p.key] if p.kind == "argument" else p.read() for p in places]
    except (KeyError, IndexError, ValueError):
        return None
    return found if all([type(x) is p.held for p, x in zip(places, found)]) else None


@contextmanager
def in_place(places: Sequence[Place], watched: Watched) -> Iterator[None]:
    """Live floats in the places of numbers meanwhile."""
    before = [(p, p.read()) for p in places if p.kind != "argument"]
    try:
        for number, p in enumerate(places):
            if p.kind != "argument":
                p.write(live(p.read(), number, watched))
        yield
    finally:
        for p, value in before:
            if isinstance(p.read(), LiveFloat):
                p.write(value)


def live(value: float, number: int, watched: Watched) -> LiveFloat:
    """``value`` as the changing number ``number``."""
    return LiveFloat(value, lambda values: values[number], watched)


def settled(x: Any) -> Any:
    """A number that keeps changing as the float it is now; anything else as it is."""
    return float.__pos__(x) if type(x) is LiveFloat else x


def is_index(node: Any) -> bool:
    """Whether a node of a graph is an integer that keeps changing."""
    return node.kind == "live" and node.outputs[0].dtype.kind == "i"


def signature(graph: Any) -> list[tuple]:
    """What of a graph may depend on numbers of the program: per node, in order."""
    found = []
    for node in graph.nodes:
        if node.kind == "live":
            continue
        numbers = tuple([_number_in(x) for x in node.inputs])
        params = tuple([(k, _comparable(v)) for k, v in node.params.items()])
        found.append((node.kind, node.name, numbers, params))
    return found


def _number_in(x: Any) -> Any:
    if type(x) is Value:
        if is_index(x.node):
            return "index"
        return x.node.params["expression"] if x.node.kind == "live" else None
    return (type(x.value).__name__, repr(x.value)) if type(x) is Scalar else None


def _comparable(v: Any) -> Any:
    if isinstance(v, np.ndarray):
        return v.dtype.str, v.shape, v.tobytes()
    return "function" if callable(v) or hasattr(v, "get_state") else repr(v)


def frozen(trace: Any, values: Sequence[Any], indices: bool = False) -> list[tuple]:
    """Make the changing floats of a trace constants; returns the signature that gives.

    So are integers, where the ``indices`` are to be.
    """
    found = []
    for kind, name, numbers, params in signature(trace.graph):
        plain = tuple([("float", repr(n(values))) if callable(n) else n for n in numbers])
        found.append((kind, name, plain, params))
    lives: list[tuple] = []
    for node in trace.graph.nodes:
        if node.kind != "live":
            continue
        expression, array = trace.lives[node.params["at"]]
        if is_index(node) and not indices:
            node.params = {**node.params, "at": len(lives)}
            lives.append((expression, array))
        else:
            node.kind = "const"
            node.params = {"array": array}
    trace.lives = lives
    return found


def agrees(before: list[tuple], after: list[tuple], values: Sequence[float]) -> bool:
    """Whether two traces differ in nothing but changing numbers, which were ``values`` before."""
    if len(before) != len(after):
        return False
    for (kind, name, numbers, params), (kind2, name2, numbers2, params2) in zip(before, after):
        if (kind, name, params) != (kind2, name2, params2) or len(numbers) != len(numbers2):
            return False
        for a, b in zip(numbers, numbers2):
            if callable(b):
                b = ("float", repr(b(values)))
            if a != b:
                return False
    return True
