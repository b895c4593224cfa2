"""Matrix products of bfloat16 of a graph, by the kernels that multiply pairs or tiles of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from flambeau.backends import half_products
from flambeau.backends.llvm import pairs
from flambeau.backends.product_choice import Layout
from flambeau.compiler.access import Access
from flambeau.compiler.calls import Call, Place, Word
from flambeau.compiler.graph import PRODUCTS, Node, Value
from flambeau.compiler.products import layout_of, operands_of

__all__ = ["PairProduct", "pair_product_of"]

BF16 = np.dtype(ml_dtypes.bfloat16)


class PairProduct(NamedTuple):
    """A product c = a b, or one for each of a batch, or c = a b + row."""

    out: Value
    ins: Sequence[Access]
    layout: Layout
    way: pairs.Way
    work: pairs.Work
    sizes: np.ndarray

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes, each operand once."""
        return self.out.nbytes + sum([a.root.nbytes for a in self.ins])

    @property
    def scratch(self) -> list[int]:
        """What both operands are packed into."""
        return [4 * self.work.left, 4 * self.work.right]

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The call that packs, then the one that multiplies."""
        result, left, right, *row = words
        pack, multiply = pairs.kernels(self.way, pairs.ADDED if row else None)
        sizes = self.sizes.__array_interface__["data"][0]
        context: list[Word] = [result, left, right, row[0] if row else 0, sizes,
                               *[(place, 0) for place in scratch]]
        work, (m, k, n) = self.work, self.layout.sizes
        packed = sum(self.scratch)
        return [[Call(pack, work.packs, 1, context, packed)],
                [Call(multiply, work.units, 1, context, self.layout.batch * m * k * n // 16)]]


def pair_product_of(node: Node, access: Callable[[Value], Access]) -> PairProduct | None:
    """The product that a node is; None where it is none of bfloat16, or is widened."""
    found = _parts(node, access)
    if found is None:
        return None
    ins, layout = found
    way = half_products.kernels_way(layout)
    if way is None:
        return None
    work = pairs.work_of(layout.batch, layout.sizes, layout.left, layout.right)
    sizes = np.array(work.sizes, np.int64)
    return PairProduct(node.outputs[0], ins, layout, pairs.Way(way), work, sizes)


def _parts(node: Node, access: Callable[[Value], Access]) -> tuple[list[Access], Layout] | None:
    """What a product reads, both operands first, and how these lie."""
    if node.op is None or not node.outputs or node.outputs[0].dtype != BF16:
        return None
    out, turned = node.outputs[0], PRODUCTS.get(node.op.name)
    row = node.inputs[0] if len(node.inputs) > 2 else None
    found = None if turned is None else operands_of(node.inputs[-2:], turned, out, access)
    if found is None:
        return None
    a, b, steps = found
    rows = _row(row, out, access)
    if rows is None:
        return None
    batch = out.size // (a.shape[-2] * b.shape[-1])
    return [a, b, *rows], layout_of(a, b, batch, steps)


def _row(row: Any, out: Value, access: Callable[[Value], Access]) -> list[Access] | None:
    """What is added to every row; None where that is something else."""
    if type(row) is not Value:
        return []
    found = access(row)
    dense = found.strides == (1,) and found.shape == out.shape[-1:] and row.dtype == out.dtype
    return [found] if dense else None
