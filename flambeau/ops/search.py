"""Distinct elements, membership, search in sorted sequences, histograms and covariance."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from flambeau.backends import axis_kernels, sort_kernels
from flambeau.backends.conversions import astype
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.kinds import opaque
from flambeau.core.levels import tested
from flambeau.core.promote import number_array, result_type
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.sort import ordered

ndarray = np.ndarray
I64 = np.dtype(np.int64)
LARGE = 1 << 15


def _unique_large(a: ndarray, inverse: bool) -> tuple | None:
    """The distinct items of a large array by way of its order; None where that has no kernel."""
    found = sort_kernels.order(a.reshape(-1), 0, False)
    if found is None:
        return None
    values, places = found
    fresh = np.ones(values.size, bool)
    np.not_equal(values[1:], values[:-1], out=fresh[1:])
    starts = np.flatnonzero(fresh)
    counts = np.diff(starts, append=values.size)
    went = np.zeros(0, I64)
    if inverse:
        went = np.empty(a.shape, I64)
        went.reshape(-1)[places] = np.cumsum(fresh) - 1
    return values[starts], went, counts


def _unique_forward(a: ndarray, dim: int | None, inverse: bool) -> tuple:
    """The distinct items, where each went (nothing where not asked for), and how often each is."""
    if dim is None:
        if a.size >= LARGE and (found := _unique_large(ordered(a), inverse)) is not None:
            return found[0].astype(a.dtype, copy=False), *found[1:]
        values, went, counts = np.unique(
            ordered(a), return_inverse=True, return_counts=True, equal_nan=False)
        return values.astype(a.dtype), went.reshape(a.shape), counts
    rows = np.moveaxis(a, dim, 0)
    flat = ordered(rows.reshape(len(rows), math.prod(rows.shape[1:])))
    if not len(flat):
        return np.array(a), np.zeros(0, I64), np.zeros(0, I64)
    if not flat.shape[1]:
        raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique "
                           "cannot be applied")
    _, first, went, counts = np.unique(flat, return_index=True, return_inverse=True,
                                          return_counts=True, axis=0)
    return np.take(a, first, dim), went.reshape(-1), counts


UNIQUE = opaque("unique", _unique_forward, params=("dim", "inverse"), multiple=True)


def _several(found: tuple, return_inverse: bool, return_counts: bool) -> Any:
    kept = [found[0]]
    if return_inverse:
        kept.append(found[1])
    if return_counts:
        kept.append(found[2])
    return kept[0] if len(kept) == 1 else tuple(kept)


@public("torch", "Tensor")
def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False,
           return_counts: bool = False, dim: int | None = None) -> Any:
    """The distinct elements (slices along ``dim``) in order; on request where each went, and
    how often each occurs.

    >>> import flambeau as torch
    >>> torch.tensor([3, 1, 3]).unique(return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    at = None if dim is None else wrap_dim(dim, input._a.ndim)
    if at is not None and not input._a.ndim:
        at = None
    found = apply(UNIQUE, (input.detach(),), {"dim": at, "inverse": return_inverse})
    return _several(found, return_inverse, return_counts)


def _runs(a: ndarray, dim: int | None) -> tuple:
    rows = a.reshape(-1) if dim is None else np.moveaxis(a, dim, 0)
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    fresh = np.ones(len(flat), bool)
    fresh[1:] = (flat[1:] != flat[:-1]).any(axis=1)
    starts = np.flatnonzero(fresh)
    inverse = np.cumsum(fresh) - 1
    counts = np.diff(np.append(starts, len(flat)))
    if dim is None:
        return rows[starts], inverse.reshape(a.shape), counts
    return np.take(a, starts, dim), inverse, counts


UNIQUE_CONSECUTIVE = opaque("unique_consecutive", _runs, params=("dim",), multiple=True)


@public("torch", "Tensor")
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False,
                       dim: int | None = None) -> Any:
    """The first of every run of equal elements (slices along ``dim``)."""
    at = None if dim is None or not input._a.ndim else wrap_dim(dim, input._a.ndim)
    found = apply(UNIQUE_CONSECUTIVE, (input.detach(),), {"dim": at})
    return _several(found, return_inverse, return_counts)


def _search_forward(edges: ndarray, values: ndarray, sorter: ndarray | None, right: bool,
                    int32: bool) -> ndarray:
    edges, values = ordered(edges), ordered(values)
    if sorter is not None:
        edges = np.take_along_axis(edges, sorter, -1)
    side: Literal["left", "right"] = "right" if right else "left"
    large = sort_kernels.search(edges, values, right) if values.size >= LARGE else None
    if large is not None:
        found = large
    elif not values.size:
        found = np.zeros(values.shape, I64)
    elif edges.ndim == 1:
        found = np.searchsorted(edges, values, side)
    else:
        rows = edges.reshape(-1, edges.shape[-1])
        sought = values.reshape(len(rows), -1)
        found = np.array([np.searchsorted(e, v, side) for e, v in zip(rows, sought)])
        found = found.reshape(values.shape)
    return astype(np.asarray(found, I64), np.dtype(np.int32)) if int32 else np.asarray(found, I64)


