"""Matrix products: BLAS on one thread each for slices of the result, side by side in the pool.

NumPy's BLAS has threads of its own, which would compete with the pool's; so it is kept to one once
the pool takes part in products. Small products, and those not covered, are NumPy's.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.backends import large, memory, product_choice
from flambeau.backends.threads import get_num_threads, leave_blas_alone

__all__ = ["by_blas", "dot", "leading", "matmul", "one_step", "sliced"]

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
# Operands below this size, and products of fewer operations, are done before a pool has started.
SMALL = 1 << 12
WORTHWHILE = 1 << 20
# Fewer rows are not worth sharing.
FEW = 8
# Products are not measured before they are asked for so often.
PATIENCE = 8


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


def _product(a: ndarray, b: ndarray) -> ndarray | None:
    (m, k), n = a.shape, b.shape[1]
    if m * n * k < WORTHWHILE or m < FEW or a.dtype is not b.dtype or k != b.shape[0]:
        return None
    kernels = _kernels() if a.dtype is F32 or a.dtype is F64 else None
    left, right = _leading(a), _leading(b)
    if kernels is None or left is None or right is None:
        return None
    found = _generated(a[None], b[None])
    if found is not None:
        return found[0]
    out = memory.empty((m, n), a.dtype)
    _run(kernels[a.dtype], out, a, b, (m, n, k), (0, 0, 0), sliced(m, n, get_num_threads()), 1)
    return out


# What was answered for products, by how they lie, and how often others were asked for.
_answers: dict[tuple, bool] = {}
_asked: dict[str, int] = {}


def _generated(a: ndarray, b: ndarray) -> ndarray | None:
    """The product of two stacks by generated kernels, where these were measured to be faster.

    They are measured when a product has been asked for a few times.
    """
    # as above
    from flambeau.backends.llvm import gemm

    key = (a.shape, a.strides, b.shape, b.strides, a.dtype, get_num_threads())
    answer = _answers.get(key)
    if answer is None:
        answer = gemm.covers(a, b) and _answer(key, gemm.layout_of(a, b))
    return gemm.multiply(a, b) if answer else None


def _answer(key: tuple, layout: product_choice.Layout) -> bool:
    """Whether generated kernels are faster; not where that is not known yet."""
    question = product_choice.question(layout)
    if product_choice.is_open(layout):
        _asked[question] = _asked.get(question, 0) + 1
        if _asked[question] < PATIENCE:
            return False
        product_choice.measure(question, layout)
    answer = _answers[key] = product_choice.is_generated(layout)
    return answer


def by_blas(a: ndarray, b: ndarray, out: ndarray) -> None:
    """``out = a @ b`` of two stacks of matrices, by BLAS."""
    kernels = _kernels()
    assert kernels is not None
    (count, m, k), n, parts = a.shape, b.shape[2], get_num_threads()
    steps = (*[x.strides[0] // x.itemsize for x in (a, b)], m * n)
    slices = parts if count == 1 else 1 if count >= 2 * parts else -(-2 * parts // count)
    _run(kernels[a.dtype], out, a, b, (m, n, k), steps, sliced(m, n, slices), count)


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


def _run(kernel: int, out: ndarray, a: ndarray, b: ndarray, sizes: tuple, steps: tuple,
         slices: tuple[int, int, int], count: int) -> None:
    from flambeau.backends.llvm import calls  # as above

    lda, ta = _leading(a)  # type: ignore[misc]
    ldb, tb = _leading(b)  # type: ignore[misc]
    units = count * slices[0]
    chunk = max(1, -(-units // (4 * get_num_threads())))
    calls.launch(kernel, units, chunk, out, _address(a), _address(b), *sizes, lda, ldb, ta, tb,
                 *steps, *slices)


def _address(a: ndarray) -> int:
    return a.__array_interface__["data"][0]


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


def matmul(a: ndarray, b: ndarray) -> ndarray:
    """``numpy.matmul``, of operands of one dtype."""
    if a.size < SMALL and b.size < SMALL or a.ndim < 2 or b.ndim < 2:
        return np.matmul(a, b)
    if a.ndim == 2 and b.ndim == 2:
        return dot(a, b)
    found = _stack(a, b)
    return np.matmul(a, b) if found is None else found


def _stack(a: ndarray, b: ndarray) -> ndarray | None:
    """Products of two stacks of matrices of the same length."""
    lead, (m, k), n = a.shape[:-2], a.shape[-2:], b.shape[-1]
    count = prod(lead)
    if count * m * n * k < WORTHWHILE or lead != b.shape[:-2] or b.shape[-2] != k:
        return None
    kernels = _kernels() if a.dtype is b.dtype and (a.dtype is F32 or a.dtype is F64) else None
    if kernels is None or _leading(a) is None or _leading(b) is None:
        return None
    steps = _step(a), _step(b)
    if None in steps:
        return None

    left, right = (_one_stack(x, count, step) for x, step in zip((a, b), steps, strict=True))
    found = _generated(left, right)
    if found is None:
        found = memory.empty((count, m, n), a.dtype)
        by_blas(left, right, found)
    return found.reshape(*lead, m, n)


def _one_stack(a: ndarray, count: int, step: int) -> ndarray:
    """All matrices of a stack along one axis, which they lie along with one step."""
    strides = (step * a.itemsize, *a.strides[-2:])
    return np.lib.stride_tricks.as_strided(a, (count, *a.shape[-2:]), strides)


def _step(a: ndarray) -> Any:
    """How many items lie between one matrix of a stack and the next; None where that varies."""
    strides = _in_items(a, a.strides[:-2])
    step = None if strides is None else one_step(a.shape[:-2], strides)
    return step if step is not None and step >= 0 else None
