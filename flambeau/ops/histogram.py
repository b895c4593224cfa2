"""Histograms of numbers and of points: how many, or how much weight, between edges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import opaque, underivable
from flambeau.core.out_dtypes import C_NAMES
from flambeau.core.tensor import Tensor

ndarray = np.ndarray
NAME = "torch.histogramdd"


def _spaced(values: ndarray, bins: int, ends: tuple[float, float] | None, at: int) -> ndarray:
    """The edges of ``bins`` equal bins from end to end, by default the data's."""
    if ends is not None:
        low, high = ends
    else:
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{NAME}: dimension {at}'s range [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError(f"{NAME}: min should not exceed max, but got min {low:g} max {high:g} "
                           f"for dimension {at}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1).astype(values.dtype)


def _places(values: ndarray, edges: ndarray) -> ndarray:
    """The bin of each value; the last takes its upper edge too, what lies outside none: -1."""
    at = _bisected(values, edges) - 1
    inside = (values >= edges[0]) & (values <= edges[-1])
    return np.where(inside, np.minimum(at, len(edges) - 2), -1)


def _bisected(values: ndarray, edges: ndarray) -> ndarray:
    """How many edges lie up to each value; of edges that do not rise, what a bisection finds."""
    if (edges[1:] >= edges[:-1]).all():
        return np.searchsorted(edges, values, "right")
    low, high = np.zeros(values.shape, int), np.full(values.shape, len(edges))
    while (low < high).any():
        middle = (low + high) >> 1
        right = ~(values < edges[np.minimum(middle, len(edges) - 1)])
        going = low < high
        low = np.where(going & right, middle + 1, low)
        high = np.where(going & ~right, middle, high)
    return low


def _forward(*arrays: ndarray, weighted: bool, bins: tuple[int, ...] | None,
             ends: tuple[float, ...] | None, density: bool) -> tuple:
    points, weight, given = arrays[0], arrays[1] if weighted else None, arrays[1 + weighted:]
    count = points.shape[-1]
    flat = points.reshape(math.prod(points.shape[:-1]), count)
    if bins is None:
        edges = [np.array(e) for e in given]
    else:
        pairs = [None if ends is None else (ends[2 * d], ends[2 * d + 1]) for d in range(count)]
        edges = [_spaced(flat[:, d], bins[d], pairs[d], d) for d in range(count)]
    places = [_places(flat[:, d], edges[d]) for d in range(count)]
    shape = tuple([len(e) - 1 for e in edges])
    if not count:
        return (np.zeros((), points.dtype),)
    inside = np.logical_and.reduce([p >= 0 for p in places])
    at = np.ravel_multi_index([p[inside] for p in places], shape)
    share = None if weight is None else weight.reshape(-1)[inside]
    hist = np.bincount(at, share, math.prod(shape)).reshape(shape).astype(points.dtype)
    if density:
        hist = hist / hist.sum()
        for d, e in enumerate(edges):
            hist = hist / np.diff(e).reshape(-1, *(1,) * (count - d - 1))
    return (hist, *edges)


def _declared(name: str, aten: str) -> Any:
    return underivable(opaque, name, _forward, aten, inputs=(), variadic=True, multiple=True,
                       params=("weighted", "bins", "ends", "density"))


FLAT = _declared("histogram", "histogram")
BY_COUNTS = _declared("histogramdd_counts", "_histogramdd_from_bin_cts")
BY_EDGES = _declared("histogramdd_edges", "_histogramdd_from_bin_tensors")


def _c_name(t: Tensor) -> str:
    held = FROM_NUMPY[t._a.dtype]
    return C_NAMES.get(held.name, held.name)


def _check(input: Tensor, weight: Tensor | None) -> None:
    if input._a.ndim < 2:
        raise RuntimeError(f"{NAME}: input tensor should have at least 2 dimensions")
    if weight is None:
        return
    if weight._a.dtype != input._a.dtype:
        raise RuntimeError(f"{NAME}: if weight tensor is provided, input tensor and weight tensor "
                           f"should have the same dtype, but got input({_c_name(input)}), and "
                           f"weight({_c_name(weight)})")
    if weight._a.shape != input._a.shape[:-1]:
        raise RuntimeError(f"{NAME}: if weight tensor is provided it should have the same shape as "
                           "the input tensor excluding its innermost dimension, but got input with "
                           f"shape {list(input._a.shape)} and weight with shape "
                           f"{list(weight._a.shape)}")


