"""Sorting, and picking by rank: sort, topk, kthvalue, median, mode, quantile."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import sort_kernels
from flambeau.backends.conversions import astype
from flambeau.backends.numpy.flat import take_along
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import wrap_dim
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import opaque, reduction
from flambeau.core.levels import front, tested
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.pick import along_batch, pick, placed_grad, placed_jvp
from flambeau.ops.reduce_extreme import check_nonempty, selecting, shared_grad

ndarray = np.ndarray
F32 = np.dtype(np.float32)


def ordered(a: ndarray) -> ndarray:
    """``a`` in a dtype that NumPy sorts: half types as float32."""
    if a.dtype.itemsize < 4 and FROM_NUMPY[a.dtype].is_floating_point:
        return astype(a, F32)
    return a


def order_of(a: ndarray, dim: int, descending: bool) -> ndarray:
    """The stable order of ``a`` along ``dim``; NaN counts as greatest."""
    a = ordered(a)
    found = sort_kernels.order(a, dim, descending)
    if found is not None:
        return found[1]
    if not descending:
        return a.argsort(dim, "stable")
    back = (*(slice(None),) * dim, slice(None, None, -1))
    return a.shape[dim] - 1 - a[back].argsort(dim, "stable")[back]


def _sort_forward(a: ndarray, dim: int, descending: bool) -> tuple:
    if not a.ndim:
        return np.array(a), np.zeros((), np.int64)
    found = sort_kernels.order(ordered(a), dim, descending)
    if found is not None:
        return astype(found[0], a.dtype), found[1]
    order = order_of(a, dim, descending)
    return take_along(a, order, dim), np.ascontiguousarray(order)


SORT = opaque("sort", _sort_forward, joint=placed_grad, params=("dim", "descending"),
              multiple=True, jvp=placed_jvp, batch=along_batch)
SORT.as_operands = True


@public("torch", "Tensor", out=True)
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Any:
    """The elements in order along ``dim``, and the indices they had. Always stable.

    >>> import flambeau as torch
    >>> torch.tensor([3, 1, 2]).sort(descending=True).values
    tensor([3, 2, 1])
    """
    if isinstance(dim, bool):  # sort(stable, dim, descending), PyTorch's older order
        descending, dim = dim, -1
    if input._a.dtype.kind == "c":
        raise RuntimeError(" Sort does not support complex dtypes on CPU")
    dim = wrap_dim(dim, input._a.ndim)
    found = apply(SORT, (input,), {"dim": dim, "descending": bool(descending)})
    return return_types.ALL["sort"](found)


@public("torch", "Tensor")
def argsort(input: Tensor, dim: int = -1, descending: bool = False,
            stable: bool = False) -> Tensor:
    """The indices that sort ``input`` along ``dim``. Always stable."""
    return sort(input.detach(), dim, descending)[1]


@public("torch", "Tensor", out=True)
def msort(input: Tensor) -> Tensor:
    """The elements in order along the first dimension."""
    return sort(input, 0)[0]


def _first_places(a: ndarray, k: int, dim: int, largest: bool) -> ndarray:
    """The places of the ``k`` first elements in order, where sorting all of them is too much."""
    n = a.shape[dim]
    found = sort_kernels.first(ordered(a), dim, k, largest)
    if found is not None:
        return found[1]
    if n < 64 or 8 * k > n or not k:
        return order_of(a, dim, largest)[(*(slice(None),) * dim, slice(k))]
    key = np.moveaxis(ordered(a), dim, -1)
    chosen = np.moveaxis(_first_ones(key, k, largest), -1, dim)
    inner = order_of(take_along(ordered(a), chosen, dim), dim, largest)
    return take_along(chosen, inner, dim)


def _first_ones(key: ndarray, k: int, largest: bool) -> ndarray:
    """The places of the ``k`` first elements of rows, those of equal ones that come first."""
    n = key.shape[-1]
    cut = n - k if largest else k - 1
    order = np.argpartition(key, cut, axis=-1)
    places = order[..., n - k:] if largest else order[..., :k]
    edge = np.take_along_axis(key, order[..., cut:cut + 1], -1)
    if np.count_nonzero(key == edge) == edge.size:
        return np.sort(places, -1)
    ahead, equal = key > edge if largest else key < edge, key == edge
    if key.dtype.kind == "f":  # NaN is the greatest
        odd, odd_edge = key != key, edge != edge
        ahead |= odd & ~odd_edge if largest else odd_edge & ~odd
        equal |= odd & odd_edge
    left = k - np.add.reduce(ahead, axis=-1, keepdims=True)
    ahead |= equal & (np.add.accumulate(equal, axis=-1) <= left)
    return ahead.nonzero()[-1].reshape(*key.shape[:-1], k)


def _topk_forward(a: ndarray, dim: int, k: int, largest: bool) -> tuple:
    if not a.ndim:
        return np.array(a), np.zeros((), np.int64)
    places = np.ascontiguousarray(_first_places(a, k, dim, largest))
    return take_along(a, places, dim), places


TOPK = opaque("topk", _topk_forward, joint=placed_grad, params=("dim", "k", "largest"),
              multiple=True, jvp=placed_jvp, batch=along_batch)


@public("torch", "Tensor", out=True)
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True,
         sorted: bool = True) -> Any:
    """The ``k`` greatest (or smallest) elements along ``dim`` and their indices, in order."""
    a = input._a
    dim = wrap_dim(dim, a.ndim)
    if k < 0 or k > (a.shape[dim] if a.ndim else 1):
        raise RuntimeError("selected index k out of range")
    if a.dtype.kind == "c":
        raise RuntimeError(" topk does not support complex dtypes on CPU")
    found = apply(TOPK, (input,), {"dim": dim, "k": int(k), "largest": bool(largest)})
    return return_types.ALL["topk"](found)


def _chosen(a: ndarray, places: ndarray, dim: int, keepdim: bool) -> tuple:
    """The elements at ``places``, one along ``dim``, and ``places``."""
    values = take_along(a, places, dim)
    if not keepdim:
        values, places = values.squeeze(dim), places.squeeze(dim)
    return values, np.asarray(places, np.int64)


def _number(a: ndarray) -> tuple:
    return np.array(a), np.zeros((), np.int64)


def _kth_forward(a: ndarray, dim: int, keepdim: bool, k: int) -> tuple:
    if not a.ndim:
        return _number(a)
    order = np.argpartition(ordered(a), k - 1, axis=dim)
    return _chosen(a, np.take(order, [k - 1], dim), dim, keepdim)


def _median_forward(a: ndarray, dim: int, keepdim: bool) -> tuple:
    if not a.ndim:
        return _number(a)
    key = ordered(a)
    order = order_of(key, dim, False)
    n = a.shape[dim]
    places = np.take(order, [(n - 1) // 2], dim)
    if key.dtype.kind == "f":  # NaN wins, the first of them
        odd = np.isnan(key)
        places = np.where(odd.any(axis=dim, keepdims=True),
                          np.argmax(odd, axis=dim, keepdims=True), places)
    return _chosen(a, places, dim, keepdim)


def _nanmedian_forward(a: ndarray, dim: int, keepdim: bool) -> tuple:
    if not a.ndim:
        return _number(a)
    key = ordered(a)
    order = order_of(key, dim, False)
    count = np.sum(key == key, axis=dim, keepdims=True)
    middle = np.maximum(count - 1, 0) // 2
    return _chosen(a, take_along(order, middle, dim), dim, keepdim)


def _mode_forward(a: ndarray, dim: int, keepdim: bool) -> tuple:
    if not a.ndim:
        return _number(a)
    key = ordered(a)
    order = order_of(key, dim, False)
    s = take_along(key, order, dim)
    n = a.shape[dim]
    steps = np.arange(n).reshape([-1 if i == dim else 1 for i in range(a.ndim)])
    fresh = np.ones(a.shape, bool)
    inner = tuple([slice(1, None) if i == dim else slice(None) for i in range(a.ndim)])
    fresh[inner] = np.take(s, range(1, n), dim) != np.take(s, range(n - 1), dim)
    start = np.maximum.accumulate(np.where(fresh, steps, 0), axis=dim)
    end = np.argmax(steps - start, axis=dim, keepdims=True)
    return _chosen(a, take_along(order, end, dim), dim, keepdim)


KTHVALUE = selecting("kthvalue", _kth_forward, ("k",))
MEDIAN = selecting("median", _median_forward)
NANMEDIAN = selecting("nanmedian", _nanmedian_forward)
MODE = selecting("mode", _mode_forward)
MEDIAN.node_type.__name__ = "MedianBackward1"
NANMEDIAN.node_type.__name__ = "NanmedianBackward1"


def _whole(a: ndarray, dims: tuple[int, ...], keepdim: bool, passes: bool = False) -> ndarray:
    """The lower median of all elements: NaN where one is, unless it ``passes`` over them."""
    if not a.size:
        return np.asarray(np.nan if a.dtype.kind not in "biu" else np.iinfo(a.dtype).min, a.dtype)
    key = ordered(a.reshape(-1))
    missing = np.count_nonzero(key != key) if key.dtype.kind == "f" else 0
    if missing and not passes or missing == a.size:
        return np.asarray(np.nan, a.dtype)
    at = (a.size - missing - 1) // 2
    return np.asarray(np.partition(key, at)[at], a.dtype)


def _passing(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
    return _whole(a, dims, keepdim, True)


def _flat_batch(op: Op, inputs: Any, at: Any, **params: Any) -> tuple:
    rows = front(inputs[0], at[0], 0)
    rows = rows.reshape((rows._a.shape[0], -1))
    along = MEDIAN if op is MEDIAN_ALL else NANMEDIAN
    return apply(along, (rows,), {"dim": 1, "keepdim": False})[0], 0


MEDIAN_ALL = reduction("median_all", _whole, shared_grad, node="Median",
                       widen=False, batch=_flat_batch)
NANMEDIAN_ALL = reduction("nanmedian_all", _passing, shared_grad,
                          node="Nanmedian", widen=False, batch=_flat_batch)


def _select(op: Any, input: Tensor, dim: int, keepdim: bool, **params: Any) -> Any:
    a = input._a
    dim = wrap_dim(dim, a.ndim)
    check_nonempty(op.name, a, (dim,))
    if a.dtype.kind == "c":
        raise NotImplementedError(f"\"{op.name}_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[a.dtype].title}'")
    found = apply(op, (input,), {"dim": dim, "keepdim": keepdim, **params})
    return return_types.ALL[op.name](found)


@public("torch", "Tensor", out=True, apart=True)
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The ``k``-th smallest element along ``dim``, counted from 1, and its index."""
    a = input._a
    at = wrap_dim(dim, a.ndim)
    check_nonempty("kthvalue", a, (at,))
    if not 1 <= k <= (a.shape[at] if a.ndim else 1):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {at}")
    return _select(KTHVALUE, input, dim, keepdim, k=int(k))


