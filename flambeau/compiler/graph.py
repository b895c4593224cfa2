"""The graph of a step: values, the nodes that make them, and what is written back at the end."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from flambeau.core.op import Op

__all__ = ["PRODUCTS", "Graph", "Node", "Scalar", "Value"]

# Which of a matrix product's two operands, its last inputs, comes transposed.
PRODUCTS = {"mm": (False, False), "mm_nt": (False, True), "mm_tn": (True, False),
            "bmm": (False, False), "matmul": (False, False), "linear": (False, True)}


class Scalar:
    """A Python number where an operand may stand."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return repr(self.value)


class Value:
    """An array that a node makes; it never changes."""

    __slots__ = ("dtype", "index", "node", "number", "shape", "size", "strides")

    def __init__(self, node: Node, index: int, array: np.ndarray) -> None:
        self.node = node
        self.index = index
        self.number = -1
        self.shape = array.shape
        self.size = math.prod(array.shape)
        self.dtype = np.dtype(array.dtype.type) if array.dtype.metadata else array.dtype
        self.strides = array.strides

    def copied(self, node: Node, index: int) -> Value:
        """One that looks alike, of another node."""
        found = Value.__new__(Value)
        found.node, found.index, found.number = node, index, -1
        found.shape, found.size = self.shape, self.size
        found.dtype, found.strides = self.dtype, self.strides
        return found

    @property
    def nbytes(self) -> int:
        """How many bytes."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"%{self.number}"


class Node:
    """One operation of a graph.

    Kinds:
    "op": an operator, on ``inputs``, which are values, scalars or None;
    "input": what is bound at call ``params["at"]``;
    "const": ``params["array"]``;
    "live": a number that is computed anew at every call;
    "draw": random numbers, ``params["draw"](array)``;
    "write": the first input with the view ``params["chain"]`` of it overwritten by the second;
    "check": the run is off where an integer of the input is not in [low, high) and not ``ignored``;
    "test": the run is off where ``params["fails"](array)``.
    """

    __slots__ = ("inputs", "kind", "likeness", "line", "op", "outputs", "params")

    def __init__(self, kind: str, op: Op | None, inputs: Sequence[Any],
                 params: dict[str, Any]) -> None:
        self.kind = kind
        self.op = op
        self.inputs = tuple(inputs)
        self.params = params
        self.outputs: tuple[Value, ...] = ()
        self.line: tuple[str, int] | None = None
        # What makes it like others, once that was asked for: see `elementwise.likeness_of`.
        self.likeness: Hashable | None = None

    @property
    def name(self) -> str:
        """What the graph's text calls it."""
        return self.op.name if self.op is not None else self.kind

    @property
    def fixed(self) -> bool:
        """Whether it must run, once and in its place: it moves a generator of random numbers."""
        return self.kind == "draw" or "engine" in self.params

    def values(self) -> list[Value]:
        """The values among the inputs."""
        return [x for x in self.inputs if type(x) is Value]

    def __repr__(self) -> str:
        outs = ", ".join(map(repr, self.outputs))
        ins = ", ".join(map(repr, self.inputs))
        params = "".join([f", {k}={_told(v)}" for k, v in self.params.items()])
        return f"{outs} = {self.name}({ins}{params})"


def _told(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {list(value.shape)}>"
    return repr(value)


class Graph:
    """Nodes in the order in which they ran."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.count = 0
        # Nodes that make again what another one makes, by id: their kernel is another one.
        self.again: set[int] = set()

    def add(self, kind: str, op: Op | None, inputs: Sequence[Any], params: dict[str, Any],
            arrays: Sequence[Any]) -> Node:
        """A new last node, whose outputs look like ``arrays``, or like other values."""
        node = Node(kind, op, inputs, params)
        outs = [a.copied(node, i) if type(a) is Value else Value(node, i, a)
                for i, a in enumerate(arrays)]
        for value in outs:
            value.number = self.count
            self.count += 1
        node.outputs = tuple(outs)
        self.nodes.append(node)
        return node

    def __str__(self) -> str:
        lines = []
        for node in self.nodes:
            shapes = ", ".join([f"{v.dtype.name}{list(v.shape)}" for v in node.outputs])
            lines.append(f"{node}  # {shapes}")
        return "\n".join(lines)
