"""Orders of rows, and the first few of each, on the pool: a thread takes whole rows."""

import functools

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, jit, sort_text

# items of rows in one piece of work
PIECE = 1 << 13
MOST_KEPT = sort_text.MOST_KEPT


@functools.cache
def address(what: str, kind: str) -> int:
    """The kernel of whole orders ("order"), or of what comes first in them ("first")."""
    text = sort_text.order_text(kind) if what == "order" else sort_text.first_text(kind)
    return jit.load(text, ("kernel",)).address("kernel")


def order(values: np.ndarray, places: np.ndarray, source: np.ndarray, descending: bool) -> None:
    """Sort rows, stably; NaN is above all. All are C-contiguous matrices of one shape."""
    rows, n = source.shape
    wide = source.itemsize == 8
    scratch = memory.empty((rows, n * (3 if wide else 1)), np.dtype(np.int64))
    kernel = address("order", calls.KINDS[source.dtype])
    calls.launch(kernel, rows, max(1, PIECE // n), values, places, source, scratch, n,
                 -1 if descending else 0)


def first(values: np.ndarray, places: np.ndarray, source: np.ndarray, largest: bool) -> None:
    """The first few of every row in its order, 1 to MOST_KEPT of them, and where they are."""
    rows, n = source.shape
    kernel = address("first", calls.KINDS[source.dtype])
    calls.launch(kernel, rows, max(1, PIECE // n), values, places, source, n, values.shape[1],
                 0 if largest else -1)
