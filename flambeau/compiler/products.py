"""Matrix products of a graph, as calls of BLAS or of generated kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import product_choice
from flambeau.backends.llvm import chores, gemm
from flambeau.backends.llvm.array_program import Contraction
from flambeau.backends.product_choice import Steps, plain_steps
from flambeau.backends.products import leading, one_step, sliced
from flambeau.backends.threads import get_num_threads, leave_blas_alone
from flambeau.compiler.access import Access, broadcast_access
from flambeau.compiler.calls import Call, Place, Word
from flambeau.compiler.graph import PRODUCTS, Node, Value
from flambeau.core.formulas import KINDS

__all__ = ["Product", "layout_of", "operands_of", "product_of"]

# Stacks of matrices of fewer rows are copied, to be one matrix.
TALL = 64
# Operations from which a product is worth two threads.
SHARED = 1 << 21


class Product(NamedTuple):
    """A product c = a b, or one for each of a batch."""

    name: str
    out: Value
    a: Access
    b: Access
    sizes: list[int]
    slices: int
    flops: int
    # How it lies, where it is worth two threads; the work of the kernels that are faster, and the
    # arrays that these read.
    layout: product_choice.Layout | None
    work: gemm.Work | None
    tables: list[np.ndarray]

    @property
    def ins(self) -> tuple[Access, Access]:
        """The operands."""
        return self.a, self.b

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes, each operand once."""
        return sum([v.nbytes for v in (self.a.root, self.b.root, self.out)])

    @property
    def scratch(self) -> list[int]:
        """What generated kernels pack the right operand into, and what their threads need."""
        if self.work is None:
            return []
        return [size * self.out.dtype.itemsize for size in (self.work.packed, self.work.scratch)]

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The call of BLAS, or of the kernels, on the result and the operands."""
        if self.work is not None:
            return self._generated(words, scratch)
        leave_blas_alone()
        kernel = chores.address(self.name)
        assert kernel is not None
        return [[Call(kernel, self.slices, 1, [*words, *self.sizes], self.flops // 8)]]

    def _generated(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        work = self.work
        assert work is not None
        pack, multiply = gemm.kernels(Contraction(KINDS[self.out.dtype]))
        sizes, flags = (a.__array_interface__["data"][0] for a in self.tables)
        context: list[Word] = [*words, 0, sizes, *[(place, 0) for place in scratch], flags]
        # a piece has memory of its own
        product = Call(multiply, work.units, work.chunk, context, self.flops // 8, work.chunk)
        if not work.strips:
            return [[product]]
        moved = 2 * work.packed * self.out.dtype.itemsize
        return [[Call(pack, work.strips, 1, context, moved)], [product]]


def product_of(node: Node, access: Callable[[Value], Access]) -> Product | None:
    """The product that a node is; None where BLAS cannot be called on its operands as they lie."""
    if node.op is None or node.op.name not in PRODUCTS or len(node.inputs) != 2:
        return None
    out = node.outputs[0]
    names = {np.dtype(np.float32): "gemm_f32", np.dtype(np.float64): "gemm_f64"}
    name = names.get(out.dtype)
    if name is None or chores.address(name) is None:
        return None
    found = operands_of(node.inputs, PRODUCTS[node.op.name], out, access)
    if found is None:
        return None
    a, b, steps = found
    left, right = (leading(x.shape[-2:], x.strides[-2:]) for x in (a, b))
    if left is None or right is None:
        return None
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    batch = out.size // (m * n)
    flops = 2 * batch * m * n * k
    parts = -(-get_num_threads() // batch) if flops >= SHARED else 1
    slices = sliced(m, n, parts)
    sizes = [m, n, k, left[0], right[0], left[1], right[1], *steps, m * n, *slices]
    layout = layout_of(a, b, batch, steps) if flops >= SHARED else None
    if layout is not None and not product_choice.is_readable(layout.right):
        layout = None
    work, tables = None, []
    if layout is not None and product_choice.is_generated(layout):
        work = gemm.work_of(gemm.tile_for(out.dtype), out.dtype.itemsize, *layout[1:])
        tables = [np.array(work.sizes, np.int64), np.zeros(work.slots, np.int64)]
    return Product(name, out, a, b, sizes, batch * slices[0], flops, layout, work, tables)


def operands_of(
        inputs: Sequence[Any], turned: tuple[bool, bool], out: Value,
        access: Callable[[Value], Access]) -> tuple[Access, Access, tuple[int, int]] | None:
    """Both operands, and the steps from one matrix to the next; None where these vary."""
    if any([type(x) is not Value or x.dtype != out.dtype for x in inputs]) or not out.size:
        return None
    a, b = (_turned(access(v), t) for v, t in zip(inputs, turned))
    if min(len(a.shape), len(b.shape)) < 2 or not a.shape[-1]:
        return None
    if len(b.shape) == 2 and len(a.shape) > 2:
        a = _one_matrix(a)
        if len(a.shape) > 2 and a.shape[-2] < TALL:
            return None
    steps = _steps(a, b)
    return None if steps is None else (a, b, steps)


def layout_of(a: Access, b: Access, batch: int, steps: tuple[int, int]) -> product_choice.Layout:
    """How a product lies."""
    left, right = (plain_steps((x.shape[-2], x.shape[-1]),
                               Steps(x.strides[-2], x.strides[-1], step))
                   for x, step in zip((a, b), steps))
    return product_choice.Layout(a.root.dtype, batch, (a.shape[-2], a.shape[-1], b.shape[-1]),
                                 left, right)


def _one_matrix(a: Access) -> Access:
    """A stack of matrices as one, where their rows follow each other with one stride."""
    step = one_step(a.shape[:-1], a.strides[:-1])
    if step is None:
        return a
    rows = math.prod(a.shape[:-1])
    return a._replace(shape=(rows, a.shape[-1]), strides=(step, a.strides[-1]))


def _steps(a: Access, b: Access) -> tuple[int, int] | None:
    """From one matrix of a stack to the next, of both operands; None where that varies."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    found = []
    for x in (a, b):
        wide = broadcast_access(x, (*lead, *x.shape[-2:]))
        found.append(one_step(lead, wide.strides[:-2]))
    left, right = found
    return None if left is None or right is None else (left, right)


def _turned(a: Access, turn: bool) -> Access:
    if not turn:
        return a
    return a._replace(shape=(*a.shape[:-2], a.shape[-1], a.shape[-2]),
                      strides=(*a.strides[:-2], a.strides[-1], a.strides[-2]))
