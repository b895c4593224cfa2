"""Matrix products: BLAS on one thread each for slices of the result, side by side in the pool.

NumPy's BLAS has threads of its own, which would compete with the pool's; so it is kept to one once
the pool takes part in products. Small products, and those not covered, are NumPy's.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.backends import large, memory, product_choice
from flambeau.backends.passing import PASSING
from flambeau.backends.product_choice import Layout, steps_of
from flambeau.backends.threads import get_num_threads, leave_blas_alone

__all__ = ["WORTHWHILE", "by_blas", "dot", "is_worthwhile", "layout_of", "leading",
           "matmul", "one_step", "sliced"]

ndarray = np.ndarray
Plan = Callable[[ndarray, ndarray], ndarray]
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
# Operands below this size, and products of fewer operations, are done before a pool has started.
SMALL = 1 << 12
WORTHWHILE = 1 << 20
# Fewer rows are not worth sharing.
FEW = 8
# Products are not measured before they are asked for so often.
PATIENCE = 8
# Plans that are kept.
MAX_PLANS = 1 << 10


@functools.cache
def _kernels() -> dict[np.dtype, int] | None:
    """The kernels that call BLAS; None where there are none."""
    if not large.available():
        return None
    # llvmlite is slow to import, and may be absent
    from flambeau.backends.llvm import chores

    found = {F32: chores.address("gemm_f32"), F64: chores.address("gemm_f64")}
    if None in found.values():
        return None
    leave_blas_alone()
    return found  # type: ignore[return-value]


def dot(a: ndarray, b: ndarray) -> ndarray:
    """``a @ b`` of two matrices of one dtype.

    >>> dot(np.ones((2, 3)), np.ones((3, 1)))
    array([[3.],
           [3.]])
    """
    if a.size < SMALL and b.size < SMALL:
        return a.dot(b)
    found = _product(a, b) if a.ndim == 2 and b.ndim == 2 else None
    return a.dot(b) if found is None else found


def matmul(a: ndarray, b: ndarray) -> ndarray:
    """``numpy.matmul``, of operands of one dtype."""
    if a.size < SMALL and b.size < SMALL or a.ndim < 2 or b.ndim < 2:
        return np.matmul(a, b)
    if a.ndim == 2 and b.ndim == 2:
        return dot(a, b)
    found = _product(a, b)
    return np.matmul(a, b) if found is None else found


# How products of some shapes and strides are computed: None where NumPy does that.
_plans: dict[tuple, Plan | None] = {}
# How often products were asked for that are not measured yet.
_asked: dict[str, int] = {}


def _product(a: ndarray, b: ndarray) -> ndarray | None:
    """The product of two matrices, or of two stacks of as many; None where it is NumPy's."""
    dtype = a.dtype
    if dtype is not b.dtype or not (dtype is F32 or dtype is F64):
        return None
    key = (dtype is F32, a.shape, a.strides, b.shape, b.strides, get_num_threads())
    try:
        plan = _plans[key]
    except KeyError:
        plan = _plan(key, a, b)
    if plan is None or not (a.flags.aligned and b.flags.aligned):
        return None
    return plan(a, b)


def _plan(key: tuple, a: ndarray, b: ndarray) -> Plan | None:
    """The plan for such operands, kept once it is settled."""
    layout = _layout(a, b) if is_worthwhile(a, b) and _kernels() else None
    generated = False if layout is None else _answer(layout)
    plan = None if layout is None else _into_new(layout, bool(generated), a, b)
    if generated is not None:
        if len(_plans) >= MAX_PLANS:
            _plans.clear()
        _plans[key] = plan
    return plan


def _into_new(layout: Layout, generated: bool, a: ndarray, b: ndarray) -> Plan:
    """The plan that has such products computed into an array of their own."""
    shape, dtype = (*a.shape[:-1], b.shape[-1]), a.dtype
    if generated:
        # llvmlite is slow to import, and may be absent
        from flambeau.backends.llvm import gemm

        run = gemm.planned(layout)
    else:
        run = by_blas(layout)

    def plan(a: ndarray, b: ndarray) -> ndarray:
        out = memory.empty(shape, dtype)
        run(out, a, b)
        return out

    return plan


def is_worthwhile(a: ndarray, b: ndarray) -> bool:
    """Whether operands fit, and are large enough to share."""
    lead, (m, k), n = a.shape[:-2], a.shape[-2:], b.shape[-1]
    fits = b.shape == (*lead, k, n)
    return fits and prod(lead) * m * n * k >= WORTHWHILE and (m >= FEW or bool(lead))


