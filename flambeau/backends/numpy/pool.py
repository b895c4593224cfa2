"""Max pooling over the last axes of an array.

Maxima come with the place they were found: the flat index within the pooled axes, as PyTorch
counts it. The gradient of a maximum is `pool_scatter` with those indices, a linear map whose
transpose is `pool_gather`.

Arrays are (*lead, *S) with any lead axes; the kernel's length says how many axes are pooled.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np

from flambeau.backends.numpy.windows import along, slices, tap, widen

Sizes = Sequence[int]

# Bytes of input pooled at a time, to stay in cache.
BLOCK_BYTES = 1 << 18


def pool_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """Windows along one axis. In ceil mode a last window may start inside the input or the
    left padding, never in the right padding.

    >>> pool_size(5, 2, 2, 0), pool_size(5, 2, 2, 0, ceil_mode=True)
    (2, 3)
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    count = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + padding:
        count -= 1
    return count


def max_pool_nd(
    x: np.ndarray,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each window and its flat index (int64). Padding never wins.

    The first of equal maxima is taken; of NaNs, which beat every number, the last.

    >>> max_pool_nd(np.array([[1.0, 3.0, 2.0, 2.0]]), (2,), (2,), (0,), (1,))
    (array([[3., 2.]]), array([[1, 2]]))
    """
    n = len(kernel)
    lead, size = x.shape[: x.ndim - n], x.shape[x.ndim - n :]
    axes = tuple(zip(size, kernel, stride, padding, dilation, strict=True))
    plans, places = _plan(axes, ceil_mode)
    flat = np.ascontiguousarray(x).reshape(prod(lead), *size)
    values = np.empty((flat.shape[0], *(plan.windows for plan in plans)), x.dtype)
    indices = np.empty(values.shape, np.int64)
    if values.size:
        step = max(BLOCK_BYTES // (prod(size) * x.itemsize), 1)
        for block in slices(flat.shape[0], step):
            values[block], won = _max_block(flat[block], plans)
            np.add(places.inside.take(won), places.corner, out=indices[block])
    out = values.shape[1:]
    return values.reshape(*lead, *out), indices.reshape(*lead, *out)


class _Axis(NamedTuple):
    """One pooled axis. A window's cells are numbered row-major over all pooled axes."""

    windows: int
    numbers: np.dtype
    start: np.ndarray  # the first cell of each window inside the input
    first: np.ndarray  # and its number
    empty: np.ndarray | None  # windows with no cell inside the input
    taps: list[tuple[int, slice, slice]]  # (number, windows with it, cells they read)
    whole: list[slice] | None  # the cells of each tap, where every window has all of them


class _Places(NamedTuple):
    """Flat input index of a winning cell: inside[its number] + corner[its window]."""

    inside: np.ndarray
    corner: np.ndarray


@lru_cache(maxsize=256)
def _plan(axes: tuple[tuple[int, ...], ...], ceil_mode: bool) -> tuple[list[_Axis], _Places]:
    n = len(axes)
    inside = np.zeros((1,) * n, np.int64)
    corner = np.zeros((1,) * n, np.int64)
    plans = []
    for i, (size, kernel, stride, pad, dilation) in enumerate(axes):
        count = pool_size(size, kernel, stride, pad, dilation, ceil_mode)
        spread = (-1,) + (1,) * (n - 1 - i)
        edge = np.arange(count) * stride - pad
        inside = inside * size + (np.arange(kernel) * dilation).reshape(spread)
        corner = corner * size + edge.reshape(spread)
        weight = prod(axis[1] for axis in axes[i + 1 :])
        plans.append(_axis_plan(axes[i], edge, weight, prod(axis[1] for axis in axes)))
    return plans, _Places(inside.reshape(-1), corner)


def _axis_plan(axis: tuple[int, ...], edge: np.ndarray, weight: int, cells: int) -> _Axis:
    size, kernel, stride, pad, dilation = axis
    numbers = np.dtype(np.uint8 if cells <= 256 else np.int32)
    skipped = np.where(edge < 0, -(edge // dilation), 0)
    start = edge + skipped * dilation
    empty = start >= size
    taps = []
    for t in range(kernel):
        part = tap(t * dilation - pad, stride, size, edge.size)
        if part:
            taps.append((t * weight, *part))
    every = slice(0, edge.size)
    full = len(taps) == kernel and all(windows == every for _, windows, _ in taps)
    whole = [cells for _, _, cells in taps] if full else None
    if not skipped.any():
        taps = taps[1:]
    return _Axis(
        edge.size,
        numbers,
        np.minimum(start, size - 1),
        (skipped * weight).astype(numbers),
        empty if empty.any() else None,
        taps,
        whole,
    )


def _max_block(x: np.ndarray, plans: list[_Axis]) -> tuple[np.ndarray, np.ndarray]:
    """Maxima and the numbers of the winning cells, axis by axis, last first.

    So ties and NaNs resolve as in one row-major scan of the window.
    """
    nans = bool(np.isnan(x.max())) if x.dtype.kind in "fV" else False
    last = len(plans) - 1
    x, won = _max_axis(x, None, last + 1, plans[last], nans)
    for i in reversed(range(last)):
        x, won = _max_axis(x, won, i + 1, plans[i], nans)
    return x, won


def _max_axis(
    x: np.ndarray, numbers: np.ndarray | None, axis: int, plan: _Axis, nans: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The windowed maximum along one axis of x, and the number of the cell that won."""
    best = x.take(plan.start, axis)
    if plan.empty is not None:
        best[along(x.ndim, axis, plan.empty)] = _lowest(x.dtype)
    first = plan.first.reshape((-1,) + (1,) * (x.ndim - axis - 1))
    if numbers is None:
        won = np.empty(best.shape, plan.numbers)
        won[...] = first
    else:
        won = numbers.take(plan.start, axis)
        won += first
    for number, windows, cells in plan.taps:
        to, source = along(x.ndim, axis, windows), along(x.ndim, axis, cells)
        value, held = x[source], best[to]
        better = value > held
        if nans:
            better |= value != value
        np.maximum(held, value, out=held)
        # Numbers grow from tap to tap, so the larger of the two is the later winner.
        if numbers is None:
            later = better * plan.numbers.type(number)
        else:
            later = numbers[source] + plan.numbers.type(number)
            later *= better
        np.maximum(won[to], later, out=won[to])
    return best, won


def _lowest(dtype: np.dtype) -> object:
    """The value no element is below: a window without any input cell has it."""
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def max_values_nd(
    x: np.ndarray,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The maxima of max_pool_nd alone, which takes less time than finding their places.

    >>> max_values_nd(np.array([[1.0, 3.0, 2.0, 2.0]]), (2,), (2,), (0,), (1,))
    array([[3., 2.]])
    """
    lead = x.ndim - len(kernel)
    axes = tuple(zip(x.shape[lead:], kernel, stride, padding, dilation, strict=True))
    plans, _ = _plan(axes, ceil_mode)
    for axis in reversed(range(lead, x.ndim)):
        x = _max_values_axis(x, axis, plans[axis - lead])
    return x


def _max_values_axis(x: np.ndarray, axis: int, plan: _Axis) -> np.ndarray:
    if plan.whole is not None:
        first, *others = plan.whole
        best = x[along(x.ndim, axis, first)]
        if not others:
            return best.copy()
        best = np.maximum(best, x[along(x.ndim, axis, others[0])])
        for cells in others[1:]:
            np.maximum(best, x[along(x.ndim, axis, cells)], out=best)
        return best
    best = x.take(plan.start, axis)
    if plan.empty is not None:
        best[along(x.ndim, axis, plan.empty)] = _lowest(x.dtype)
    for _, windows, cells in plan.taps:
        held = best[along(x.ndim, axis, windows)]
        np.maximum(held, x[along(x.ndim, axis, cells)], out=held)
    return best


def pool_gather(x: np.ndarray, indices: np.ndarray, n: int) -> np.ndarray:
    """x's elements at flat indices within its last n axes: shaped like indices.

    >>> pool_gather(np.array([[5.0, 6.0, 7.0]]), np.array([[2, 0]]), 1)
    array([[7., 5.]])
    """
    lead = x.shape[: x.ndim - n]
    rows = prod(lead)
    flat = x.reshape(rows, prod(x.shape[x.ndim - n :]))
    picked = np.take_along_axis(flat, indices.reshape(rows, prod(indices.shape[len(lead) :])), 1)
    return picked.reshape(indices.shape)


def pool_scatter(g: np.ndarray, indices: np.ndarray, size: Sizes) -> np.ndarray:
    """g added up at flat indices of zeros (*lead, *size): the transpose of pool_gather.

    >>> pool_scatter(np.ones((1, 3)), np.array([[0, 2, 2]]), (4,))
    array([[1., 0., 2., 0.]])
    """
    lead = g.shape[: g.ndim - len(size)]
    rows, cells = prod(lead), prod(size)
    per_row = prod(g.shape[len(lead) :])
    wide = widen(g).reshape(rows, per_row)
    places = indices.reshape(rows, per_row)
    out = np.empty((rows, cells), g.dtype)
    for block in slices(rows, max(BLOCK_BYTES // (8 * max(cells, 1)), 1)):
        out[block] = _scatter_rows(wide[block], places[block], cells)
    return out.reshape(*lead, *size)


def _scatter_rows(values: np.ndarray, places: np.ndarray, cells: int) -> np.ndarray:
    rows = values.shape[0]
    flat = (places + (np.arange(rows) * cells)[:, None]).reshape(-1)
    if values.dtype.kind == "f":
        return np.bincount(flat, values.reshape(-1), rows * cells).reshape(rows, cells)
    total = np.zeros(rows * cells, values.dtype)
    np.add.at(total, flat, values.reshape(-1))
    return total.reshape(rows, cells)


def max_unpool_nd(x: np.ndarray, indices: np.ndarray, size: Sizes) -> np.ndarray:
    """Zeros (*lead, *size) with x written at flat indices; the last write to a place stays.

    Its gradient is pool_gather of the cotangent. Indices must be in range.

    >>> max_unpool_nd(np.array([[3.0, 2.0]]), np.array([[1, 3]]), (4,))
    array([[0., 3., 0., 2.]])
    """
    lead = x.shape[: x.ndim - len(size)]
    rows, cells = prod(lead), prod(size)
    out = np.zeros((rows, cells), x.dtype)
    shape = (rows, prod(x.shape[len(lead) :]))
    out[np.arange(rows)[:, None], indices.reshape(shape)] = x.reshape(shape)
    return out.reshape(*lead, *size)


def adaptive_windows(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of `count` windows that cover `size` cells.

    >>> adaptive_windows(5, 3)
    (array([0, 1, 3]), array([2, 4, 5]))
    """
    i = np.arange(count)
    return i * size // count, -(-(i + 1) * size // count)


def adaptive_max_pool_nd(x: np.ndarray, out: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of adaptive windows and their flat indices (int64).

    >>> adaptive_max_pool_nd(np.array([1.0, 2.0, 3.0]), (2,))
    (array([2., 3.]), array([1, 2]))
    """
    n = len(out)
    starts, cells = [], []
    for size, count in zip(x.shape[x.ndim - n :], out, strict=True):
        start, end = adaptive_windows(size, count)
        steps = np.arange(int((end - start).max(initial=0)))
        starts.append(start)
        cells.append(np.minimum(start[:, None] + steps, end[:, None] - 1))
    return _max_of_cells(x, cells)


def _max_of_cells(x: np.ndarray, cells: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Maxima over the cells (out, k) each window has along each axis, last axis first.

    Cells are (out, k), or (*lead, out, k) where windows differ from one plane to the next.
    """
    n = len(cells)
    lead = x.ndim - n
    values = x
    place = np.arange(x.shape[-1])
    for i in reversed(range(n)):
        axis = lead + i
        if i < n - 1:
            rows = np.arange(x.shape[axis]) * prod(x.shape[axis + 1 :])
            place = place + rows.reshape((-1,) + (1,) * (n - 1 - i))
        values, place = _max_cells_axis(values, place, axis, cells[i])
    return values, place


def _max_cells_axis(
    x: np.ndarray, place: np.ndarray, axis: int, cells: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    place = np.broadcast_to(place, x.shape)
    if cells.shape[-1] == 0:
        shape = (*x.shape[:axis], 0, *x.shape[axis + 1 :])
        return np.empty(shape, x.dtype), np.empty(shape, np.int64)
    best, where = _read_cells(x, place, axis, cells[..., 0])
    for k in range(1, cells.shape[-1]):
        value, spot = _read_cells(x, place, axis, cells[..., k])
        better = (value > best) | (value != value)
        np.copyto(best, value, where=better)
        np.copyto(where, spot, where=better)
    return best, where


def _read_cells(
    x: np.ndarray, place: np.ndarray, axis: int, index: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """x and place at one cell per window: index is (out,), or (*lead, out) plane by plane."""
    if index.ndim == 1:
        return x.take(index, axis), place.take(index, axis)
    between = axis - index.ndim + 1
    after = x.ndim - axis - 1
    spread = (*(1,) * between, index.shape[-1], *(1,) * after)
    index = index.reshape(*index.shape[:-1], *spread)
    return np.take_along_axis(x, index, axis), np.take_along_axis(place, index, axis)


def fractional_max_pool_nd(
    x: np.ndarray, kernel: Sizes, out: Sizes, samples: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Maxima of windows whose steps vary at random, and their flat indices (int64).

    x is (N, C, *S); samples (N, C, n) in [0, 1): the last axis's sample first over two axes,
    the first axis's over three, as in PyTorch.
    Graham, Fractional Max-Pooling, 2014.
    """
    n = len(kernel)
    cells = []
    for i, (size, k, count) in enumerate(zip(x.shape[2:], kernel, out, strict=True)):
        start = _random_starts(samples[..., i if n == 3 else n - 1 - i], size, k, count)
        cells.append(start[..., None] + np.arange(k))
    return _max_of_cells(x, cells)


def _random_starts(sample: np.ndarray, size: int, kernel: int, count: int) -> np.ndarray:
    """Window starts (N, C, count); the last window always ends at the edge."""
    start = np.full((*sample.shape, count), size - kernel, np.int64)
    if count > 1:
        alpha = sample.dtype.type(size - kernel) / sample.dtype.type(count - 1)
        steps = np.arange(count - 1).astype(sample.dtype)
        shifted = ((steps + sample[..., None]) * alpha).astype(np.int64)
        start[..., :-1] = shifted - (sample * alpha).astype(np.int64)[..., None]
    return start
