"""Histories of the tensors that a compiled step returns."""

from __future__ import annotations

from typing import Any

from flambeau.base.errors import told
from flambeau.core.node import TWICE, Node, Output
from flambeau.core.tensor import Tensor

__all__ = ["Live", "is_spent", "spent_like"]


class Live:
    """Stands, in a program, for the edge to an output of the node that goes back through it."""

    __slots__ = ("nr",)

    def __init__(self, nr: int) -> None:
        self.nr = nr


class Spent(Node):
    """A node whose graph was used up inside of the step: it only has its name."""

    def run(self, g: Any) -> Any:
        raise RuntimeError(told(TWICE, "twice"))

    def __call__(self, *grads: Any) -> Any:
        return self.run(grads)


def spent_like(edge: Any) -> Any:
    """A used-up node that looks like the one an edge leads to."""
    node = edge.node if type(edge) is Output else edge
    if isinstance(node, Spent):
        made = type(node)()
    else:
        looks = {"seq": node.seq, "shape": node.shape, "dtype": node.dtype,
                 "outputs": node.outputs, "freed": True}
        made = type(type(node).__name__, (Spent,), looks)()
    return Output(made, edge.nr) if type(edge) is Output else made


def is_spent(edge: Any) -> bool:
    """Whether going back from an edge would meet a node that was freed."""
    stack, seen = [edge], set()
    while stack:
        edge = stack.pop()
        node = edge.node if type(edge) is Output else edge
        if not isinstance(node, Node) or id(node) in seen:
            continue
        if node.freed:
            return True
        seen.add(id(node))
        stack += [e for e in node.next if e is not None and not isinstance(e, Tensor)]
    return False
