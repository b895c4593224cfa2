"""Variances, norms, logsumexp and losses of large arrays in one kernel, or None for NumPy's way.

float32 is summed in float64. A reduction to few numbers is cut into pieces of equal length, by the
shape alone, so that threads share it and results do not depend on how many there are.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.backends import conversions, fused, large, reductions

MIN_ITEMS = large.MIN_ITEMS
# fewer rows than this are cut into pieces, of at least so many items
FEW_ROWS = 16
PIECES = 64
PIECE_ITEMS = 1 << 14

Dims = tuple[int, ...]


def _split(a: np.ndarray, dims: Dims) -> tuple[int, int, int] | None:
    """Sizes before, within and after the reduced dimensions; None where no kernel is to run."""
    if a.size < MIN_ITEMS or a.dtype.type not in (np.float32, np.float64) or not dims:
        return None
    split = reductions.split_axes(a.shape, dims)
    return None if split is None or large.load() is None else split


@functools.cache
def _kernel(formula: Callable[..., Any], char: str) -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    x = b.input(llvm.calls.KINDS[np.dtype(char)])
    results = formula(b.on, x.cast("f64"))
    return llvm.rows.rows_kernel(b.rows(*[(value, "column") for value in results]))


def _run(
    formula: Callable[..., Any], count: int, a: np.ndarray, split: tuple[int, int, int]
) -> list[np.ndarray]:
    """The formula's `count` values of every piece: arrays (rows, pieces), or (batch, inner)."""
    kernel = _kernel(formula, a.dtype.char)
    before, length, after = split
    a = conversions.in_rows(a)
    if after > 1:
        outs = [np.empty((before * after, 1)) for _ in range(count)]
        kernel.run_across(outs, (a,), before, length, after)
        return outs
    pieces = _pieces(before, length)
    outs = [np.empty((before, pieces)) for _ in range(count)]
    kernel.run(outs, (a,), before * pieces, length // pieces)
    return outs


def _pieces(rows: int, length: int) -> int:
    """The largest power of two up to PIECES that divides the length, where there are few rows."""
    if rows >= FEW_ROWS:
        return 1
    most = min(PIECES, length // PIECE_ITEMS)
    return math.gcd(length, 1 << (most.bit_length() - 1)) if most > 1 else 1


def _shaped(found: np.ndarray, a: np.ndarray, dims: Dims, keepdim: bool) -> np.ndarray:
    kept = [1 if axis in dims else n for axis, n in enumerate(a.shape)]
    if not keepdim:
        kept = [n for axis, n in enumerate(a.shape) if axis not in dims]
    return found.reshape(kept)


def _deviation(on: Any, x: Any) -> tuple:
    mean = on.sum(x) / on.length("f64")
    off = x - mean
    return mean, on.sum(off * off)


def moments(a: np.ndarray, dims: Dims, keepdim: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """The mean, and the sum of squared distances from it, over dimensions; both float64.

    >>> import numpy as np
    >>> found = moments(np.ones((300, 300)), (0, 1), False)
    >>> found is None or [float(value) for value in found] == [1.0, 0.0]
    True
    """
    split = _split(a, dims)
    if split is None:
        return _moments_apart(a, dims, keepdim) or _moments_by_steps(a, dims, keepdim)
    means, squares = _run(_deviation, 2, a, split)
    mean, square = means[:, 0], squares[:, 0]
    pieces = means.shape[1]
    if pieces > 1:
        mean = means.mean(1)
        apart = np.square(means - mean[:, None]).sum(1)
        square = squares.sum(1) + apart * (split[1] // pieces)
    return _shaped(mean, a, dims, keepdim), _shaped(square, a, dims, keepdim)


def _moments_apart(
    a: np.ndarray, dims: Dims, keepdim: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """As ``moments`` where dimensions stand apart: over the last ones, then over the others."""
    order = sorted(dims)
    first = len(order) - 1
    while first > 0 and order[first - 1] == order[first] - 1:
        first -= 1
    inner, outer = tuple(order[first:]), tuple(order[:first])
    if not outer or _split(a, inner) is None:
        return None
    found = moments(a, inner, True)
    if found is None:
        return None
    means, squares = found
    mean = means.mean(outer, keepdims=True)
    count = math.prod([a.shape[axis] for axis in inner])
    apart = np.square(means - mean).sum(outer, keepdims=True)
    square = squares.sum(outer, keepdims=True) + apart * count
    return _shaped(mean, a, dims, keepdim), _shaped(square, a, dims, keepdim)


def _moments_by_steps(
    a: np.ndarray, dims: Dims, keepdim: bool
) -> tuple[np.ndarray, np.ndarray] | None:
    """As ``moments`` over any dimensions, of any layout: distances are stored in between."""
    if a.dtype.type not in (np.float32, np.float64) or not dims:
        return None
    total = reductions.reduce("wide sum", a, dims, True)
    if total is None:
        return None
    count = math.prod([a.shape[axis] for axis in dims])
    mean = total / count
    rounded = mean.astype(a.dtype)
    off = fused.pointwise(_off, (a, rounded))
    square = None if off is None else reductions.reduce("squares", off, dims, True)
    if square is None:
        return None
    # what the rounded mean is off by was added to every distance
    square = np.maximum(square - np.square(mean - rounded) * count, 0)
    return _shaped(mean, a, dims, keepdim), _shaped(square, a, dims, keepdim)


def _off(on: Any, x: Any, mean: Any) -> Any:
    return x - mean


_NORMS = {1.0: "sizes", 2.0: "squares", math.inf: "largest", -math.inf: "smallest"}


def norm(a: np.ndarray, ord: float, dims: Dims, keepdim: bool) -> np.ndarray | None:
    """The norm of order 1, 2, inf or -inf over dimensions, in float64."""
    if ord not in _NORMS or a.dtype.type not in (np.float32, np.float64):
        return None
    found = reductions.reduce(_NORMS[ord], a, dims, keepdim)
    return np.sqrt(found, out=found) if found is not None and ord == 2 else found


def _log_sum(on: Any, x: Any) -> tuple:
    peak = on.max(x)
    # what is infinite stays so, and is not subtracted from itself
    shift = on.where(on.abs(peak) < math.inf, peak, 0.0)
    return shift, on.sum(on.exp(x - shift))


def logsumexp(a: np.ndarray, dims: Dims, keepdim: bool) -> np.ndarray | None:
    """log(sum(exp(a))) over dimensions, without overflow, in float64."""
    split = _split(a, dims)
    if split is None or split[2] > 1:
        return _logsumexp_by_steps(a, dims, keepdim)
    shifts, sums = _run(_log_sum, 2, a, split)
    shift = np.maximum.reduce(shifts, axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        total = np.add.reduce(sums * np.exp(shifts - shift), axis=1)
        return _shaped(np.log(total) + shift[:, 0], a, dims, keepdim)


def _logsumexp_by_steps(a: np.ndarray, dims: Dims, keepdim: bool) -> np.ndarray | None:
    """As ``logsumexp`` over any dimensions, of any layout: exponentials are stored in between."""
    if a.dtype.type not in (np.float32, np.float64) or not dims:
        return None
    peak = reductions.reduce("max", a, dims, True)
    if peak is None:
        return None
    peak[np.isinf(peak)] = 0
    grown = fused.pointwise(_grown, (a, peak))
    total = None if grown is None else reductions.reduce("wide sum", grown, dims, True)
    if total is None:
        return None
    with np.errstate(all="ignore"):
        return _shaped(np.log(total) + peak, a, dims, keepdim)


def _grown(on: Any, x: Any, peak: Any) -> Any:
    return on.exp(x - peak)


def total(
    formula: Callable[..., Any], arrays: Sequence[np.ndarray], params: Mapping[str, float]
) -> float | None:
    """The sum of ``formula(on, *arrays, **params)`` over all elements, in float64.

    arrays: dense, of one shape and dtype.

    >>> import numpy as np
    >>> found = total(lambda on, x: x * x, (np.ones(40_000),), {})
    >>> found is None or found == 40_000.0
    True
    """
    lead = arrays[0]
    split = _split(lead, tuple(range(lead.ndim)))
    if split is None or any(a.shape != lead.shape or a.dtype != lead.dtype for a in arrays):
        return None
    if not all(a.flags.c_contiguous and a.flags.aligned for a in arrays):
        return None
    kernel = _summing(formula, lead.dtype.char, len(arrays), tuple(params.items()))
    pieces = _pieces(1, lead.size)
    out = np.empty((pieces, 1))
    kernel.run((out,), arrays, pieces, lead.size // pieces)
    return float(out.sum())


@functools.lru_cache(maxsize=256)
def _summing(
    formula: Callable[..., Any], char: str, count: int, params: tuple[tuple[str, float], ...]
) -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    symbols = [b.input(llvm.calls.KINDS[np.dtype(char)]) for _ in range(count)]
    item = formula(b.on, *symbols, **dict(params))
    return llvm.rows.rows_kernel(b.rows((b.on.sum(item.cast("f64")), "column")))
