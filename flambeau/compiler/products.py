"""Matrix products of a graph, as calls of BLAS."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flambeau.backends.llvm import chores
from flambeau.backends.threads import get_num_threads
from flambeau.compiler.access import Access
from flambeau.compiler.graph import Node, Value

__all__ = ["PRODUCTS", "Product", "product_of"]

# Which of the two operands comes transposed.
PRODUCTS = {"mm": (False, False), "mm_nt": (False, True), "mm_tn": (True, False),
            "bmm": (False, False)}
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


def product_of(node: Node, access: Callable[[Value], Access]) -> Product | None:
    """The product that a node is; None where BLAS cannot be called on its operands as they lie."""
    if node.op is None or node.op.name not in PRODUCTS or len(node.inputs) != 2:
        return None
    x, y = node.inputs
    out = node.outputs[0]
    names = {np.dtype(np.float32): "gemm_f32", np.dtype(np.float64): "gemm_f64"}
    name = names.get(out.dtype)
    if (type(x) is not Value or type(y) is not Value or name is None or x.dtype != out.dtype
            or y.dtype != out.dtype or not out.size or chores.address(name) is None):
        return None
    turned = PRODUCTS[node.op.name]
    a, b = (_turned(access(v), t) for v, t in zip((x, y), turned))
    left, right = _leading(a), _leading(b)
    if left is None or right is None or not a.shape[-1]:
        return None
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    batch = a.shape[0] if len(a.shape) == 3 else 1
    steps = [s.strides[0] if len(s.shape) == 3 else 0 for s in (a, b)]
    flops = 2 * batch * m * n * k
    parts = get_num_threads() if flops >= SHARED and batch == 1 else 1
    height = -(-m // parts)
    slices = -(-m // height)
    sizes = [m, n, k, left[0], right[0], int(left[1]), int(right[1]), *steps, m * n, slices, height]
    return Product(name, out, a, b, sizes, batch * slices, flops)


def _turned(a: Access, turn: bool) -> Access:
    if not turn:
        return a
    return a._replace(shape=(*a.shape[:-2], a.shape[-1], a.shape[-2]),
                      strides=(*a.strides[:-2], a.strides[-1], a.strides[-2]))


def _leading(a: Access) -> tuple[int, bool] | None:
    """The leading dimension, and whether it is the transpose that lies row by row."""
    rows, columns = a.shape[-2:]
    across, along = a.strides[-2:]
    if (along == 1 or columns == 1) and (across >= columns or rows == 1):
        return max(across if rows > 1 else columns, columns, 1), False
    if (across == 1 or rows == 1) and (along >= rows or columns == 1):
        return max(along if columns > 1 else rows, rows, 1), True
    return None
