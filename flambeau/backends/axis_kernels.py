"""Scans, extremes with their places, and picking along an axis of large arrays, by kernels.

None comes back where there is no kernel: for small arrays, other dtypes, and arrays or indices
that do not start where items of their dtype may.
"""

import functools
import math
from typing import Any

import numpy as np

from flambeau.backends import large, memory
from flambeau.backends.conversions import dense

# Up to so many numbers Python's own functions beat NumPy's fixed costs.
_FEW = 32
_I64, _U64 = np.dtype(np.int64), np.dtype(np.uint64)
_SUMMED = (np.float32, np.float64, np.int64)
# columns from which strips of them are worth a kernel
MIN_COLUMNS = 16
# bytes from which rows are copied as they are, not item by item
ROW_BYTES = 64
# vectors that are counted side by side
_COUNTED_APART = 4
# most pieces that a search for bounds is cut into
_PIECES = 64


def _sizes(shape: tuple[int, ...], dim: int) -> tuple[int, int, int]:
    return math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])


def _ready(*arrays: np.ndarray) -> bool:
    """Whether these are arrays that kernels read, and there are kernels."""
    if not any(a.size >= large.MIN_ITEMS for a in arrays):
        return False
    for a in arrays:
        if not (a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative and a.size):
            return False
    return large.load() is not None


def _dense(a: np.ndarray) -> np.ndarray:
    """``a`` itself where it is C-contiguous, or small; else a copy that is."""
    return a if a.flags.c_contiguous or a.size < large.MIN_ITEMS else dense(a)


def _llvm(name: str) -> Any:
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import places, scans

    return {"places": places, "scans": scans}[name]


def running(combine: str, a: np.ndarray, dim: int, backward: bool) -> np.ndarray | None:
    """Running sums ("sum"), products or sums of exponentials along a dimension; float32 in float64.

    The others are "prod", and "logsum", which is of logarithms and of floats. None for any other
    ``combine``, too.

    >>> import numpy as np
    >>> found = running("sum", np.ones((200, 200)), 1, False)
    >>> found is None or float(found[3, -1]) == 200.0
    True
    """
    if not combine or a.dtype.type not in _SUMMED:
        return None
    a = _dense(a)
    if not _ready(a):
        return None
    batch, rows, columns = _sizes(a.shape, dim)
    if 1 < columns < MIN_COLUMNS:
        return None
    out = memory.empty(a.shape, a.dtype)
    _llvm("scans").running(out, a, combine, (batch, rows, columns), backward)
    return out


