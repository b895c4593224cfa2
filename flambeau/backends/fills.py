"""Large arrays of one number, of evenly spaced ones, or with triangles kept, by kernels."""

from typing import Any

import numpy as np

from flambeau.backends import conversions, large, libm, memory

_SPACED = (np.float32, np.float64, np.int32, np.int64)


def full(shape: tuple[int, ...], dtype: np.dtype, value: Any) -> np.ndarray:
    """An array of one number.

    >>> full((2,), np.dtype(np.int64), 7)
    array([7, 7])
    """
    out = memory.empty(shape, dtype)
    if not conversions.write(out, value):
        out[...] = value
    return out


def spaced(
    count: int, dtype: np.dtype, start: float, step: float, end: float | None = None
) -> np.ndarray | None:
    """``start + step * i`` for i in range(count), of floats in float64; None for NumPy's way.

    Where an `end` is given, the upper half is counted down from there.

    >>> found = spaced(40_000, np.dtype(np.float64), 1.0, 0.5)
    >>> found is None or float(found[3]) == 2.5
    True
    """
    if count < large.MIN_ITEMS or dtype.type not in _SPACED or large.load() is None:
        return None
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import ranges

    if count > ranges.MOST_ITEMS or dtype.kind == "i" and not _fits(start, step, count):
        return None
    out = memory.empty((count,), dtype)
    half = count if end is None else count // 2
    ranges.fill(out[:half], start, step, 0, 1)
    if end is not None:
        ranges.fill(out[half:], end, -step, count - 1 - half, -1)
    return out


def stepped(count: int, dtype: np.dtype, start: float, step: float) -> np.ndarray:
    """``start + step * i`` for i in range(count), of a floating dtype, with PyTorch's roundings.

    Its kernel fills a vector of 32 bytes at a time, counting within it from its first item, as
    that is rounded to the dtype; the items left over are counted from the start.

    >>> stepped(3, np.dtype(np.float64), 1.0, 0.5)
    array([1. , 1.5, 2. ])
    """
    lanes = 32 // dtype.itemsize
    full = count // lanes * lanes
    wide = np.dtype(np.float64 if dtype.itemsize >= 4 else np.float32)
    step, start = wide.type(step), wide.type(start)
    out = memory.empty((count,), dtype)
    firsts = _counted(np.arange(0, full, lanes), step, start, dtype).astype(wide)
    blocks = out[:full].reshape(-1, lanes)
    for lane in range(lanes):
        blocks[:, lane] = _counted(np.asarray(lane), step, firsts, dtype)
    out[full:] = _counted(np.arange(full, count), step, start, dtype)
    return out


def _counted(at: np.ndarray, step: Any, start: Any, dtype: np.dtype) -> np.ndarray:
    """``start + step * at`` in the precision of ``step``, rounded once in float64."""
    at = at.astype(step.dtype)
    exact = not at.ndim and at <= 2
    if dtype == np.float64 and not exact and np.any(start != 0):
        return libm.fused(at, step, start)
    return (start + at * step).astype(dtype)


def _fits(start: float, step: float, count: int) -> bool:
    bound = 1 << 62
    return abs(start) < bound and abs(step) * count < bound


def triangle(a: np.ndarray, diagonal: int, lower: bool) -> np.ndarray:
    """``numpy.tril``, or ``numpy.triu`` where not `lower`.

    >>> triangle(np.ones((2, 2)), 0, True)
    array([[1., 0.],
           [1., 1.]])
    """
    flags = a.flags
    if a.size >= large.MIN_ITEMS and flags.c_contiguous and not a.dtype.hasobject:
        if large.load() is not None:
            # with llvmlite, once kernels are there
            from flambeau.backends.llvm import triangles

            out = memory.empty(a.shape, a.dtype)
            bound = sum(a.shape[-2:])
            triangles.run(out, a, max(min(diagonal, bound), -bound), lower)
            return out
    return np.tril(a, diagonal) if lower else np.triu(a, diagonal)
