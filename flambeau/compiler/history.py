"""Histories of the tensors that a compiled step returns."""

from __future__ import annotations

import functools
from typing import Any

from flambeau.base.errors import told
from flambeau.core.node import TWICE, Node, Output, next_sequence
from flambeau.core.tensor import Tensor

__all__ = ["is_spent", "spent_like"]


class Spent(Node):
    """A node whose graph was used up inside of the step: it only has its name."""

    def run(self, g: Any) -> Any:
        raise RuntimeError(told(TWICE, "twice"))

    def __call__(self, *grads: Any) -> Any:
        return self.run(grads)


@functools.cache
def _spent_type(name: str) -> type[Spent]:
    return type(name, (Spent,), {})


def spent_like(edge: Any) -> Any:
    """A used-up node that looks like the one an edge leads to."""
    node = edge.node if type(edge) is Output else edge
    made = _spent_type(type(node).__name__)()
    made.seq = next_sequence()
    made.shape, made.dtype, made.outputs = node.shape, node.dtype, node.outputs
    made.freed = True
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