def _layout(a: ndarray, b: ndarray) -> Layout | None:
    """How the product of two stacks lies; None where BLAS cannot read one as it lies."""
    return None if _leading(a) is None or _leading(b) is None else layout_of(a, b)


def layout_of(a: ndarray, b: ndarray) -> Layout | None:
    """How the product of two stacks of as many matrices lies; None where their steps vary."""
    steps = _step(a), _step(b)
    if None in steps:
        return None
    left, right = (steps_of(x, step) for x, step in zip((a, b), steps, strict=True))
    sizes = (*a.shape[-2:], b.shape[-1])
    return Layout(a.dtype, prod(a.shape[:-2]), sizes, left, right)


def _answer(layout: Layout) -> bool | None:
    """Whether generated kernels are faster; None where that is not known yet.

    Products are measured when they have been asked for a few times.
    """
    if not product_choice.is_readable(layout.right):
        return False
    question = product_choice.question(layout)
    if product_choice.is_open(layout):
        if PASSING.now:
            return None
        _asked[question] = _asked.get(question, 0) + 1
        if _asked[question] < PATIENCE:
            return None
        product_choice.measure(question, layout)
    return product_choice.is_generated(layout)


def by_blas(layout: Layout) -> Callable[[ndarray, ndarray, ndarray], None]:
    """How BLAS computes such products, one slice on each thread: ``run(out, a, b)``."""
    kernels = _kernels()
    assert kernels is not None
    from flambeau.backends.llvm import calls  # as above

    kernel, count, (m, k, n) = kernels[layout.dtype], layout.batch, layout.sizes
    parts = get_num_threads()
    slices = parts if count == 1 else 1 if count >= 2 * parts else -(-2 * parts // count)
    cut = sliced(m, n, slices)
    lda, ta = leading((m, k), layout.left[:2])  # type: ignore[misc]
    ldb, tb = leading((k, n), layout.right[:2])  # type: ignore[misc]
    units = count * cut[0]
    chunk = max(1, -(-units // (4 * parts)))
    numbers = (m, n, k, lda, ldb, ta, tb, layout.left.next, layout.right.next, m * n, *cut)
    launch = calls.launch_strided

    def run(out: ndarray, a: ndarray, b: ndarray) -> None:
        launch(kernel, units, chunk, out, a, b, *numbers)

    return run


def sliced(rows: int, columns: int, parts: int) -> tuple[int, int, int]:
    """How many slices a product is cut into, across its longer side; rows and columns of one.

    >>> sliced(64, 256, 2)
    (2, 64, 128)
    """
    if columns > rows:
        width = -(-columns // parts)
        return -(-columns // width), rows, width
    height = -(-rows // parts)
    return -(-rows // height), height, columns


def _leading(a: ndarray) -> tuple[int, int] | None:
    """`leading` of the last two axes of an array."""
    strides = _in_items(a, a.strides[-2:])
    return None if strides is None else leading(a.shape[-2:], strides)


def _in_items(a: ndarray, strides: Sequence[int]) -> tuple[int, ...] | None:
    """Strides counted in items; None where one is no whole number of them."""
    if any(s % a.itemsize for s in strides):
        return None
    return tuple([s // a.itemsize for s in strides])


def leading(shape: Sequence[int], strides: Sequence[int]) -> tuple[int, int] | None:
    """The leading dimension of a matrix, and 1 where its transpose lies row by row.

    Strides are counted in items. None where BLAS cannot read it as it lies.
    """
    (rows, columns), (across, along) = shape, strides
    if (along == 1 or columns == 1) and (across >= columns or rows == 1):
        return max(across if rows > 1 else columns, columns, 1), 0
    if (across == 1 or rows == 1) and (along >= rows or columns == 1):
        return max(along if columns > 1 else rows, rows, 1), 1
    return None


def one_step(sizes: Sequence[int], strides: Sequence[int]) -> int | None:
    """The one stride of dimensions that go together as one; None where they do not.

    >>> one_step((4, 3), (6, 2)), one_step((4, 3), (6, 0)), one_step((4, 1), (6, 0))
    (2, None, 6)
    """
    axes = [(n, s) for n, s in zip(sizes, strides, strict=True) if n != 1]
    if any(s != inner * n for (_, s), (n, inner) in itertools.pairwise(axes)):
        return None
    return axes[-1][1] if axes else 0


def _step(a: ndarray) -> Any:
    """How many items lie between one matrix of a stack and the next; None where that varies."""
    strides = _in_items(a, a.strides[:-2])
    step = None if strides is None else one_step(a.shape[:-2], strides)
    return step if step is not None and step >= 0 else None
