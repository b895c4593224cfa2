"""Reductions of the consecutive segments that a dimension is cut into."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.base.dtypes import FLOAT, FROM_NUMPY, INT
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import opaque
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.where import where

__all__ = ["segment_reduce"]

ndarray = np.ndarray
_UFUNCS = {"sum": (np.add, 0.0), "mean": (np.add, 0.0), "prod": (np.multiply, 1.0),
           "max": (np.maximum, -math.inf), "min": (np.minimum, math.inf)}
_SPELLINGS = {"amax": "max", "amin": "min"}


def _rows(a: Any, axis: int) -> tuple[int, int]:
    """The sizes of a tensor seen as rows of what one index along ``axis`` (and before) holds."""
    shape = a.shape
    return math.prod(shape[:axis + 1]), math.prod(shape[axis + 1:])


def _flat_bounds(bounds: tuple[ndarray, ndarray], size: int) -> tuple[ndarray, ndarray]:
    """Where segments start and end, counted over all rows."""
    start, end = bounds
    before = size * np.arange(math.prod(start.shape[:-1])).reshape(*start.shape[:-1], 1)
    return (start + before).ravel(), (end + before).ravel()


def _segment_forward(a: ndarray, reduce: str, bounds: tuple, axis: int,
                     initial: float | None) -> ndarray:
    ufunc, neutral = _UFUNCS[reduce]
    start, end = _flat_bounds(bounds, a.shape[axis])
    rows, width = _rows(a, axis)
    shape = (*a.shape[:axis], bounds[0].shape[-1], *a.shape[axis + 1:])
    out = np.full((start.size, width), neutral if initial is None else initial, a.dtype)
    filled = np.flatnonzero(end > start)
    if filled.size and width:
        # A segment ends before its end: the row put at the end is there to be pointed at.
        longer = np.concatenate([a.reshape(rows, width), np.zeros((1, width), a.dtype)])
        edges = np.stack([start[filled], end[filled]], 1).ravel()
        found = ufunc.reduceat(longer, edges, axis=0)[::2]
        out[filled] = found if initial is None else ufunc(out[filled], found)
    if reduce == "mean":
        count = (end - start)[:, None]
        empty = math.nan if initial is None else initial
        out = np.where(count > 0, out / np.maximum(count, 1).astype(a.dtype),
                       np.asarray(empty, a.dtype))
    return out.reshape(shape)


def _owners(bounds: tuple, axis: int, shape: tuple) -> tuple[Tensor, Tensor]:
    """Per row the segment it is in, and whether it is in one at all."""
    start, end = _flat_bounds(bounds, shape[axis])
    owner = np.zeros(math.prod(shape[:axis + 1]), np.int64)
    inside = np.zeros((owner.size, 1), np.bool_)
    for segment, (first, last) in enumerate(zip(start, end)):
        owner[first:last] = segment
        inside[first:last] = True
    return wrap(owner), wrap(inside)


def _segment_grad(g: Tensor, data: Tensor, out: Tensor, reduce: str, bounds: tuple, axis: int,
                  initial: float | None) -> Tensor:
    shape = tuple(data._a.shape)
    rows, width = _rows(data._a, axis)
    owner, inside = _owners(bounds, axis, shape)

    def spread(t: Tensor) -> Tensor:
        return t.reshape(-1, width).index_select(0, owner)

    whole = spread(g)
    x = data.reshape(rows, width)
    if reduce == "mean":
        count = (bounds[1] - bounds[0]).reshape(-1, 1)
        whole = whole / wrap(np.broadcast_to(count, (count.size, width))).index_select(0, owner)
    elif reduce == "prod":
        whole = whole * _other_factors(data, x, spread, bounds, axis, initial)
    elif reduce != "sum":
        best = (x == spread(out.detach())) | x.isnan()
        share = _segments(best.to(data.dtype).reshape(shape), "sum", bounds, axis, None)
        whole = where(best, whole / spread(share).clamp(min=1), whole.new_zeros(()))
    return where(inside, whole, whole.new_zeros(())).reshape(shape)


def _other_factors(data: Tensor, x: Tensor, spread: Any, bounds: tuple, axis: int,
                   initial: float | None) -> Tensor:
    """Per element the product of the others of its segment."""
    zero = x.eq(0)
    shape = tuple(data._a.shape)
    count = spread(_segments(zero.to(data.dtype).reshape(shape), "sum", bounds, axis, None))
    some = where(zero, x.new_ones(()), x)
    product = spread(_segments(some.reshape(shape), "prod", bounds, axis, initial))
    alone = where(zero & count.eq(1), product, product.new_zeros(()))
    return where(count.eq(0), product / some, alone)


SEGMENT_REDUCE = opaque("segment_reduce", _segment_forward, inputs=("data",),
                        grads=(_segment_grad,), params=("reduce", "bounds", "axis", "initial"),
                        widen=True)


def _segments(data: Tensor, reduce: str, bounds: tuple, axis: int,
              initial: float | None) -> Tensor:
    return apply(SEGMENT_REDUCE, (data,), {"reduce": reduce, "bounds": bounds, "axis": axis,
                                           "initial": initial})


def _as_bounds(t: Tensor, kind: str) -> ndarray:
    if t.dtype.category != INT:
        raise NotImplementedError(f"\"_segment_reduce_{kind}_cpu_kernel1\" not implemented for "
                                  f"'{t.dtype.title}'")
    return np.asarray(t._a, np.int64)


def _bounds_of(lengths: Tensor | None, offsets: Tensor | None, size: int, axis: int,
               unsafe: bool) -> tuple[ndarray, ndarray]:
    """Where segments start and end, from whichever was given."""
    if offsets is not None:
        edges = _as_bounds(offsets, "offsets")
        return edges[..., :-1], edges[..., 1:]
    assert lengths is not None
    counts = _as_bounds(lengths, "lengths")
    if not unsafe:
        if not counts.size:
            raise RuntimeError("min(): Expected reduction dim to be specified for input.numel() == "
                               "0. Specify the reduction dim with the 'dim' argument.")
        if counts.min() < 0:
            raise RuntimeError("lengths contains negative value!")
        if (counts.sum(-1) != size).any():
            raise RuntimeError("segment_reduce(): Expected all rows of lengths along axis to sum "
                               "to data.size(lengths.dim()-1) when !unsafe.")
    ends = counts.cumsum(-1)
    return ends - counts, ends


def _check(data: Tensor, reduce: str, given: Tensor | None, indices: Tensor | None,
           axis: int) -> int:
    """The axis counted from the front; raises what PyTorch raises for bad arguments."""
    rank = data.ndim
    axis = axis + rank if axis < 0 else axis
    if not 0 <= axis < max(rank, 1):
        raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}]"
                         f", but got {axis - rank if axis < 0 else axis})")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    if given is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if _SPELLINGS.get(reduce, reduce) not in _UFUNCS:
        raise RuntimeError("reduce argument must be either sum, prod, mean, amax or amin, got "
                           f"{reduce}")
    if rank < given.ndim:
        raise RuntimeError("Expected data.dim() >= lengths_value.dim() to be true, but got false.")
    if axis != given.ndim - 1:
        raise RuntimeError("segment_reduce(): Expected axis to be the last dimension of lengths "
                           f"but got {axis}.")
    if data.dtype.category != FLOAT:
        raise NotImplementedError("\"_segment_reduce_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[data._a.dtype].title}'")
    return axis


@public("torch")
def segment_reduce(data: Tensor, reduce: str, *, lengths: Tensor | None = None,
                   indices: Tensor | None = None, offsets: Tensor | None = None, axis: int = 0,
                   unsafe: bool = False, initial: float | None = None) -> Tensor:
    """Reduce the consecutive segments of ``data`` along ``axis``.

    ``reduce`` is "sum", "mean", "max", "min" or "prod". ``lengths`` says how long the segments
    are, or ``offsets`` where each begins and the last ends; they have one dimension per dimension
    of ``data`` up to ``axis``. An empty segment gives ``initial``, or what changes no result.

    >>> import flambeau as torch
    >>> torch.segment_reduce(torch.tensor([1.0, 2, 3]), "sum", lengths=torch.tensor([1, 2]))
    tensor([1., 5.])
    """
    given = lengths if offsets is None else offsets
    axis = _check(data, reduce, given, indices, axis)
    bounds = _bounds_of(lengths, offsets, data._a.shape[axis], axis, unsafe)
    return _segments(data, _SPELLINGS.get(reduce, reduce), bounds, axis, initial)


public("torch", name="_segment_reduce")(
    lambda *args, **kwargs: segment_reduce(*args, **kwargs))
