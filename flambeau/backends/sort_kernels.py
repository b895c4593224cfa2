"""Sorting large arrays along an axis, their first few items, and searching; or None for NumPy."""

from typing import Any

import numpy as np

from flambeau.backends import large, memory
from flambeau.backends.conversions import dense, in_rows

# shorter rows NumPy sorts sooner; places travel in 32 bits
LEAST, MOST = 128, 1 << 31
# how many times as long as what is kept of it a row is, where finding that beats sorting all of it
LONGER = 16
# items of small arrays from which a kernel finds the first ones sooner than NumPy, in rows of so
# many, once it was asked for so often
SMALL, FEWEST, PATIENCE = 1 << 9, 64, 64
_I64 = np.dtype(np.int64)
# how often the first of a small array were asked for
_asked = 0


def _rows(a: np.ndarray, dim: int, least: int = LEAST, often: bool = False) -> np.ndarray | None:
    """The rows along a dimension as a dense matrix; None where kernels do not sort them.

    ``least``: the shortest rows. ``often``: whether small arrays have kernels, too.
    """
    n = a.shape[dim]
    if a.size < large.MIN_ITEMS and not often:
        return None
    if not least <= n < MOST or a.dtype.type not in large.NUMBERS:
        return None
    if not (a.flags.aligned and a.dtype.isnative) or large.load() is None:
        return None
    moved = np.moveaxis(a, dim, -1)
    return (moved if moved.flags.c_contiguous else dense(moved)).reshape(-1, n)


def _back(found: np.ndarray, a: np.ndarray, dim: int) -> np.ndarray:
    """Rows of results in the shape of what they are of, C-contiguous."""
    shape = [n for axis, n in enumerate(a.shape) if axis != dim % a.ndim]
    moved = np.moveaxis(found.reshape(*shape, found.shape[1]), -1, dim)
    return moved if moved.flags.c_contiguous else dense(moved)


def _is_often(a: np.ndarray) -> bool:
    """Whether a program asks so often for the first of small arrays that a kernel pays."""
    global _asked
    if a.size >= large.MIN_ITEMS or a.size < SMALL:
        return False
    _asked += 1
    return _asked > PATIENCE


def _sorts() -> Any:
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import sorts

    return sorts


def order(a: np.ndarray, dim: int, descending: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """The items in order along a dimension, stably, and the places they had; NaN is greatest.

    >>> found = order(np.ones((200, 300)), 1, True)
    >>> found is None or found[1][0].tolist() == list(range(300))
    True
    """
    rows = _rows(a, dim)
    if rows is None:
        return None
    values, places = memory.empty(rows.shape, a.dtype), memory.empty(rows.shape, _I64)
    _sorts().order(values, places, rows, descending)
    return _back(values, a, dim), _back(places, a, dim)


def first(
    a: np.ndarray, dim: int, k: int, largest: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """The k greatest or least items along a dimension in order, and their places; few of many."""
    if not 0 < k or k * LONGER > a.shape[dim]:
        return None
    rows = _rows(a, dim, FEWEST, _is_often(a))
    if rows is None:
        return None
    sorts = _sorts()
    if k > sorts.MOST_KEPT:
        return None
    shape = (rows.shape[0], k)
    values, places = np.empty(shape, a.dtype), np.empty(shape, _I64)
    sorts.first(values, places, rows, largest)
    return _back(values, a, dim), _back(places, a, dim)


def search(edges: np.ndarray, values: np.ndarray, right: bool) -> np.ndarray | None:
    """How many items of a row of ``edges``, in order, stand before each value; int64.

    ``edges`` is one row for all values, or has a row for each of theirs. Those stand before that
    are less, or, where `right`, not greater; before NaN all.

    >>> found = search(np.arange(4.0), np.full(40_000, 2.0), False)
    >>> found is None or int(found[7]) == 2
    True
    """
    dtype, size = edges.dtype, edges.shape[-1]
    if values.size < large.MIN_ITEMS or values.dtype != dtype or dtype.type not in large.NUMBERS:
        return None
    if not (size and edges.flags.aligned and values.flags.aligned and dtype.isnative):
        return None
    if large.load() is None:
        return None
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import searches

    edges, values = in_rows(edges), in_rows(values)
    places = memory.empty(values.shape, _I64)
    count = values.size if edges.ndim == 1 else values.shape[-1]
    rows = edges.size // size
    searches.run(places.reshape(rows, count), edges.reshape(rows, size),
                 values.reshape(rows, count), right)
    return places