SEARCHSORTED = opaque("searchsorted", _search_forward, inputs=("edges", "values", "sorter"),
                      params=("right", "int32"))


def _check_search(edges: Any, values: Any, scalar: bool) -> None:
    if edges.ndim == 1:
        return
    if scalar or not values.ndim:
        raise RuntimeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor "
            f"dimension is 1, but we got boundaries tensor dim({edges.ndim}) and input value's "
            f"dim({values.ndim}) numel({values.size})")
    if edges.ndim != values.ndim or edges.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 "
            "dimensions of boundaries tensor and input value tensor must match, but we got "
            f"boundaries tensor {list(edges.shape)} and input value tensor {list(values.shape)}")


@public("torch", out=True)
def searchsorted(sorted_sequence: Tensor, input: Any, *, out_int32: bool = False,
                 right: bool = False, side: str | None = None,
                 sorter: Tensor | None = None) -> Tensor:
    """Where to put each value so that the innermost dimension of a sequence stays in order.

    >>> import flambeau as torch
    >>> torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 4]))
    tensor([1, 2])
    """
    if side is not None and side not in ("left", "right"):
        raise RuntimeError("torch.searchsorted(): side can only be 'left' or 'right' but got "
                           f"{side}")
    if side == "left" and right:
        raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites, got "
                           "side of left while right was True")
    edges = sorted_sequence._a
    values = input if isinstance(input, Tensor) else wrap(np.asarray(input))
    _check_search(edges, values._a, not isinstance(input, Tensor))
    if sorter is not None:
        _check_sorter(edges, sorter._a)
    given = None if sorter is None else sorter.detach()
    return apply(SEARCHSORTED, (sorted_sequence.detach(), values.detach(), given),
                 {"right": right or side == "right", "int32": out_int32})


def _check_sorter(edges: Any, sorter: Any) -> None:
    if edges.shape != sorter.shape:
        raise RuntimeError("torch.searchsorted(): boundary and sorter must have the same size, but "
                           f"got boundary tensor {list(edges.shape)}and got sorter tensor "
                           f"{list(sorter.shape)}")
    if sorter.dtype != I64:
        raise RuntimeError("torch.searchsorted(): sorter must be a tensor of long dtype but got "
                           f"dtype {FROM_NUMPY[sorter.dtype].title}")
    if type(sorter) is ndarray and sorter.size and (
            sorter.min() < 0 or sorter.max() >= edges.shape[-1]):
        raise RuntimeError("torch.searchsorted(): sorter index out of range")


@public("torch", out=True)
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False,
              right: bool = False) -> Tensor:
    """The number of the bucket between ``boundaries`` (in order, 1-d) that each value is in."""
    if boundaries._a.ndim != 1:
        raise RuntimeError("boundaries tensor must be 1 dimension, but got "
                           f"dim({boundaries._a.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def _isin_forward(elements: ndarray, test: ndarray, invert: bool) -> ndarray:
    return np.asarray(np.isin(ordered(elements), ordered(test), invert=invert))


ISIN = opaque("isin", _isin_forward, inputs=("elements", "test_elements"), params=("invert",))


@public("torch", out=True)
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False,
         invert: bool = False) -> Tensor:
    """Whether each element is among ``test_elements``; either may be a number."""
    given = (elements, test_elements)
    if not any(isinstance(x, Tensor) for x in given):
        kinds = ", ".join(type(x).__name__ for x in given)
        raise TypeError("isin() received an invalid combination of arguments - got "
                        f"({kinds}), but expected one of:\n * (Tensor elements, Tensor "
                        "test_elements)\n * (Number element, Tensor test_elements)\n * (Tensor "
                        "elements, Number test_element)")
    for x in given:
        if isinstance(x, Tensor) and x._a.dtype.kind == "c":
            raise RuntimeError("Unsupported input type encountered for isin(): "
                               f"{FROM_NUMPY[x._a.dtype].title}")
    common = result_type(given)
    tensors = [x.detach().to(common) if isinstance(x, Tensor)  # type: ignore[attr-defined]
               else wrap(number_array(x, common.np)) for x in given]
    return apply(ISIN, tensors, {"invert": invert})


