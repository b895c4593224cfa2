"""The graph made smaller, to the same values: no copies, no repetitions, nothing unneeded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from flambeau.compiler.graph import Graph, Node, Scalar, Value
from flambeau.compiler.interpreter import step_of
from flambeau.compiler.lowered import LOWERED
from flambeau.compiler.rewrites import RULES, in_int64, in_rows
from flambeau.core.op import OPS

__all__ = ["constant_of", "simplified", "trimmed"]

ndarray = np.ndarray
# Constants up to this size are computed with while compiling.
FOLDED = 64
_SAME = frozenset(("alias", "clone", "contiguous", "detach"))
_RESHAPES = frozenset(("expand", "reshape_copy", "view"))
_POWERS = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}


class Simplified:
    """A new graph, and for every value of the old one where it is now."""

    def __init__(self, graph: Graph, inputs: dict[int, Value], found: dict[int, Value]) -> None:
        self.graph = graph
        self.inputs = inputs
        self.found = found

    def __getitem__(self, old: Value) -> Value:
        return self.found[old.number]


def simplified(graph: Graph, wanted: Iterable[Value]) -> Simplified:
    """The graph that computes ``wanted``, and all checks and random numbers, in fewer nodes."""
    wanted = list(wanted)
    kept = _needed(graph, wanted)
    pass_ = _Pass(_used_once(graph, wanted))
    for node in graph.nodes:
        if id(node) in kept:
            pass_.take(node)
    return Simplified(pass_.graph, pass_.inputs, pass_.found)


def _used_once(graph: Graph, wanted: Iterable[Value]) -> set[int]:
    """The values that one node takes, once, and nobody else."""
    counts = Counter([v.number for node in graph.nodes for v in node.values()])
    return {number for number, count in counts.items() if count == 1} - {v.number for v in wanted}


def trimmed(graph: Graph, wanted: Iterable[Value]) -> Graph:
    """The graph without the nodes that nobody needs; the others stay themselves."""
    kept = _needed(graph, wanted)
    graph.nodes = [n for n in graph.nodes if id(n) in kept]
    return graph


def _needed(graph: Graph, wanted: Iterable[Value]) -> set[int]:
    needed = {v.number for v in wanted}
    kept: set[int] = set()
    for node in reversed(graph.nodes):
        must = node.kind in ("check", "test") or node.fixed
        if must or any([v.number in needed for v in node.outputs]):
            kept.add(id(node))
            needed.update([v.number for v in node.values()])
    return kept


def constant_of(x: Any) -> ndarray | None:
    """The array of a constant value, else None."""
    if type(x) is Value and x.node.kind == "const":
        return x.node.params["array"]
    return None


class _Pass:
    def __init__(self, once: set[int]) -> None:
        self.once = once
        self.graph = Graph()
        self.found: dict[int, Value] = {}
        self.inputs: dict[int, Value] = {}
        self.known: dict[Hashable, tuple[Value, ...]] = {}

    def take(self, node: Node) -> None:
        """Put ``node`` into the new graph, or find what it gives there already."""
        inputs = tuple([self.found[x.number] if type(x) is Value else x for x in node.inputs])
        outs = self._place(node, inputs)
        for old, new in zip(node.outputs, outs):
            self.found[old.number] = new

    def _place(self, node: Node, inputs: tuple) -> Sequence[Value]:
        if node.kind == "op":
            assert node.op is not None
            rule = _RULES.get(node.op.name)
            found = rule(self, node, inputs) if rule is not None else None
            if found is None and node.op.name in _SAME:
                found = inputs[0]
            if found is not None:
                return found if isinstance(found, tuple) else (found,)
            if node.op.kind == "pointwise":
                inputs = in_rows(self, inputs, node.outputs[0].shape)
        if node.kind == "check":
            inputs = (in_int64(self, inputs[0]),)
        return self.add(node.kind, node.op, inputs, node.params, node.outputs)

    def add(self, kind: str, op: Any, inputs: Sequence[Any], params: dict[str, Any],
            like: Sequence[Any]) -> Sequence[Value]:
        """A node of the new graph, or an equal one that is there."""
        made = Node(kind, op, inputs, params)
        key = None if made.fixed else _key(kind, op, inputs, params)
        if key is not None and key in self.known:
            return self.known[key]
        node = self.graph.add(kind, op, inputs, params, like)
        outs: tuple[Value, ...] = node.outputs
        if kind == "input":
            self.inputs[params["at"]] = outs[0]
        elif kind == "op" and op.kind == "pointwise":
            outs = self._folded(node) or outs
        if key is not None:
            self.known[key] = outs
        return outs

    def _folded(self, node: Node) -> tuple[Value, ...] | None:
        """The result as a constant, where all operands are small ones."""
        arrays = [constant_of(x) for x in node.inputs if type(x) is Value]
        if any(a is None or a.size > FOLDED for a in arrays) or node.outputs[0].size > FOLDED:
            return None
        values: list = [None] * self.graph.count
        for x, a in zip(node.values(), arrays):
            values[x.number] = a
        step_of(node)(values)
        result = values[node.outputs[0].number]
        self.graph.nodes.pop()
        return tuple(self.add("const", None, (), {"array": result}, (result,)))

    def op_of(self, name: str, operands: Sequence[Any], like: Any) -> Value:
        """The result of an operator on values and numbers."""
        return self.add("op", OPS[name], operands, {}, (like,))[0]

    def op(self, name: str, x: Any, like: Any, **params: Any) -> Value:
        """The result of an operator on one value."""
        return self.add("op", OPS[name], (x,), params, (like,))[0]


def _key(kind: str, op: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Hashable:
    parts = tuple([x.number if type(x) is Value else (type(x.value).__name__, repr(x.value))
                   if type(x) is Scalar else None for x in inputs])
    if kind == "live":
        return None
    if kind == "const":
        a = params["array"]
        return None if a.size > FOLDED else ("const", a.dtype, a.shape, a.tobytes())
    try:
        settings = tuple([(k, type(v).__name__, repr(v) if isinstance(v, float) else v)
                          for k, v in params.items()])
        hash(settings)
    except TypeError:
        return None
    return kind, None if op is None else op.name, parts, settings


# Numbers below this do not overflow when they are doubled.
_LARGE = 2.0**100
Rule = Callable[[Any, Node, tuple], "Value | tuple[Value, ...] | None"]


def _cast(p: _Pass, node: Node, inputs: tuple) -> Value | None:
    return inputs[0] if inputs[0].dtype == node.outputs[0].dtype else None


def _copy(p: _Pass, node: Node, inputs: tuple) -> Value | None:
    x, out = inputs[0], node.outputs[0]
    if x.dtype != out.dtype:
        like = np.broadcast_to(np.zeros((), out.dtype), x.shape)
        x = p.op("to_dtype", x, like, dtype=node.params["dtype"])
    return x if x.shape == out.shape else p.op("expand", x, out, shape=out.shape)


def _reshape(p: _Pass, node: Node, inputs: tuple) -> Value | None:
    return inputs[0] if inputs[0].shape == node.outputs[0].shape else None


def _power(p: _Pass, node: Node, inputs: tuple) -> Value | None:
    x, n = inputs
    out = node.outputs[0]
    if type(n) is not Scalar or type(x) is not Value or x.dtype.kind != "f":
        return None
    if n.value == 1 and x.dtype == out.dtype:
        return x
    if n.value == 3 and x.dtype == out.dtype:
        return p.add("op", OPS["mul"], (p.op("square", x, out), x), {}, (out,))[0]
    name = _POWERS.get(n.value) if x.dtype == out.dtype else None
    return None if name is None else p.op(name, x, out)


def _product(p: _Pass, node: Node, inputs: tuple) -> Value | None:
    found = _times(p, node, inputs)
    return _half_of_one_and_tanh(p, node) if found is None else found


def _half_of_one_and_tanh(p: _Pass, node: Node) -> Value | None:
    """(x / 2) (1 + tanh u) as x / (1 + exp(-2 u)), which is shorter, and exact where u is low."""
    if node.outputs[0].dtype.kind != "f":
        return None
    for half, rise in (node.inputs, node.inputs[::-1]):
        x, bent = _beside(p, half, "mul", 0.5), _beside(p, rise, "add", 1)
        if x is None or bent is None or bent.node.name != "tanh" or bent.number not in p.once:
            continue
        if {v.dtype for v in (x, bent, half, rise)} != {node.outputs[0].dtype}:
            continue
        power = p.op("exp", _doubled(p, bent.node.inputs[0], bent), bent)
        return p.op_of("div", (p.found[x.number], p.op_of("add", (power, Scalar(1.0)), bent)),
                       node.outputs[0])
    return None


def _doubled(p: _Pass, u: Value, like: Value) -> Value:
    """-2 u; where u is something times a number that nobody else needs, by twice that number."""
    found = p.found[u.number]
    if found.node.name == "mul" and u.number in p.once:
        for x, n in (found.node.inputs, found.node.inputs[::-1]):
            if type(x) is Value and x.dtype == like.dtype and type(n) is Scalar and (
                    type(n.value) is float and abs(n.value) < _LARGE):
                return p.op_of("mul", (x, Scalar(-2 * n.value)), like)
    return p.op_of("mul", (found, Scalar(-2.0)), like)


def _beside(p: _Pass, value: Any, name: str, number: float) -> Value | None:
    """The x of ``x * number`` (or what ``name`` says), where the value is that and used once."""
    if type(value) is not Value or value.node.name != name or value.number not in p.once:
        return None
    if value.node.params.get("alpha", 1) != 1:
        return None
    for x, n in (value.node.inputs, value.node.inputs[::-1]):
        if type(x) is Value and type(n) is Scalar and n.value == number:
            return x
    return None


def _times(p: _Pass, node: Node, inputs: tuple) -> Value | None:
    x, n = inputs
    if type(x) is Value and type(n) is Scalar and n.value == 1 and type(n.value) is not bool:
        if x.dtype == node.outputs[0].dtype:
            return x
    return None


_RULES: dict[str, Rule] = {
    **RULES,
    **LOWERED,
    "to_dtype": _cast,
    "copy": _copy,
    "pow": _power,
    "mul": _product,
    "div": _times,
    **dict.fromkeys(_RESHAPES, _reshape),
}