def extremes(a: np.ndarray, dim: int, larger: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """The largest or smallest items over a dimension that is not the last, and their places.

    Both without the dimension; the place is the first of equal ones, NaN before all.
    """
    if a.dtype.type not in large.NUMBERS or not _ready(a):
        return None
    batch, rows, columns = _sizes(a.shape, dim)
    if columns < MIN_COLUMNS or rows >= 1 << 31:
        return None
    shape = a.shape[:dim] + a.shape[dim + 1 :]
    values, indices = np.empty(shape, a.dtype), np.empty(shape, np.int64)
    _llvm("scans").extremes(values, indices, a, larger, (batch, rows, columns))
    return values, indices


def running_extremes(
    a: np.ndarray, dim: int, larger: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """The largest or smallest items so far along a dimension, and their places.

    The place is the last of equal ones; after NaN there is only NaN.
    """
    if a.dtype.type not in large.NUMBERS or a.size < large.MIN_ITEMS:
        return None
    a = _dense(a)
    if not _ready(a):
        return None
    batch, rows, columns = _sizes(a.shape, dim)
    if 1 < columns < MIN_COLUMNS or rows >= 1 << 31:
        return None
    values, indices = memory.empty(a.shape, a.dtype), memory.empty(a.shape, _I64)
    _llvm("scans").running_extremes(values, indices, a, larger, (batch, rows, columns))
    return values, indices


def take(a: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray | None:
    """``a.take(index, dim)``, for int64 places inside the dimension, counted from the front."""
    batch, rows, columns = _sizes(a.shape, dim)
    count = batch * index.size * columns
    row_bytes = columns * a.itemsize
    if count < large.MIN_ITEMS or index.dtype != np.int64 or a.dtype.hasobject:
        return None
    single = columns == 1 and a.itemsize in (4, 8)
    if row_bytes < ROW_BYTES and not single:
        return None
    a, index = _dense(a), _dense(index)
    if not _ready(a, index):
        return None
    out = memory.empty((*a.shape[:dim], *index.shape, *a.shape[dim + 1 :]), a.dtype)
    places = _llvm("places")
    if single:
        places.run("get", a, out, index, places.Sizes(batch, rows, index.size, 1, False))
    else:
        places.take_rows(out, a, index, batch, rows, row_bytes)
    return out


def bounds(index: np.ndarray) -> tuple[int, int]:
    """The smallest and the largest of some integers."""
    if index.dtype == np.int64 and _ready(index):
        low, high = _least_and_largest(index)
        return int(low), int(high)
    return int(index.min()), int(index.max())


def are_in_front(index: np.ndarray, size: int) -> bool:
    """Whether these are int64, and count from the front inside a dimension of this size."""
    return index.dtype == np.int64 and index.size > 0 and are_inside(index, size)


def are_inside(index: np.ndarray, size: int) -> bool:
    """Whether integers, at least one, are all in [0, size)."""
    if index.size <= _FEW:
        numbers = index.reshape(-1).tolist()
        return 0 <= min(numbers) and max(numbers) < size
    if index.size < large.MIN_ITEMS and index.dtype is _I64:
        # what is negative is very large without its sign
        return bool(np.maximum.reduce(index.view(_U64), axis=None) < size)
    low, high = bounds(index)
    return low >= 0 and high < size


def _least_and_largest(index: np.ndarray) -> tuple[Any, Any]:
    pieces = math.gcd(index.size, _PIECES)
    outs = [np.empty((pieces, 1), np.int64) for _ in range(2)]
    _bounding().run(outs, (index,), pieces, index.size // pieces)
    return outs[0].min(), outs[1].max()


@functools.cache
def _bounding() -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    x = b.input("i64")
    return llvm.rows.rows_kernel(b.rows((b.on.min(x), "column"), (b.on.max(x), "column")))


def counts(index: np.ndarray, bins: int) -> np.ndarray | None:
    """How often each of so many int64 places occurs in a vector that names no other.

    Pieces of the vector count apart, where bins are few enough to be added up.
    """
    pieces = _COUNTED_APART
    if index.dtype != np.int64 or not _ready(index) or pieces * bins > index.size:
        return None
    length = index.size // pieces
    found = np.zeros((pieces, bins), np.int64)
    places = _llvm("places")
    places.run("count", found, found, index, places.Sizes(pieces, bins, length, 1, True))
    total = found.sum(0)
    total += np.bincount(index[pieces * length :], minlength=bins)
    return total


def looks(a: np.ndarray, index: np.ndarray, dim: int, how: str) -> bool:
    """Whether `gather` ("get") or `scatter` of such items raises IndexError for a wrong index.

    They do where a kernel runs, which looks at every index that it uses.
    """
    if index.size < large.MIN_ITEMS or not a.ndim == index.ndim > dim or not a.size:
        return False
    if how == "add" and a.dtype.type not in large.NUMBERS or a.itemsize not in (4, 8):
        return False
    if how != "get" and index.shape != (*a.shape[:dim], index.shape[dim], *a.shape[dim + 1 :]):
        return False
    plain = a.flags.aligned and a.dtype.isnative and index.flags.aligned
    return plain and index.dtype is _I64 and large.load() is not None


def _places(a: np.ndarray, index: np.ndarray, dim: int) -> Any:
    """How `index`, of as many dimensions as ``a`` or a vector of rows, names places in ``a``."""
    batch, rows, columns = _sizes(a.shape, dim)
    each = index.ndim > 1
    count = index.shape[dim] if each else index.size
    return _llvm("places").Sizes(batch, rows, count, columns, each)


def _fits(a: np.ndarray, index: np.ndarray, dim: int, part: np.ndarray) -> bool:
    """Whether kernels can move items between ``a`` and ``part`` at the index."""
    if index.dtype != np.int64 or a.dtype != part.dtype or a.itemsize not in (4, 8):
        return False
    whole = (*a.shape[:dim], part.shape[dim], *a.shape[dim + 1 :])
    if part.shape != whole or index.shape not in (whole, (part.shape[dim],)):
        return False
    return _ready(a, index, part)


def gather(a: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray | None:
    """``np.take_along_axis`` for int64 places inside the dimension, counted from the front."""
    if index.size < large.MIN_ITEMS or a.ndim != index.ndim or a.itemsize not in (4, 8):
        return None
    a, index = _dense(a), _dense(index)
    out = memory.empty(index.shape, a.dtype)
    if not _fits(a, index, dim, out):
        return None
    _llvm("places").run("get", a, out, index, _places(a, index, dim))
    return out


def scatter(
    how: str, a: np.ndarray, index: np.ndarray, dim: int, values: np.ndarray
) -> bool:
    """Write ("put") or add ("add") values to ``a``, in their order; False with nothing done.

    index: shaped like the values, or a vector that names rows; places inside the dimension.
    """
    if how == "add" and a.dtype.type not in large.NUMBERS or values.size < large.MIN_ITEMS:
        return False
    values, index = _dense(values), _dense(index)
    if not _fits(a, index, dim, values):
        return False
    _llvm("places").run(how, a, values, index, _places(a, index, dim))
    return True
