"""L D L^T with symmetric row exchanges, in the layout of LAPACK's sytrf and hetrf (lower).

Bunch and Kaufman, Math. Comp. 31 (1977): D has blocks of one or two rows. A pivot counts from 1;
two equal negative ones stand for a block of two, exchanged in its second row.
"""

from __future__ import annotations

import math

import numpy as np

from flambeau.backends.numpy.lu import size_of

__all__ = ["ldl", "ldl_solve"]

ndarray = np.ndarray
ALPHA = (1 + math.sqrt(17)) / 8


def ldl(a: ndarray, hermitian: bool) -> tuple[ndarray, ndarray, int]:
    """The factors of one matrix, its pivots, and the number of the first zero of D (or 0).

    Only the lower triangle is read, and the upper one keeps what it holds.
    """
    n = len(a)
    out = np.array(a, order="C")
    pivots = np.zeros(n, np.int32)
    info = k = 0
    while k < n:
        p, width = _choose(out, k, hermitian)
        _swap(out, k + width - 1, p, k, hermitian)
        if width == 1:
            pivots[k] = p + 1
            if out[k, k] == 0:
                info = info or k + 1
            else:
                _eliminate(out, k, hermitian)
        else:
            pivots[k:k + 2] = -(p + 1)
            _eliminate_pair(out, k, hermitian)
        k += width
    return out, pivots, info


def _choose(a: ndarray, k: int, hermitian: bool) -> tuple[int, int]:
    """The row to bring to the pivot's place, and the number of rows of the pivot's block."""
    n = len(a)
    here = abs(a[k, k].real) if hermitian else size_of(a[k, k])
    column = size_of(a[k + 1:, k])
    if k == n - 1 or max(column.max(), here) == 0 or np.isnan(here):
        return k, 1
    far = k + 1 + int(column.argmax())
    top = column.max()
    if here >= ALPHA * top:
        return k, 1
    row = max(size_of(a[far, k:far]).max(), size_of(a[far + 1:, far]).max(initial=0))
    if here >= ALPHA * top * (top / row):
        return k, 1
    there = abs(a[far, far].real) if hermitian else size_of(a[far, far])
    return (far, 1) if there >= ALPHA * row else (far, 2)


def _swap(a: ndarray, i: int, p: int, k: int, hermitian: bool) -> None:
    """Exchange rows and columns ``i`` < ``p`` of what is left from ``k`` on, lower triangle."""
    if i == p:
        return
    a[p + 1:, [i, p]] = a[p + 1:, [p, i]]
    between = a[i + 1:p, i].copy()
    other = a[p, i + 1:p].copy()
    a[p, i + 1:p], a[i + 1:p, i] = (between.conj(), other.conj()) if hermitian else (between, other)
    if hermitian:
        a[p, i] = a[p, i].conj()
        a[i, i], a[p, p] = a[p, p].real, a[i, i].real
    else:
        a[i, i], a[p, p] = a[p, p], a[i, i]
    if i == k + 1:  # the second row of a block of two: its first column moves along
        a[i, k], a[p, k] = a[p, k], a[i, k]


def _mirror(x: ndarray, hermitian: bool) -> ndarray:
    return x.conj() if hermitian else x


def _subtract(a: ndarray, k: int, update: ndarray) -> None:
    lower = np.tri(len(a) - k, dtype=bool)
    a[k:, k:][lower] -= update[lower]


def _eliminate(a: ndarray, k: int, hermitian: bool) -> None:
    if hermitian:
        a[k, k] = a[k, k].real
    below = a[k + 1:, k] / a[k, k]
    _subtract(a, k + 1, np.outer(below, _mirror(a[k + 1:, k], hermitian)))
    a[k + 1:, k] = below


def _eliminate_pair(a: ndarray, k: int, hermitian: bool) -> None:
    block = _block(a, k, hermitian)
    below = a[k + 2:, k:k + 2].copy()
    factor = np.linalg.solve(block.T, below.T).T
    _subtract(a, k + 2, factor @ _mirror(below, hermitian).T)
    a[k + 2:, k:k + 2] = factor


def _block(a: ndarray, k: int, hermitian: bool) -> ndarray:
    off = a[k + 1, k]
    first, last = a[k, k], a[k + 1, k + 1]
    if hermitian:
        first, last = first.real, last.real
    return np.array([[first, _mirror(off, hermitian)], [off, last]], a.dtype)


def ldl_solve(ld: ndarray, pivots: ndarray, b: ndarray, hermitian: bool) -> ndarray:
    """X with (L D L^T) X = B, or L D L^H, of one matrix."""
    n = len(ld)
    x = np.array(b)
    starts = _starts(pivots)
    for k, width in starts:
        _exchange(x, k + width - 1, abs(int(pivots[k])) - 1)
        x[k + width:] -= ld[k + width:, k:k + width] @ x[k:k + width]
        x[k:k + width] = (x[k:k + 1] / (ld[k, k].real if hermitian else ld[k, k]) if width == 1
                          else np.linalg.solve(_block(ld, k, hermitian), x[k:k + 2]))
    for k, width in reversed(starts):
        if k + width < n:
            back = _mirror(ld[k + width:, k:k + width], hermitian).T
            x[k:k + width] -= back @ x[k + width:]
        _exchange(x, k + width - 1, abs(int(pivots[k])) - 1)
    return x


def _starts(pivots: ndarray) -> list[tuple[int, int]]:
    """The first row and the size of each block of D."""
    found, k = [], 0
    while k < len(pivots):
        width = 2 if pivots[k] < 0 else 1
        found.append((k, width))
        k += width
    return found


def _exchange(x: ndarray, i: int, p: int) -> None:
    if i != p:
        x[[i, p]] = x[[p, i]]