def _whole_median(op: Any, input: Tensor) -> Tensor:
    if input._a.dtype.kind == "c":
        raise NotImplementedError(f"\"median_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[input._a.dtype].title}'")
    return apply(op, (input,), {"dims": tuple(range(input._a.ndim)), "keepdim": False})


@public("torch", "Tensor", out=True)
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of all elements, or along ``dim`` with its index; NaN if one is there."""
    if dim is None:
        return _whole_median(MEDIAN_ALL, input)
    return _select(MEDIAN, input, dim, keepdim)


@public("torch", "Tensor", out=True)
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of what is not NaN, of all or along ``dim`` with its index."""
    if dim is None:
        return _whole_median(NANMEDIAN_ALL, input)
    return _select(NANMEDIAN, input, dim, keepdim)


@public("torch", "Tensor", out=True)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The most frequent element along ``dim`` (the smallest of several), and its last index."""
    return _select(MODE, input, dim, keepdim)


_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _outside(a: ndarray) -> bool:
    """Whether anything is not in [0, 1]."""
    return not ((a >= 0) & (a <= 1)).all()


def _check_quantile(name: str, input: Tensor, q: Any, interpolation: str) -> None:
    if input._a.dtype not in (np.float32, np.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if not input._a.size:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if isinstance(q, Tensor):
        if q._a.ndim > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q._a.dtype != input._a.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
        levels = tested(q, _outside)
        if levels is not None and _outside(levels):
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    elif not 0 <= q <= 1:
        raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(f"{name}() interpolation must be one of linear, lower, higher, midpoint "
                           f"or nearest, but got {interpolation}")


def _ranks(values: Tensor, q: Tensor, skip_nan: bool) -> Tensor:
    """The rank, a fraction, of each quantile in each row of sorted ``values``: (..., Q)."""
    plain = values.detach()
    n = plain._a.shape[-1]
    if skip_nan:
        count = plain.isnan().logical_not().sum(-1, True)
        ranks = q * (count - 1).to(plain.dtype)
        return ranks.masked_fill(ranks.detach().lt(0), 0)
    rows = q.expand(*plain._a.shape[:-1], q._a.shape[0]) * (n - 1)
    return rows.masked_fill(plain.isnan().any(-1, True), n - 1)


def _interpolated(values: Tensor, ranks: Tensor, interpolation: str) -> Tensor:
    plain = ranks.detach()
    if interpolation == "nearest":
        return pick(values, plain.round().long(), values._a.ndim - 1)
    last = values._a.ndim - 1
    lower = pick(values, plain.floor().long(), last)
    if interpolation == "lower":
        return lower
    upper = pick(values, plain.ceil().long(), last)
    if interpolation == "higher":
        return upper
    weight = wrap(np.full((), 0.5, values._a.dtype)).expand(ranks._a.shape)
    if interpolation == "linear":
        weight = ranks - plain.floor()
    return lower.lerp(upper, weight)  # type: ignore[attr-defined]


def _quantile(name: str, input: Tensor, q: Any, dim: int | None, keepdim: bool,
              interpolation: str) -> Tensor:
    _check_quantile(name, input, q, interpolation)
    rank = input._a.ndim
    t, at = input, 0
    if dim is None:
        t = input.reshape(-1)
    else:
        at = wrap_dim(dim, rank)
        t = input.reshape(1) if not rank else input.movedim(at, -1)  # type: ignore[attr-defined]
    values = sort(t, -1)[0]
    single = not isinstance(q, Tensor) or not q._a.ndim
    qs = q.reshape(-1) if isinstance(q, Tensor) else wrap(np.full(1, q, input._a.dtype))
    found = _interpolated(values, _ranks(values, qs, name == "nanquantile"), interpolation)
    if keepdim:
        shape = (1,) * rank if dim is None else None
        lead = found.movedim(-1, 0)  # type: ignore[attr-defined]
        found = lead.reshape((lead._a.shape[0], *shape)) if shape is not None else (
            lead.unsqueeze(at + 1) if rank else lead)
        return found.squeeze(0) if single else found
    return found.squeeze(-1) if single else found.movedim(-1, 0)  # type: ignore[attr-defined]


@public("torch", "Tensor", out=True)
def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
             interpolation: str = "linear") -> Tensor:
    """The ``q``-th quantiles (0 to 1; a number or a vector, then in front) along ``dim``.

    >>> import flambeau as torch
    >>> torch.tensor([1., 2., 4.]).quantile(0.75)
    tensor(3.)
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@public("torch", "Tensor", out=True)
def nanquantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
                interpolation: str = "linear") -> Tensor:
    """The quantiles along ``dim`` of what is not NaN."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


__all__ = ["SORT", "TOPK", "argsort", "kthvalue", "median", "mode", "msort", "nanmedian",
           "nanquantile", "order_of", "ordered", "quantile", "sort", "topk"]
