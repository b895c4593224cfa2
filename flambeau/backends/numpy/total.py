"""Sums of dense arrays in PyTorch's order of additions, so that the last bit agrees.

PyTorch adds a dense array in lanes of one 256-bit vector, four vectors side by side, in blocks of
16 rows whose sums are added in blocks of 16 again; then the vectors left over, the four, the items
left over and the lanes, one after the other.
"""

from __future__ import annotations

import numpy as np

__all__ = ["ORDERED", "total"]

# From here on PyTorch shares a sum between threads, whose number decides the order.
ORDERED = 32767
_STEP = 16
_F32 = np.dtype(np.float32)
_reduce = np.add.reduce


def total(a: np.ndarray) -> np.floating:
    """The sum of a dense float32 or float64 array of 1 to ORDERED items, as a NumPy number.

    >>> import numpy as np
    >>> float(total(np.ones(10, np.float32)))
    10.0
    """
    n = a.size
    lanes = 8 if a.dtype is _F32 else 4
    if a.ndim != 1:
        a = a.reshape(n)
    if n < 2 * lanes:
        return _few(list(a), n, lanes)
    rows = n // lanes
    used = rows * lanes
    v = list(_lanes(a[:used].reshape(rows, lanes), rows, lanes))
    if used == n:
        return sum(v[1:], v[0])
    left = list(a[used:])
    return sum(v, sum(left[1:], left[0]))


def _few(v: list, n: int, lanes: int) -> np.floating:
    if n < lanes:
        if n <= 4:
            return sum(v[1:], v[0])
        return sum(v[1:4], sum(v[4:], v[0]))
    if n == lanes:
        return sum(v[1:], v[0])
    return sum(v[:lanes], sum(v[lanes + 1:], v[lanes]))


def _lanes(x: np.ndarray, rows: int, lanes: int) -> np.ndarray:
    """The sum of each lane of ``x``, of shape (rows, lanes)."""
    if rows <= 4:
        return _reduce(x, 0)
    whole = rows // 4 * 4
    side = x[:4]
    if whole > 4:
        side = _in_blocks(x[:whole].reshape(whole // 4, 4 * lanes)).reshape(4, lanes)
    if whole < rows:
        side = np.concatenate((side[:1], x[whole:], side[1:]))
    return _reduce(side, 0)


def _in_blocks(x: np.ndarray) -> np.ndarray:
    """The sum of the rows of ``x``: by blocks of 16, the blocks by 16 again, and so on.

    What no full block holds, of each level, is added last, the lowest level first.
    """
    parts: list[np.ndarray] = []
    while x.shape[0] >= _STEP:
        blocks = x.shape[0] // _STEP
        if blocks * _STEP < x.shape[0]:
            parts.append(_reduce(x[blocks * _STEP:], 0))
        x = _reduce(x[:blocks * _STEP].reshape(blocks, _STEP, -1), 1)
    parts.append(_reduce(x, 0))
    return sum(parts[1:], parts[0])