def _range_of(a: ndarray, low: float, high: float, name: str) -> tuple[float, float]:
    """The ends of a histogram: those given, or the data's."""
    if low == high and a.size:
        low, high = float(a.min()), float(a.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RuntimeError(f"{name}: range of [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError(f"{name}: max must be larger than min")
    return low, high


def _histc_forward(a: ndarray, bins: int, low: float, high: float) -> ndarray:
    kind = a.dtype.type
    flat = a.reshape(-1)
    low, high = _range_of(flat, low, high, "torch.histc")
    flat = flat[(flat >= kind(low)) & (flat <= kind(high))]
    at = ((flat - kind(low)) * kind(bins) / kind(high - low)).astype(np.int64)
    return np.bincount(np.minimum(at, bins - 1), minlength=bins).astype(a.dtype)


HISTC = opaque("histc", _histc_forward, params=("bins", "low", "high"))


@public("torch", "Tensor", out=True)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """Counts in ``bins`` equal bins from ``min`` to ``max``; both 0 means the data's range."""
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    if input._a.dtype.kind in "biuc":
        raise NotImplementedError("\"histogram_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[input._a.dtype].title}'")
    return apply(HISTC, (input.detach(),),
                 {"bins": int(bins), "low": float(min), "high": float(max)})


def _bincount_forward(a: ndarray, weights: ndarray | None, minlength: int) -> ndarray:
    low, high = axis_kernels.bounds(a) if a.size else (0, -1)
    if low < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None and a.size >= LARGE:
        counted = axis_kernels.counts(a, max(high + 1, minlength))
        if counted is not None:
            return counted
    found = np.bincount(a.astype(np.int64), weights, minlength)
    if weights is not None and weights.dtype == np.float32:
        return found.astype(np.float32)
    return found.astype(I64) if weights is None else found


BINCOUNT = opaque("bincount", _bincount_forward, inputs=("input", "weights"),
                  params=("minlength",))


@public("torch", "Tensor")
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often (or with what total weight) each of 0, 1, 2, ... occurs in a vector."""
    a = input._a
    if a.dtype.kind not in "iu":
        raise NotImplementedError("\"bincount_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[a.dtype].title}'")
    if a.ndim != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if weights is not None and weights._a.shape != a.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    given = None if weights is None else weights.detach()
    return apply(BINCOUNT, (input, given), {"minlength": int(minlength)})


def _any_negative(a: ndarray) -> bool:
    return bool((a < 0).any())


def _check_weights(name: str, w: Tensor, input: Tensor, integral: bool) -> None:
    kind = w._a.dtype.kind
    if w._a.ndim > 1:
        raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got "
                           f"{name} with {w._a.ndim} dimensions")
    if integral != (kind in "iu"):
        wanted = "integral" if integral else "floating point"
        raise RuntimeError(f"cov(): expected {name} to have {wanted} dtype but got {name} with "
                           f"{FROM_NUMPY[w._a.dtype].title} dtype")
    n = input._a.shape[1]
    if w._a.size != n:
        raise RuntimeError(f"cov(): expected {name} to have the same numel as there are "
                           f"observations in the input but got {w._a.size} != {n}")
    weights = tested(w, _any_negative)
    if weights is not None and _any_negative(weights):
        raise RuntimeError(f"cov(): {name} cannot be negative")


@public("torch", "Tensor")
def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None,
        aweights: Tensor | None = None) -> Tensor:
    """The covariances of variables, one a row, over observations, one a column."""
    if input._a.ndim > 2:
        raise RuntimeError("cov(): expected input to have two or fewer dimensions but got an "
                           f"input with {input._a.ndim} dimensions")
    if input._a.dtype.kind == "b":
        raise RuntimeError("cov(): bool dtype is not supported for input")
    t = input.reshape(1, -1) if input._a.ndim < 2 else input
    weight: Any = None
    if fweights is not None:
        _check_weights("fweights", fweights, t, True)
        weight = fweights
    if aweights is not None:
        _check_weights("aweights", aweights, t, False)
        weight = aweights if weight is None else weight * aweights
    return _covariance(t, weight, aweights, correction).squeeze()


def _covariance(t: Tensor, weight: Any, aweights: Any, correction: int) -> Tensor:
    n = t._a.shape[1]
    total: Any = n if weight is None else weight.sum()
    if n == 0:
        mean = t.sum(1, True) / 0
    elif weight is None:
        mean = t.sum(1, True) / n
    else:
        mean = (t * weight).sum(1, True) / total
    spare: Any = total - correction
    if weight is not None and aweights is not None and correction:
        spare = total - correction * (weight * aweights).sum() / total
    if isinstance(spare, Tensor):
        spare = spare.clamp(min=0)  # type: ignore[attr-defined]
    else:
        spare = spare if spare > 0 else 0
    off = t - mean
    other = off if weight is None else off * weight
    flipped = other.t()
    if off._a.dtype.kind == "c":
        flipped = flipped.conj()
    return off.matmul(flipped) / spare


@public("torch", "Tensor")
def corrcoef(input: Tensor) -> Tensor:
    """Pearson's correlation coefficients of variables, one a row."""
    if input._a.ndim > 2:
        raise RuntimeError("corrcoef(): expected input to have two or fewer dimensions but got an "
                           f"input with {input._a.ndim} dimensions")
    c = cov(input)
    if not c._a.ndim:
        return c / c
    d = c.diagonal()  # type: ignore[attr-defined]
    if d._a.dtype.kind == "c":
        d = d.real
    d = d.sqrt()
    r = c / d.unsqueeze(-1) / d.unsqueeze(0)
    if r._a.dtype.kind == "c":
        return FACES["torch"]["complex"](r.real.clamp(-1, 1), r.imag.clamp(-1, 1))
    return r.clamp(-1, 1)


__all__ = ["bincount", "bucketize", "corrcoef", "cov", "histc",
           "isin", "searchsorted", "unique", "unique_consecutive"]
