"""Reductions of large arrays by kernels, or None to say "use NumPy"."""

import functools
import math
from collections.abc import Callable

import numpy as np

from flambeau.backends import large
from flambeau.backends.large import MIN_COLUMNS, MIN_ITEMS, NUMBERS

Axes = tuple[int, ...] | None
# plans kept, the latest used
MAX_PLANS = 1 << 9


def reduce(name: str, array: np.ndarray, axes: Axes, keepdims: bool) -> np.ndarray | None:
    """Reduce over axes ("sum", "mean", "prod", "max", "min"); None when the case is not covered.

    array: C-contiguous, 32,768 items or more, of float32, float64, int32 or int64 (bool for "sum").
    axes: None for all, or axes in any order that stand together, or whose last ones do, at the
    end. Integer sums and products are int64; the others keep the dtype. A float32 sum is
    accumulated in float64 and rounded once, and does not depend on the number of threads. NaN is
    propagated by max and min.
    """
    if type(array) is not np.ndarray or array.size < MIN_ITEMS:
        return None
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        return None
    plan = _plan(name, array.dtype, array.shape, axes, keepdims)
    return None if plan is None else plan(array)


@functools.lru_cache(MAX_PLANS)
def _plan(
    name: str, dtype: np.dtype, shape: tuple[int, ...], axes: Axes, keepdims: bool
) -> Callable[[np.ndarray], np.ndarray] | None:
    """How arrays of this dtype and shape are reduced."""
    if not _reducible(name, dtype) or not dtype.isnative or large.load() is None:
        return None
    reduced = range(len(shape)) if axes is None else {axis % len(shape) for axis in axes}
    if keepdims:
        result = tuple(1 if axis in reduced else n for axis, n in enumerate(shape))
    else:
        result = tuple(n for axis, n in enumerate(shape) if axis not in reduced)
    split = split_axes(shape, axes)
    if split is None:
        return _in_parts(name, dtype, shape, axes, result)
    before, length, after = split
    if after == 1:
        return _over_rows(name, dtype, before, result)
    return _over_columns(name, dtype, before, length, result)


def _over_rows(
    name: str, dtype: np.dtype, rows: int, shape: tuple[int, ...]
) -> Callable[[np.ndarray], np.ndarray]:
    llvm = large.load()
    assert llvm is not None
    run = llvm.reduce.run_blocks
    plain = llvm.reduce.plain(_combine(name), llvm.calls.KINDS[dtype])
    ending = llvm.reduce.Ending(llvm.calls.KINDS[_result_dtype(name, dtype)], name == "mean")

    def plan(array: np.ndarray) -> np.ndarray:
        found: np.ndarray = run(plain, array, rows, ending, shape)
        return found

    return plan


def _over_columns(
    name: str, dtype: np.dtype, batch: int, length: int, shape: tuple[int, ...]
) -> Callable[[np.ndarray], np.ndarray]:
    llvm = large.load()
    assert llvm is not None
    run = llvm.reduce.run_columns
    plain = llvm.reduce.plain(_combine(name), llvm.calls.KINDS[dtype])

    def plan(array: np.ndarray) -> np.ndarray:
        return _finish(name, dtype, run(plain, array, batch, length), length).reshape(shape)

    return plan


def _in_parts(
    name: str, dtype: np.dtype, shape: tuple[int, ...], axes: Axes, result: tuple[int, ...]
) -> Callable[[np.ndarray], np.ndarray] | None:
    """Reduce over axes that stand apart: the last that stand together first, NumPy does the rest.

    None where that leaves much to do.
    """
    order = sorted(axis % len(shape) for axis in axes or ())
    first = len(order) - 1
    while first > 0 and order[first - 1] == order[first] - 1:
        first -= 1
    if first < 1 or order[-1] != len(shape) - 1:
        return None
    split = split_axes(shape, tuple(order[first:]))
    if split is None:
        return None
    llvm = large.load()
    assert llvm is not None
    run, finish = llvm.reduce.run_blocks, llvm.reduce.FINISH[_combine(name)].reduce
    plain = llvm.reduce.plain(_combine(name), llvm.calls.KINDS[dtype])
    before, length, _ = split
    rest, middle = tuple(order[:first]), shape[: order[first]]
    length *= math.prod([shape[axis] for axis in rest])

    def plan(array: np.ndarray) -> np.ndarray:
        found = run(plain, array, before).reshape(middle)
        with np.errstate(all="ignore"):
            found = finish(found, axis=rest)
        return _finish(name, dtype, found, length).reshape(result)

    return plan


def _combine(name: str) -> str:
    return "sum" if name == "mean" else name


def _result_dtype(name: str, dtype: np.dtype) -> np.dtype:
    integral = dtype.kind in "ib" and name in ("sum", "prod")
    return np.dtype(np.int64) if integral else dtype


def _finish(name: str, dtype: np.dtype, found: np.ndarray, length: int) -> np.ndarray:
    """Divide for a mean, and round to the result's dtype."""
    with np.errstate(all="ignore"):
        if name == "mean":
            found = found / length
        return found.astype(_result_dtype(name, dtype))


def _reducible(name: str, dtype: np.dtype) -> bool:
    if name == "mean":
        return dtype.type in (np.float32, np.float64)
    if name == "sum" and dtype.type is np.bool_:
        return True
    return name in ("sum", "prod", "max", "min") and dtype.type in NUMBERS


def split_axes(shape: tuple[int, ...], axes: tuple[int, ...] | None) -> tuple[int, int, int] | None:
    """Return the sizes before, within and after the reduced axes; None if they stand apart."""
    if axes is None:
        return 1, math.prod(shape), 1
    order = sorted(axis % len(shape) for axis in axes)
    if not order or order != list(range(order[0], order[0] + len(order))):
        return None
    before = math.prod(shape[: order[0]])
    length = math.prod(shape[order[0] : order[-1] + 1])
    after = math.prod(shape[order[-1] + 1 :])
    if (after == 1 and length < MIN_COLUMNS) or (after > 1 and after < MIN_COLUMNS):
        return None
    return before, length, after
