"""Max pooling, and gradients of means: kernels where the input is large, else NumPy."""

from __future__ import annotations

from math import prod
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import conversions, large, small
from flambeau.backends.numpy import mean_pool
from flambeau.backends.numpy import pool as plain
from flambeau.backends.numpy.pool import Sizes, pool_size

# items of the input from which a kernel is sooner done even where none was loaded yet
MIN_ITEMS = 1 << 12
# A small pooling by NumPy takes as long as so many plain functions.
COST = 5
FLOATS = (np.float32, np.float64)


def _kernels(array: np.ndarray, items: int, axes: int) -> Any:
    """The module of kernels; None where NumPy is to do it."""
    if axes > 3 or array.dtype.type not in FLOATS or not array.size:
        return None
    if items < MIN_ITEMS and not large.started():
        small.note(COST)
        return None
    if large.load() is None:
        return None
    # llvmlite is there, and imported
    from flambeau.backends.llvm import maxima, means

    return SimpleNamespace(maxima=maxima.maxima, maximum_values=maxima.maximum_values,
                           scatter=maxima.scatter, spread=means.spread)


def _three(values: Sizes, fill: int) -> list[int]:
    return [fill] * (3 - len(values)) + [int(value) for value in values]


def max_pool_nd(
    x: np.ndarray,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each window and its flat index (int64). Padding never wins.

    >>> max_pool_nd(np.array([[1.0, 3.0, 2.0, 2.0]]), (2,), (2,), (0,), (1,))
    (array([[3., 2.]]), array([[1, 2]]))
    """
    work = _max_work(x, (kernel, stride, padding, dilation), ceil_mode)
    if work is None:
        return plain.max_pool_nd(x, kernel, stride, padding, dilation, ceil_mode)
    values, indices = work.kernels.maxima(work.planes, work.table, work.out)
    return values.reshape(work.shape), indices.reshape(work.shape)


def max_values_nd(
    x: np.ndarray,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool = False,
) -> np.ndarray:
    """The maxima of `max_pool_nd` alone.

    >>> max_values_nd(np.array([[1.0, 3.0, 2.0, 2.0]]), (2,), (2,), (0,), (1,))
    array([[3., 2.]])
    """
    work = _max_work(x, (kernel, stride, padding, dilation), ceil_mode)
    if work is None:
        return plain.max_values_nd(x, kernel, stride, padding, dilation, ceil_mode)
    values: np.ndarray = work.kernels.maximum_values(work.planes, work.table, work.out)
    return values.reshape(work.shape)


def adaptive_max_pool_nd(x: np.ndarray, size: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each of ``size`` parts of the last axes, and its flat index (int64).

    >>> adaptive_max_pool_nd(np.array([1.0, 2.0, 5.0, 4.0]), (2,))
    (array([2., 5.]), array([1, 2]))
    """
    sizes = x.shape[x.ndim - len(size):]
    if 0 in size or 0 in sizes:
        return plain.adaptive_max_pool_nd(x, size)
    if any([n % out for n, out in zip(sizes, size, strict=True)]):
        found = _maxima_of_parts(x, size)
        return plain.adaptive_max_pool_nd(x, size) if found is None else found
    # parts of one length are windows side by side
    window = tuple([n // out for n, out in zip(sizes, size, strict=True)])
    ones, zeros = (1,) * len(size), (0,) * len(size)
    return max_pool_nd(x, window, window, zeros, ones)


def _maxima_of_parts(x: np.ndarray, size: Sizes) -> tuple[np.ndarray, np.ndarray] | None:
    """Maxima of parts that differ in length, by kernels; None where NumPy is to find them."""
    kernels, rank = _kernels(x, x.size, len(size)), len(size)
    if kernels is None:
        return None
    lead, sizes = x.shape[: x.ndim - rank], _three(x.shape[x.ndim - rank :], 1)
    planes = conversions.in_rows(x).reshape(prod(lead), *sizes)
    out = _three(size, 1)
    # no kernel, stride, padding or dilation
    values, indices = kernels.maxima(planes, [*sizes, *out, *[0] * 12], out)
    shape = (*lead, *size)
    return values.reshape(shape), indices.reshape(shape)


class _MaxWork(NamedTuple):
    """What the kernels of maxima take, and the shape of the results."""

    kernels: Any
    planes: np.ndarray
    table: list[int]
    out: list[int]
    shape: tuple[int, ...]


def _max_work(x: np.ndarray, window: tuple[Sizes, Sizes, Sizes, Sizes],
              ceil_mode: bool) -> _MaxWork | None:
    """A max pooling as kernels take it; None where NumPy is to do it."""
    rank = len(window[0])
    lead, size = x.shape[: x.ndim - rank], x.shape[x.ndim - rank :]
    kernels = _kernels(x, x.size, rank)
    if kernels is None:
        return None
    out = [pool_size(*axis, ceil_mode) for axis in zip(size, *window, strict=True)]
    if min(out) < 1:
        return None
    planes = np.ascontiguousarray(x).reshape(prod(lead), *_three(size, 1))
    kernel, stride, padding, dilation = window
    table = [*_three(size, 1), *_three(out, 1), *_three(kernel, 1), *_three(stride, 1),
             *_three(padding, 0), *_three(dilation, 1)]
    return _MaxWork(kernels, planes, table, _three(out, 1), (*lead, *out))


def pool_scatter(g: np.ndarray, indices: np.ndarray, size: Sizes) -> np.ndarray:
    """g added up at flat indices of zeros (*lead, *size), indices that pooling gave.

    >>> pool_scatter(np.ones((1, 3)), np.array([[0, 2, 2]]), (4,))
    array([[1., 0., 2., 0.]])
    """
    lead = g.shape[: g.ndim - len(size)]
    planes, cells = prod(lead), prod(size)
    kernels = _kernels(g, planes * cells, 1)
    if kernels is None or indices.dtype != np.int64 or indices.shape != g.shape:
        return plain.pool_scatter(g, indices, size)
    flat = [np.ascontiguousarray(a).reshape(planes, -1) for a in (g, indices)]
    found = kernels.scatter(*flat, cells)
    return plain.pool_scatter(g, indices, size) if found is None else found.reshape(*lead, *size)


def _mean_tables(size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, cells: np.ndarray,
                 out: Sizes, dtype: np.dtype) -> tuple[np.ndarray, list[int]]:
    """What each window's sum is divided by, and the table of the windows."""
    divisors = np.ascontiguousarray(np.broadcast_to(cells, tuple(out)), dtype)
    table = [*_three(size, 1), *_three(out, 1), *_three(kernel, 1), *_three(stride, 1),
             *_three(padding, 0), 1, 1, 1]
    return divisors, table


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
    settings = (ceil_mode, count_include_pad, divisor_override)
    lead, out = g.shape[: g.ndim - len(kernel)], g.shape[g.ndim - len(kernel) :]
    kernels = _kernels(g, prod(lead) * prod(size), len(kernel))
    if kernels is None or 0 in size:
        return mean_pool.avg_pool_nd_transpose(g, size, kernel, stride, padding, *settings)
    axes = tuple(zip(size, kernel, stride, padding, strict=True))
    cells = mean_pool.mean_plan(axes, out, *settings).cells
    divisors, table = _mean_tables(size, kernel, stride, padding, cells, out, g.dtype)
    planes = np.ascontiguousarray(g).reshape(prod(lead), *_three(out, 1))
    return kernels.spread(planes, divisors, table, _three(size, 1)).reshape(*lead, *size)
