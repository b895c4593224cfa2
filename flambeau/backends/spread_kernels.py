"""Variances, norms and logsumexp of large arrays in one kernel, or None to say "use NumPy".

float32 is summed in float64. A reduction to few numbers is cut into pieces of equal length, by the
shape alone, so that threads share it and results do not depend on how many there are.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import large

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
    split = large.split_axes(a.shape, dims)
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
    a = np.ascontiguousarray(a)
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
        return None
    means, squares = _run(_deviation, 2, a, split)
    mean, square = means[:, 0], squares[:, 0]
    pieces = means.shape[1]
    if pieces > 1:
        mean = means.mean(1)
        apart = np.square(means - mean[:, None]).sum(1)
        square = squares.sum(1) + apart * (split[1] // pieces)
    return _shaped(mean, a, dims, keepdim), _shaped(square, a, dims, keepdim)


_NORMS: dict[float, tuple[Callable[..., Any], np.ufunc]] = {
    1.0: (lambda on, x: (on.sum(on.abs(x)),), np.add),
    2.0: (lambda on, x: (on.sum(x * x),), np.add),
    math.inf: (lambda on, x: (on.max(on.abs(x)),), np.maximum),
    -math.inf: (lambda on, x: (on.min(on.abs(x)),), np.minimum),
}


def norm(a: np.ndarray, ord: float, dims: Dims, keepdim: bool) -> np.ndarray | None:
    """The norm of order 1, 2, inf or -inf over dimensions, in float64."""
    if ord not in _NORMS:
        return None
    split = _split(a, dims)
    if split is None:
        return None
    formula, combine = _NORMS[ord]
    (parts,) = _run(formula, 1, a, split)
    found = combine.reduce(parts, axis=1)
    return _shaped(np.sqrt(found) if ord == 2 else found, a, dims, keepdim)


def _log_sum(on: Any, x: Any) -> tuple:
    peak = on.max(x)
    # what is infinite stays so, and is not subtracted from itself
    shift = on.where(on.abs(peak) < math.inf, peak, 0.0)
    return shift, on.sum(on.exp(x - shift))


def logsumexp(a: np.ndarray, dims: Dims, keepdim: bool) -> np.ndarray | None:
    """log(sum(exp(a))) over dimensions, without overflow, in float64."""
    split = _split(a, dims)
    if split is None:
        return None
    shifts, sums = _run(_log_sum, 2, a, split)
    shift = np.maximum.reduce(shifts, axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        total = np.add.reduce(sums * np.exp(shifts - shift), axis=1)
        return _shaped(np.log(total) + shift[:, 0], a, dims, keepdim)
