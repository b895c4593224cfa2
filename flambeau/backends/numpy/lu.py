"""LU factors with row exchanges, and solving with triangles, over stacks of matrices."""

from __future__ import annotations

import numpy as np

__all__ = ["lu", "permutation", "solve_triangular"]

ndarray = np.ndarray
LEAF = 16


def size_of(x: ndarray) -> ndarray:
    """|x|, or |re x| + |im x|: what LAPACK chooses pivots by."""
    return np.abs(x.real) + np.abs(x.imag) if x.dtype.kind == "c" else np.abs(x)


def lu(a: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """L below and U on the diagonal and above, of ``a`` (b, m, n) with rows exchanged.

    Also (b, min(m, n)) pivots, counted from 1, which row was exchanged with each; and per matrix
    the number of the first zero on U's diagonal, or 0. Crout's recursion over halves of the columns
    (Toledo, SIAM J. Matrix Anal. Appl. 18, 1997).
    """
    out = np.array(a, order="C")
    k = min(a.shape[1:])
    pivots = np.zeros((len(a), k), np.int32)
    _factor(out, pivots)
    zero = np.diagonal(out, 0, -2, -1) == 0
    info = np.where(zero.any(-1), zero.argmax(-1) + 1, 0) if k else np.zeros(len(a))
    return out, pivots, info.astype(np.int32)


def _factor(a: ndarray, pivots: ndarray) -> None:
    """Factor ``a`` in place, with min(m, n) pivots counted from its own first row."""
    k = pivots.shape[1]
    if k <= LEAF:
        return _factor_leaf(a, pivots)
    half = k // 2
    left, right = a[:, :, :half], a[:, :, half:]
    _factor(left, pivots[:, :half])
    _exchange(right, pivots[:, :half])
    right[:, :half] = solve_triangular(left[:, :half], right[:, :half], False, True)
    right[:, half:] -= left[:, half:] @ right[:, :half]
    _factor(right[:, half:], pivots[:, half:])
    _exchange(left[:, half:], pivots[:, half:])
    pivots[:, half:] += half


def _factor_leaf(a: ndarray, pivots: ndarray) -> None:
    each = np.arange(len(a))
    for k in range(pivots.shape[1]):
        p = k + size_of(a[:, k:, k]).argmax(-1)
        pivots[:, k] = p + 1
        row = a[each, p]
        a[each, p] = a[:, k]
        a[:, k] = row
        pivot = row[:, k, None]
        below = a[:, k + 1:, k]
        np.divide(below, pivot, out=below, where=pivot != 0)
        a[:, k + 1:, k + 1:] -= below[:, :, None] * row[:, None, k + 1:]


def _exchange(a: ndarray, pivots: ndarray) -> None:
    a[...] = np.take_along_axis(a, permutation(pivots, a.shape[1])[:, :, None], 1)


def permutation(pivots: ndarray, rows: int) -> ndarray:
    """The order (b, rows) that exchanging row k with row ``pivots[k] - 1``, in turn, leads to."""
    each = np.arange(len(pivots))
    order = np.tile(np.arange(rows), (len(pivots), 1))
    for k in range(pivots.shape[1]):
        p = pivots[:, k] - 1
        moved = order[each, p]
        order[each, p] = order[:, k]
        order[:, k] = moved
    return order


def solve_triangular(a: ndarray, b: ndarray, upper: bool, unit: bool) -> ndarray:
    """X with A X = B for the triangle A of ``a`` (..., n, n); zeros on its diagonal give inf."""
    n = a.shape[-1]
    if n <= LEAF:
        return _substitute(a, b, upper, unit)
    half = n // 2
    first, last = slice(0, half), slice(half, n)
    if upper:
        first, last = last, first
    head = solve_triangular(a[..., first, first], b[..., first, :], upper, unit)
    rest = b[..., last, :] - a[..., last, first] @ head
    tail = solve_triangular(a[..., last, last], rest, upper, unit)
    return np.concatenate((tail, head) if upper else (head, tail), -2)


def _substitute(a: ndarray, b: ndarray, upper: bool, unit: bool) -> ndarray:
    n = a.shape[-1]
    out = np.empty(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + b.shape[-2:], b.dtype)
    out[...] = b
    for k in reversed(range(n)) if upper else range(n):
        if not unit:
            out[..., k, :] /= a[..., k, k, None]
        rest = slice(0, k) if upper else slice(k + 1, n)
        out[..., rest, :] -= a[..., rest, k, None] * out[..., None, k, :]
    return out
