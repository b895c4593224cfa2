"""Averages of windows of the last axes of an array, each with its transpose.

Arrays are (*lead, *S) with any lead axes; the kernel's length says how many axes are pooled.
The half types are averaged in float32 and rounded once.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from flambeau.backends.numpy.axis_map import AxisMap, apply_maps, apply_transposed
from flambeau.backends.numpy.pool import Sizes, adaptive_windows, pool_size
from flambeau.backends.numpy.windows import tap, widen


def avg_pool_nd(
    x: np.ndarray,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The mean of each window: its sum over its cell count, or over divisor_override.

    >>> avg_pool_nd(np.array([[1.0, 3.0, 2.0, 2.0]]), (2,), (2,), (0,))
    array([[2., 2.]])
    """
    lead = x.ndim - len(kernel)
    axes = tuple(zip(x.shape[lead:], kernel, stride, padding, strict=True))
    plan = mean_plan(axes, None, ceil_mode, count_include_pad, divisor_override)
    total = widen(x)
    for axis, line in enumerate(plan.lines, lead):
        total = sum_windows(total, axis, line)
    return _divide(total, plan.cells).astype(x.dtype, copy=False)


class _Line(NamedTuple):
    """One averaged axis."""

    size: int
    windows: int
    taps: list[tuple[slice, slice]]  # (windows that have the cell, the cells they read)
    every: bool  # whether every window has every cell


class _Means(NamedTuple):
    lines: list[_Line]
    cells: np.ndarray  # what each window's sum is divided by; one number where all are alike


@lru_cache(maxsize=256)
def mean_plan(
    axes: tuple[tuple[int, ...], ...],
    counts: tuple[int, ...] | None,
    ceil_mode: bool,
    include_pad: bool,
    override: int | None,
) -> _Means:
    if counts is None:
        counts = tuple(pool_size(n, k, s, p, 1, ceil_mode) for n, k, s, p in axes)
    lines = []
    for (size, kernel, stride, pad), count in zip(axes, counts, strict=True):
        parts = [tap(t - pad, stride, size, count) for t in range(kernel)]
        taps = [part for part in parts if part]
        full = slice(0, count)
        every = len(taps) == kernel and all(windows == full for windows, _ in taps)
        lines.append(_Line(size, count, taps, every))
    cells = _divisor(axes, counts, include_pad, override)
    if cells.size and (cells == cells.flat[0]).all():
        cells = np.array(cells.flat[0])
    return _Means(lines, cells)


def avg_pool_nd_transpose(
    g: np.ndarray,
    size: Sizes,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> np.ndarray:
    """The transpose of avg_pool_nd: g (*lead, *out) spread over (*lead, *size)."""
    lead = g.ndim - len(kernel)
    axes = tuple(zip(size, kernel, stride, padding, strict=True))
    plan = mean_plan(axes, g.shape[lead:], ceil_mode, count_include_pad, divisor_override)
    total = _divide(widen(g), plan.cells)
    for axis in reversed(range(lead, g.ndim)):
        total = _spread_windows(total, axis, plan.lines[axis - lead])
    return total.astype(g.dtype, copy=False)


def sum_windows(x: np.ndarray, axis: int, line: _Line) -> np.ndarray:
    """Sums of windows along one axis."""
    if line.windows == 1 and line.every and len(line.taps) == line.size:
        return np.add.reduce(x, axis=axis, dtype=x.dtype, keepdims=True)
    first = (slice(None),) * axis
    if not line.every:
        total = np.zeros((*x.shape[:axis], line.windows, *x.shape[axis + 1 :]), x.dtype)
        for windows, cells in line.taps:
            total[(*first, windows)] += x[(*first, cells)]
        return total
    total = x[(*first, line.taps[0][1])]
    if len(line.taps) == 1:
        return total
    total = total + x[(*first, line.taps[1][1])]
    for _, cells in line.taps[2:]:
        total += x[(*first, cells)]
    return total


def _spread_windows(g: np.ndarray, axis: int, line: _Line) -> np.ndarray:
    first = (slice(None),) * axis
    total = np.zeros((*g.shape[:axis], line.size, *g.shape[axis + 1 :]), g.dtype)
    for windows, cells in line.taps:
        total[(*first, cells)] += g[(*first, windows)]
    return total


def _divisor(
    axes: Sequence[tuple[int, ...]], counts: Sizes, include_pad: bool, override: int | None
) -> np.ndarray:
    """Cells per window, shaped (*out); padding past the declared one never counts."""
    if override is not None:
        return np.array(override)
    cells = np.ones((1,) * len(axes), np.int64)
    for i, ((size, kernel, stride, pad), count) in enumerate(zip(axes, counts, strict=True)):
        start = np.arange(count) * stride - pad
        end = np.minimum(start + kernel, size + pad)
        if not include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        shape = [1] * len(axes)
        shape[i] = count
        cells = cells * np.maximum(end - start, 1).reshape(shape)
    return cells


def _divide(total: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """A mean in total's dtype; integers divide as C does, toward zero."""
    if total.dtype.kind in "iu":
        quotient = np.abs(total) // np.abs(cells)
        return (np.sign(total) * np.sign(cells) * quotient).astype(total.dtype)
    return total / cells.astype(total.real.dtype)


@lru_cache(maxsize=256)
def adaptive_map(size: int, count: int) -> AxisMap:
    """The sums over adaptive windows, as a map along an axis."""
    start, end = adaptive_windows(size, count)
    lengths = end - start
    out = np.repeat(np.arange(count), lengths)
    steps = np.arange(out.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return AxisMap(count, size, out, np.repeat(start, lengths) + steps)


def _adaptive_cells(size: Sizes, out: Sizes) -> np.ndarray:
    cells = np.ones((1,) * len(out), np.int64)
    for i, (s, count) in enumerate(zip(size, out, strict=True)):
        start, end = adaptive_windows(s, count)
        cells = cells * (end - start).reshape([-1 if j == i else 1 for j in range(len(out))])
    return cells


def adaptive_avg_pool_nd(x: np.ndarray, out: Sizes) -> np.ndarray:
    """The means of windows that divide the last axes of x as evenly as can be: (*lead, *out).

    >>> adaptive_avg_pool_nd(np.array([1.0, 2.0, 3.0]), (2,))
    array([1.5, 2.5])
    """
    size = x.shape[x.ndim - len(out) :]
    if all(o and s % o == 0 for s, o in zip(size, out, strict=True)):
        kernel = [s // o for s, o in zip(size, out, strict=True)]
        return avg_pool_nd(x, kernel, kernel, (0,) * len(out))
    maps = [adaptive_map(s, o) for s, o in zip(size, out, strict=True)]
    total = apply_maps(widen(x), maps)
    return _divide(total, _adaptive_cells(size, out)).astype(x.dtype, copy=False)


def adaptive_avg_pool_nd_transpose(g: np.ndarray, size: Sizes) -> np.ndarray:
    """The transpose of adaptive_avg_pool_nd: g (*lead, *out) spread over (*lead, *size)."""
    out = g.shape[g.ndim - len(size) :]
    maps = [adaptive_map(s, o) for s, o in zip(size, out, strict=True)]
    part = _divide(widen(g), _adaptive_cells(size, out))
    return apply_transposed(part, maps).astype(g.dtype, copy=False)