def _check_edges(input: Tensor, edges: Any) -> None:
    count = input._a.shape[-1]
    if len(edges) != count:
        raise RuntimeError(f"{NAME}: expected {count} sequences of bin edges for a "
                           f"{count}-dimensional histogram but got {len(edges)}")
    for at, e in enumerate(edges):
        where = f"for dimension {at}"
        if e._a.dtype != input._a.dtype:
            raise RuntimeError(f"{NAME}: input tensor and bins tensors should have the same dtype, "
                               f"but got input with dtype {_c_name(input)} and bins {where} with "
                               f"dtype {_c_name(e)}")
        if e._a.ndim != 1:
            raise RuntimeError(f"{NAME}: bins tensor should have one dimension, but got "
                               f"{e._a.ndim} dimensions in the bins tensor {where}")
        if not e._a.size:
            raise RuntimeError(f"{NAME}: bins tensor should have at least 1 element, but got 0 "
                               f"elements in the bins tensor {where}")


def _check_bins(bins: tuple[int, ...], ends: Any) -> None:
    for at, n in enumerate(bins):
        if n < 0:
            raise RuntimeError(f"{NAME}: bins tensor should have at least 1 element, but got 0 "
                               f"elements in the bins tensor for dimension {at}")
        if n == 0:
            raise RuntimeError("torch.histogram(): bins must be > 0, but got 0 for dimension "
                               f"{at}")
    if ends is not None and len(ends) != 2 * len(bins):
        raise RuntimeError(f"{NAME}: for a {len(bins)}-dimensional histogram range should have "
                           f"{2 * len(bins)} elements, but got {len(ends)}")


def _histogram(ops: tuple, input: Tensor, bins: Any, ends: Any, weight: Tensor | None,
               density: bool) -> tuple:
    by_counts, by_edges = ops
    if isinstance(bins[0] if bins else 0, Tensor):
        _check_edges(input, bins)
        _check_bins(tuple([e._a.shape[0] - 1 for e in bins]), None)
        op, edges, counts = by_edges, list(bins), None
    else:
        op, edges, counts = by_counts, [], tuple([int(n) for n in bins])
    _check(input, weight)
    if counts is not None:
        _check_bins(counts, ends)
    if input._a.dtype not in (np.float32, np.float64):
        raise NotImplementedError("\"histogramdd\" not implemented for "
                                  f"'{FROM_NUMPY[input._a.dtype].title}'")
    tensors = [input, *([] if weight is None else [weight]), *edges]
    limits = None if ends is None else tuple([float(x) for x in ends])
    return apply(op, tensors, {"weighted": weight is not None, "bins": counts, "ends": limits,
                               "density": density})


@public("torch", "Tensor", out=True)
def histogram(input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None,
              density: bool = False) -> Any:
    """Counts (or densities) between edges: ``bins`` equal ones, or those ``bins`` lists.

    >>> import flambeau as torch
    >>> torch.histogram(torch.tensor([1., 2., 1.]), bins=2, range=(0., 3.)).hist
    tensor([2., 1.])
    """
    if isinstance(bins, Tensor) and range is not None:
        raise TypeError("histogram() received an invalid combination of arguments - got (Tensor, "
                        "Tensor, range=tuple), but expected one of:\n * (Tensor input, Tensor "
                        "bins, *, Tensor weight, bool density)\n * (Tensor input, int bins, *, "
                        "tuple of floats range, Tensor weight, bool density)")
    points = input.reshape(-1, 1)  # type: ignore[attr-defined]
    load = None if weight is None else weight.reshape(-1)  # type: ignore[attr-defined]
    return return_types.ALL["histogram"](
        _histogram((FLAT, FLAT), points, (bins,), range, load, density))


@public("torch")
def histogramdd(input: Tensor, bins: Any, range: Any = None, weight: Tensor | None = None,
                density: bool = False) -> Any:
    """Counts of the points in the last dimension of ``input``, on a grid of bins.

    ``bins`` has per coordinate the number of equal bins (one number: the same for all), or their
    edges. ``range`` has the lowest and the highest edge per coordinate.

    >>> import flambeau as torch
    >>> points = torch.tensor([[0., 1.], [1., 0.], [2., 0.], [2., 2.]])
    >>> torch.histogramdd(points, bins=[3, 3]).hist
    tensor([[0., 1., 0.],
            [1., 0., 0.],
            [1., 0., 1.]])
    """
    count = input._a.shape[-1] if input._a.ndim else 0
    if isinstance(bins, int):
        bins = [bins] * count
    for at, n in enumerate(bins):
        if not isinstance(n, (int, Tensor, np.integer)):
            raise TypeError(f"expected Tensor as element {at} in argument 1, but got "
                            f"{type(n).__name__}")
    if input._a.ndim > 1 and len(bins) != count and not isinstance(bins[0], Tensor):
        raise RuntimeError("histogramdd: The size of bins must be equal to the innermost dimension "
                           "of the input.")
    found = _histogram((BY_COUNTS, BY_EDGES), input, tuple(bins), range, weight, density)
    edges = bins if len(bins) and isinstance(bins[0], Tensor) else found[1:]
    return return_types.ALL["histogramdd"]((found[0], tuple(edges)))


__all__ = ["histogram", "histogramdd"]
