"""What a step does with many tensors alike, traced once and noted for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flambeau.compiler.graph import Graph, Node, Value
from flambeau.compiler.stand_ins import Traced
from flambeau.core.inplace import bump
from flambeau.core.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.compiler.tracer import Tracer

__all__ = ["are_alike", "repeat"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# Beside elementwise operators, those that give for any shape what they give for another.
_SHAPELESS = frozenset(("alias", "clone", "copy", "detach", "to_dtype"))

Rows = Sequence[Sequence[Tensor]]


def are_alike(rows: Rows) -> bool:
    """Whether several rows of tensors differ in nothing but values and one shape per row.

    Tensors without dimensions may stand in a row, in the same places of all rows. No two tensors
    share memory.
    """
    if len(rows) < 2:
        return False
    first = [t._a for t in rows[0]]
    memories = set()
    for row in rows:
        shape = row[0].shape
        if not shape or not row[0].numel():
            return False
        for t, like in zip(row, first):
            a = t._a
            if type(a) is not Traced or a.chain or type(like) is not Traced:
                return False
            array = a.array
            if array.dtype not in _FLOATS or array.dtype != like.array.dtype:
                return False
            if array.ndim and like.array.ndim:
                if array.shape != shape or not array.flags.c_contiguous:
                    return False
            elif array.ndim or like.array.ndim:
                return False
            memories.add(id(a.memory))
    return len(memories) == len(rows) * len(first)


def repeat(tracer: Tracer, rows: Rows, call: Callable[[], None],
           compute: Callable[[Rows], None]) -> int:
    """Run ``call``, which changes the tensors of the first row in place, and repeat it on others.

    ``compute`` does the same with rows of tensors over real arrays. The rows are alike. Returns
    how many rows are done: one where the nodes of the first do not fit other shapes.
    """
    sources = [[tracer.value_of(t._a) for t in row] for row in rows]
    first = len(tracer.graph.nodes)
    counts = [t._a.memory.writes for t in rows[0]]
    call()
    made = tracer.graph.nodes[first:]
    shape = rows[0][0]._a.shape
    if not all([_fits_others(node, shape) for node in made]):
        return 1
    changed = [i for i, t in enumerate(rows[0]) if t._a.memory.writes > counts[i]]
    results = [rows[0][i]._a.memory.value for i in changed]
    for row in rows[1:]:
        for i in changed:
            tracer.keep(row[i]._a.memory)
    with tracer.pause():
        compute([[tracer.plain(t) for t in row] for row in rows[1:]])
    with tracer.unwatched():
        for row, own in zip(rows[1:], sources[1:]):
            known = {old.number: new for old, new in zip(sources[0], own)}
            _copy_nodes(tracer.graph, made, known, shape, row[0]._a.shape)
            for i, result in zip(changed, results):
                tracer.wrote(row[i]._a, known[result.number])
                bump(row[i])
    return len(rows)


def _fits_others(node: Node, shape: tuple[int, ...]) -> bool:
    """Whether a node is the same for tensors of another shape than ``shape``."""
    if node.kind in ("const", "live", "input"):
        return not node.outputs[0].shape
    if node.op is None or node.fixed:
        return False
    return ((node.op.kind == "pointwise" or node.op.name in _SHAPELESS)
            and all([v.shape in ((), shape) for v in node.outputs]))


def _copy_nodes(graph: Graph, nodes: Sequence[Node], known: dict[int, Value],
                before: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Add the nodes anew, with the values that ``known`` has for others, which grows."""
    likes: dict[np.dtype, Value] = {}
    for node in nodes:
        if node.kind != "op":
            known.update({v.number: v for v in node.outputs})
            continue
        outs = []
        for v in node.outputs:
            if v.shape == before:
                if v.dtype not in likes:
                    likes[v.dtype] = Value(node, 0, np.empty(shape, v.dtype))
                v = likes[v.dtype]
            outs.append(v)
        inputs = [known.get(x.number, x) if type(x) is Value else x for x in node.inputs]
        new = graph.add(node.kind, node.op, inputs, node.params, outs)
        for v, own in zip(node.outputs, new.outputs):
            known[v.number] = own
