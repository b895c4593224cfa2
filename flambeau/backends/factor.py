"""LU and LDL factors and triangular systems of stacks of matrices, by LAPACK where it is found."""

from __future__ import annotations

import math

import numpy as np

from flambeau.backends.lapack import routine
from flambeau.backends.numpy import ldl as plain_ldl
from flambeau.backends.numpy import lu as plain

__all__ = ["ldl", "ldl_solve", "lu", "permutation", "solve_triangular"]

ndarray = np.ndarray
# Stacks of small matrices go through NumPy at once sooner than one by one through LAPACK.
MANY = 8


def _columns(a: ndarray) -> ndarray:
    """A copy of a stack whose matrices lie in column order; its last two dimensions swapped."""
    return np.array(np.swapaxes(a, -1, -2), order="C")


def _stacked(a: ndarray) -> tuple[ndarray, tuple[int, ...]]:
    batch = a.shape[:-2]
    return a.reshape(math.prod(batch), *a.shape[-2:]), batch


def lu(a: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """The factors of ``a`` (..., m, n) in one matrix, pivots (counted from 1), and infos.

    The info is 0, or the number of the first zero on the diagonal of U.
    """
    stack, batch = _stacked(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    run = routine("getrf", a.dtype)
    if run is None or len(stack) > MANY * max(m, n):
        found, pivots, info = plain.lu(stack)
    else:
        columns = _columns(stack)
        pivots = np.zeros((len(stack), k), run.int_dtype)
        info = np.zeros(len(stack), run.int_dtype)
        if k:
            run(len(stack), m, n, columns, m, pivots, info)
        found = np.swapaxes(columns, -1, -2)
    return (found.reshape(a.shape), pivots.astype(np.int32).reshape(*batch, k),
            info.astype(np.int32).reshape(batch))


def permutation(pivots: ndarray, rows: int) -> ndarray:
    """The order of the rows that pivots (..., k), counted from 1, lead to."""
    batch = pivots.shape[:-1]
    stack = pivots.reshape(math.prod(batch), pivots.shape[-1])
    return plain.permutation(stack, rows).reshape(*batch, rows)


def solve_triangular(a: ndarray, b: ndarray, upper: bool, unit: bool) -> ndarray:
    """X with A X = B, for one triangle of ``a`` (..., n, n); ``b`` (..., n, k), batches broadcast.

    Zeros on the diagonal give infinities and NaN, as they do in PyTorch.
    """
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    n, k = b.shape[-2:]
    count = math.prod(batch)
    run = routine("trsm", a.dtype)
    if run is None or count > MANY * n or not count * n * k:
        return plain.solve_triangular(a, b, upper, unit)
    out = np.empty((*batch, n, k), b.dtype)
    out[...] = b
    triangles = np.broadcast_to(np.ascontiguousarray(a), (*batch, n, n)).reshape(count, n, n)
    one = np.broadcast_to(np.ones(1, a.dtype), (count, 1))
    # Rows to C are columns to Fortran: X^T A^T = B^T.
    run(count, "R", "L" if upper else "U", "N", "U" if unit else "N", k, n, one, triangles, n,
        out.reshape(count, n, k), k)
    return out


def ldl(a: ndarray, hermitian: bool) -> tuple[ndarray, ndarray, ndarray]:
    """The factors of the lower triangles of ``a`` (..., n, n) in one matrix, pivots and infos.

    In the layout of LAPACK's sytrf, or hetrf where ``hermitian``.
    """
    stack, batch = _stacked(a)
    n = a.shape[-1]
    hermitian = hermitian and a.dtype.kind == "c"
    run = routine("hetrf" if hermitian else "sytrf", a.dtype)
    columns = _columns(stack)
    found = np.swapaxes(columns, -1, -2)
    pivots = np.zeros((len(stack), n), np.int64 if run is None else run.int_dtype)
    info = np.zeros(len(stack), pivots.dtype)
    if run is None:
        for i, matrix in enumerate(stack):
            found[i], pivots[i], info[i] = plain_ldl.ldl(matrix, hermitian)
    elif n:
        room = 64 * n
        work = np.broadcast_to(np.empty(room, a.dtype), (len(stack), room))
        run(len(stack), "L", n, columns, n, pivots, work, room, info)
    return (found.reshape(a.shape), pivots.astype(np.int32).reshape(*batch, n),
            info.astype(np.int32).reshape(batch))


def ldl_solve(ld: ndarray, pivots: ndarray, b: ndarray, hermitian: bool) -> ndarray:
    """X with A X = B from the factors that ``ldl`` gives of A; batches broadcast."""
    batch = np.broadcast_shapes(ld.shape[:-2], b.shape[:-2])
    n, k = b.shape[-2:]
    count = math.prod(batch)
    hermitian = hermitian and ld.dtype.kind == "c"
    run = routine("hetrs" if hermitian else "sytrs", ld.dtype)
    stack = np.broadcast_to(ld, (*batch, n, n)).reshape(count, n, n)
    order = np.broadcast_to(pivots, (*batch, n)).reshape(count, n)
    right = np.broadcast_to(b, (*batch, n, k)).reshape(count, n, k)
    if run is None or not count * n * k:
        out = np.empty(right.shape, b.dtype)
        for i in range(count):
            out[i] = plain_ldl.ldl_solve(stack[i], order[i], right[i], hermitian)
        return out.reshape(*batch, n, k)
    columns = _columns(right)
    info = np.zeros(count, run.int_dtype)
    run(count, "L", n, k, _columns(stack), n, order.astype(run.int_dtype), columns, n, info)
    return np.swapaxes(columns, -1, -2).reshape(*batch, n, k)
