"""Copies of a tensor with values written or combined at positions: scatter, index_add, ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import axis_kernels
from flambeau.backends.conversions import copied, dense
from flambeau.backends.numpy.flat import flat_positions
from flambeau.base.errors import warn_user
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.index_ops import PLACE, linear_jvp
from flambeau.core.kinds import opaque
from flambeau.core.levels import front, integers_in
from flambeau.core.op import Op
from flambeau.core.promote import check_held, checked_array, checked_number, number_array
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast
from flambeau.ops.index import check_range, gather, index_array, index_select, looked_at
from flambeau.ops.shape import expand, reshape
from flambeau.ops.views import narrow

LARGE = 1 << 15
AT = {"sum": np.add.at, "mean": np.add.at, "prod": np.multiply.at, "amax": np.maximum.at,
      "amin": np.minimum.at}
START = {"sum": 0, "mean": 0, "prod": 1}


def _source(src: np.ndarray, index: np.ndarray) -> np.ndarray:
    if src.shape == index.shape:
        return src
    if not src.ndim or not index.ndim:
        return np.broadcast_to(src.reshape(-1)[:1].reshape(()), index.shape)
    return src[tuple([slice(n) for n in index.shape])]


def _start(held: np.dtype, reduce: str) -> Any:
    """What a position starts from where the tensor itself is left out."""
    if reduce in START:
        return START[reduce]
    if held.kind in "iu":
        info = np.iinfo(held)
        return info.min if reduce == "amax" else info.max
    if held.kind == "b":
        return reduce == "amin"
    return -np.inf if reduce == "amax" else np.inf


def _scatter_forward(a: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int) -> np.ndarray:
    if index.size >= LARGE:
        out = _dense_copy(a)
        if axis_kernels.scatter("put", out, index, dim, _source(src, index)):
            return out
    values = _source(src, index) if src.ndim else src
    flat = np.array(a, order="C").reshape(-1)
    flat[flat_positions(a.shape, index, dim)] = values
    return flat.reshape(a.shape)


def _dense_copy(a: np.ndarray) -> np.ndarray:
    return copied(a) if a.flags.c_contiguous else dense(a)


def _scatter_value_forward(a: np.ndarray, index: np.ndarray, dim: int, value: Any) -> np.ndarray:
    return _scatter_forward(a, index, number_array(value, a.dtype).reshape(()), dim)


def _scatter_add_forward(a: np.ndarray, index: np.ndarray, src: np.ndarray,
                         dim: int) -> np.ndarray:
    return _reduce_forward(a, index, src, dim, "sum", True)


def _reduce_forward(a: np.ndarray, index: np.ndarray, src: np.ndarray, dim: int, reduce: str,
                    include_self: bool) -> np.ndarray:
    if reduce == "sum" and include_self and index.size >= LARGE:
        out = _dense_copy(a)
        if axis_kernels.scatter("add", out, index, dim, _source(src, index)):
            return out
    flat = np.array(a, order="C").reshape(-1)
    at = flat_positions(a.shape, index, dim).reshape(-1)
    values = _source(src, index).reshape(-1)
    if not include_self:
        flat[at] = _start(a.dtype, reduce)
    AT[reduce](flat, at, values)
    if reduce == "mean":
        count = np.full(flat.shape, int(include_self), np.int64)
        np.add.at(count, at, 1)
        count = np.maximum(count, 1)
        flat = flat // count if a.dtype.kind in "iu" else flat / count.astype(flat.real.dtype)
        flat = flat.astype(a.dtype)
    return flat.reshape(a.shape)


def _without(g: Tensor, index: Tensor, dim: int) -> Any:
    return apply(SCATTER_VALUE, (g, index), {"dim": dim, "value": 0})


def _gathered(g: Tensor, index: Tensor, src_shape: tuple, dim: int) -> Tensor:
    """The gradient of the source: ``g`` at the index, zero where the source was not read."""
    found = gather(g, dim, index)
    return found if found._a.shape == src_shape else _padded(found, src_shape)


def _padded(part: Tensor, shape: tuple) -> Tensor:
    if not shape or not part._a.ndim:
        return reshape(part.sum(), shape)  # type: ignore[attr-defined]
    key = (*[slice(n) for n in part._a.shape], ...)
    return apply(PLACE, (part,), {"shape": shape, "index": key})


def _batch_scatter(op: Any, inputs: Sequence, bdims: Sequence, **params: Any) -> tuple:
    size = next(t._a.shape[b] for t, b in zip(inputs, bdims) if b is not None)
    rank = inputs[0]._a.ndim - (bdims[0] is not None)
    whole = [expand(t, (size, *t._a.shape)) if b is None else front(t, b, 0)
             for t, b in zip(inputs, bdims)]
    if not rank:
        whole = [reshape(t, (size, 1)) for t in whole]
        params["dim"] = 1
        return reshape(apply(op, whole, params), (size,)), 0
    params["dim"] += 1
    return apply(op, whole, params), 0


SCATTER: Op = opaque(
    "scatter", _scatter_forward, inputs=("input", "index", "src"),
    grads=(lambda g, index, dim: _without(g, index, dim), None, _gathered), params=("dim",),
    jvp=linear_jvp(lambda: SCATTER, 0, 2), batch=_batch_scatter)
SCATTER_VALUE: Op = opaque(
    "scatter_value", _scatter_value_forward, inputs=("input", "index"),
    grads=(lambda g, index, dim: _without(g, index, dim), None), params=("dim", "value"),
    jvp=lambda tangents, out, input, index, dim, value: _without(tangents[0], index, dim),
    batch=_batch_scatter)
SCATTER_VALUE.node_type.__name__ = "ScatterBackward1"
SCATTER_ADD: Op = opaque(
    "scatter_add", _scatter_add_forward, inputs=("input", "index", "src"),
    grads=(lambda g: g, None, _gathered), params=("dim",), widen=True, node="ScatterAdd",
    jvp=linear_jvp(lambda: SCATTER_ADD, 0, 2), batch=_batch_scatter)


# Gradients of the reductions, for scatter_reduce and index_reduce alike.


def _spread(t: Tensor, shape: tuple, index: Tensor, dim: int, src: Tensor) -> Any:
    """The sums over sources that land on each position."""
    zeros = wrap(np.zeros(shape, np.dtype(t._a.dtype.type)))
    return apply(SCATTER_ADD, (zeros, index, t), {"dim": dim})


def _like(condition: Any, t: Tensor) -> Any:
    return cast(condition, t.dtype)


def _reduce_grads(g: Any, needs: tuple, input: Any, index: Tensor, src: Any, out: Any, dim: int,
                  reduce: str, include_self: bool) -> list:
    shape = src._a.shape
    part = src if shape == index._a.shape else _cut(src, index)
    if reduce == "sum":
        own, other = g, gather(g, dim, index)
    elif reduce == "mean":
        count = _spread(_ones(part), input._a.shape, index, dim, part) + int(include_self)
        share = g / count.clamp(min=1)  # type: ignore[attr-defined]
        own, other = share, gather(share, dim, index)
    elif reduce == "prod":
        own, other = _prod_grads(g, input, index, part, out, dim, include_self)
    else:
        own, other = _extreme_grads(g, input, index, part, out, dim, include_self)
    if not include_self:
        own = _without(own, index, dim)
    if other._a.shape != shape:
        other = _padded(other, shape)
    return [own, None, other]


def _cut(src: Tensor, index: Tensor) -> Tensor:
    for d, n in enumerate(index._a.shape):
        src = narrow(src, d, 0, n)
    return src


def _ones(t: Tensor) -> Tensor:
    return wrap(np.ones(t._a.shape, np.dtype(t._a.dtype.type)))


def _prod_grads(g: Any, input: Any, index: Tensor, src: Any, out: Any, dim: int,
                include_self: bool) -> tuple:
    """Products of all factors but one: the whole divided by it, or for a zero the others'."""
    ones = _ones(input)
    others = apply(SCATTER_REDUCE, (ones, index, src),
                   {"dim": dim, "reduce": "prod", "include_self": True})
    zero = src == 0
    start = input if include_self else ones
    filled = src * _like(~zero, src) + _like(zero, src)
    product = apply(SCATTER_REDUCE, (start, index, filled),
                    {"dim": dim, "reduce": "prod", "include_self": True})
    zeros: Any = gather(_spread(_like(zero, src), input._a.shape, index, dim, src), dim, index)
    alone = _like(zeros == 1, src) * _like(zero, src)
    divided = gather(g * out, dim, index) / filled * _like(~zero, src)
    return g * others, divided + gather(g * product, dim, index) * alone


def _extreme_grads(g: Any, input: Any, index: Tensor, src: Any, out: Any, dim: int,
                   include_self: bool) -> tuple:
    """The gradient goes to the extreme values, in equal parts where several tie."""
    hit = _like(src == gather(out, dim, index), g)
    own = _like(input == out, g)
    if not include_self:
        own = _without(own, index, dim)
    count = _spread(hit, input._a.shape, index, dim, src) + own
    share = g / count.clamp(min=1)  # type: ignore[attr-defined]
    keep = own if include_self else own * 0 + 1
    return share * keep, gather(share, dim, index) * hit


SCATTER_REDUCE = opaque(
    "scatter_reduce", _reduce_forward, inputs=("input", "index", "src"), joint=_reduce_grads,
    params=("dim", "reduce", "include_self"), widen=True, node="ScatterReduce",
    batch=_batch_scatter)


# scatter


def _value_like(input: Tensor, index: Tensor, value: Any) -> Tensor:
    number = wrap(checked_array(value, input.dtype))
    return expand(number, index._a.shape)


def _check_scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | None,
                   late: bool = False) -> None:
    index_array("scatter", index)
    if src is not None and src.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    have, want = input._a.shape, index._a.shape
    if not index._a.size:
        return
    if max(len(have), 1) != max(len(want), 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if src is not None and max(src._a.ndim, 1) != max(len(want), 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    too_large = any(m > n for d, (n, m) in enumerate(zip(have, want)) if d != dim)
    if too_large or src is not None and any(m > n for n, m in zip(src._a.shape, want)):
        also = "" if src is None else f" and to be no larger size than src {list(src._a.shape)}"
        raise RuntimeError(f"Expected index {list(want)} to be no larger than self {list(have)} "
                           f"apart from dimension {dim}{also}")
    if not late:
        check_range(index, dim, have[dim] if have else 1)


def _scattered(op: Op, input: Tensor, dim: int, index: Tensor, src: Tensor | None,
               how: str, params: dict) -> Tensor:
    """Check the operands and run a scatter, whose kernel may be what looks at the index."""
    late = isinstance(index, Tensor) and looked_at(input, dim, index, how)
    _check_scatter(input, dim, index, src, late)
    try:
        return apply(op, (input, index) if src is None else (input, index, src), params)
    except IndexError:
        if late:
            check_range(index, dim, input._a.shape[dim])
        raise


@public("torch", "Tensor", out=True, inplace=True)
def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None,
            reduce: str | None = None) -> Tensor:
    """A copy with ``out[index[i][j]][j] = src[i][j]`` (for ``dim`` 0); ``src`` may be a number.

    >>> import flambeau as torch
    >>> torch.zeros(3).scatter(0, torch.tensor([2]), 5.0)
    tensor([0., 0., 5.])
    """
    given = src if src is not None else value
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    is_tensor = isinstance(given, Tensor)
    dim = wrap_dim(dim, input._a.ndim)
    if reduce is None:
        if is_tensor:
            return _scattered(SCATTER, input, dim, index, given, "put", {"dim": dim})
        number = checked_number(given, input.dtype)
        return _scattered(SCATTER_VALUE, input, dim, index, None, "put",
                          {"dim": dim, "value": number})
    _check_scatter(input, dim, index, given if is_tensor else None)
    if is_tensor:
        warn_user("The reduce argument of torch.scatter with Tensor src is deprecated and will be "
                  "removed in a future PyTorch release. Use torch.scatter_reduce instead for more "
                  "reduction options.")
    if not is_tensor:
        given = _value_like(input, index, given)
    if reduce == "add":
        return apply(SCATTER_ADD, (input, index, given), {"dim": dim})
    return apply(SCATTER_REDUCE, (input, index, given),
                 {"dim": dim, "reduce": "prod", "include_self": True})


@public("torch", "Tensor", out=True, inplace=True)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy with the elements of ``src`` added at the positions ``index`` gives along ``dim``."""
    dim = wrap_dim(dim, input._a.ndim)
    return _scattered(SCATTER_ADD, input, dim, index, src, "add", {"dim": dim})


@public("torch", "Tensor", out=True, inplace=True)
def scatter_reduce(input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *,
                   include_self: bool = True) -> Tensor:
    """A copy with ``src`` reduced (sum, prod, mean, amax, amin) into the positions of ``index``."""
    if reduce not in AT:
        raise RuntimeError("reduce argument must be either sum, prod, mean, amax or amin, got "
                           f"{reduce}")
    dim = wrap_dim(dim, input._a.ndim)
    _check_scatter(input, dim, index, src)
    return apply(SCATTER_REDUCE, (input, index, src),
                 {"dim": dim, "reduce": reduce, "include_self": include_self})


# index_add, index_copy, index_fill, index_reduce


def _lines(index: Any, shape: tuple, dim: int) -> Any:
    """An index of positions along ``dim`` broadcast over an array of ``shape``."""
    line = [1] * len(shape)
    if shape:
        line[dim] = -1
        return index.reshape(line)
    return index.reshape(())


def _wide(index: Tensor, source: Tensor, dim: int) -> Tensor:
    return expand(_lines(index, source._a.shape, dim), source._a.shape)


def _index_add_forward(a: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int,
                       alpha: Any) -> np.ndarray:
    wide = np.broadcast_to(_lines(index, source.shape, dim), source.shape)
    if alpha != 1:
        source = source * np.asarray(alpha).astype(source.dtype)
    if source.size >= LARGE:
        out = _dense_copy(a)
        if axis_kernels.scatter("add", out, index.reshape(-1), dim, source):
            return out
    return _reduce_forward(a, wide, source, dim, "sum", True)


def _index_copy_forward(a: np.ndarray, index: np.ndarray, source: np.ndarray,
                        dim: int) -> np.ndarray:
    out = _dense_copy(a)
    if not a.ndim:
        out[...] = source.reshape(())
    elif not axis_kernels.scatter("put", out, index.reshape(-1), dim, source):
        np.moveaxis(out, dim, 0)[index.reshape(-1)] = np.moveaxis(source, dim, 0)
    return out


def _index_fill_forward(a: np.ndarray, index: np.ndarray, value: np.ndarray,
                        dim: int) -> np.ndarray:
    out = copied(a)
    if not a.ndim:
        out[...] = value
    else:
        np.moveaxis(out, dim, 0)[index.reshape(-1)] = value
    return out


def _filled(g: Tensor, index: Tensor, dim: int) -> Tensor:
    zero = wrap(np.zeros((), np.dtype(g._a.dtype.type)))
    return apply(INDEX_FILL, (g, index, zero), {"dim": dim})


def _fill_value_grad(g: Any, index: Tensor, dim: int) -> Tensor:
    one = wrap(np.ones((), np.dtype(g._a.dtype.type)))
    nowhere = wrap(np.zeros(g._a.shape, np.dtype(g._a.dtype.type)))
    return (g * apply(INDEX_FILL, (nowhere, index, one), {"dim": dim})).sum()


def _at_index(g: Tensor, index: Tensor, source_shape: tuple, dim: int) -> Tensor:
    return reshape(index_select(g, dim, index), source_shape)


def _added(g: Tensor, index: Tensor, source_shape: tuple, dim: int, alpha: Any) -> Tensor:
    found: Any = _at_index(g, index, source_shape, dim)
    return found if alpha == 1 else found * (
        alpha.conjugate() if isinstance(alpha, complex) else alpha)


def _index_reduce_forward(a: np.ndarray, index: np.ndarray, source: np.ndarray, dim: int,
                          reduce: str, include_self: bool) -> np.ndarray:
    wide = np.broadcast_to(_lines(index, source.shape, dim), source.shape)
    return _reduce_forward(a, wide, source, dim, reduce, include_self)


def _index_reduce_grads(g: Tensor, needs: tuple, input: Tensor, index: Tensor, source: Tensor,
                        out: Tensor, dim: int, reduce: str, include_self: bool) -> list:
    wide = _wide(index, source, dim)
    return _reduce_grads(g, needs, input, wide, source, out, dim, reduce, include_self)


INDEX_ADD: Op = opaque(
    "index_add", _index_add_forward, inputs=("input", "index", "source"),
    grads=(lambda g: g, None, _added), params=("dim", "alpha"), widen=True, node="IndexAdd",
    jvp=linear_jvp(lambda: INDEX_ADD, 0, 2))
INDEX_COPY: Op = opaque(
    "index_copy", _index_copy_forward, inputs=("input", "index", "source"),
    grads=(_filled, None, _at_index), params=("dim",), node="IndexCopy",
    jvp=linear_jvp(lambda: INDEX_COPY, 0, 2))
INDEX_FILL: Op = opaque(
    "index_fill", _index_fill_forward, inputs=("input", "index", "value"),
    grads=(_filled, None, _fill_value_grad),
    params=("dim",), node="IndexFill", jvp=linear_jvp(lambda: INDEX_FILL, 0, 2))
INDEX_REDUCE = opaque(
    "index_reduce", _index_reduce_forward, inputs=("input", "index", "source"),
    joint=_index_reduce_grads, params=("dim", "reduce", "include_self"), widen=True,
    node="IndexReduce")


def _check_vector(name: str, input: Tensor, dim: int, index: Tensor) -> int:
    dim = wrap_dim(dim, input._a.ndim)
    if index._a.ndim > 1:
        raise IndexError(f"{name}: Index is supposed to be a vector, but got dim: "
                         f"{index._a.ndim}")
    if index._a.dtype.kind != "i" or index._a.dtype.itemsize < 4:
        raise RuntimeError(f"{name}: Expected dtype int32/int64 for index")
    return dim


def _check_source(name: str, input: Tensor, dim: int, index: Tensor, source: Tensor) -> None:
    have, other = input._a.shape, source._a.shape
    if input.dtype is not source.dtype:
        raise RuntimeError(f"{name}: self ({input.dtype.title}) and source "
                           f"({source.dtype.title}) must have the same scalar type")
    count = other[dim] if other else 1
    if index._a.size != count:
        raise RuntimeError(f"{name}: Number of indices ({index._a.size}) should be equal to "
                           f"source.size(dim): ({count}), for dim: {dim}")
    if len(have) != len(other) and have and other or any(
            n != m for d, (n, m) in enumerate(zip(have, other)) if d != dim):
        raise RuntimeError("source tensor shape must match self tensor shape, excluding the "
                           f"specified dimension. Got self.shape = {list(have)} source.shape = "
                           f"{list(other)}")


def _limit(input: Tensor, dim: int) -> int:
    return input._a.shape[dim] if input._a.ndim else 1


@public("torch", "Tensor", out=True, inplace=True)
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *,
              alpha: Any = 1) -> Tensor:
    """A copy with ``alpha * source`` added at the positions ``index`` of dimension ``dim``."""
    dim = _check_vector("index_add_()", input, dim, index)
    _check_source("index_add_()", input, dim, index, source)
    try:
        check_range(index, dim, _limit(input, dim))
    except RuntimeError:
        if input._a.ndim > 1:
            raise
        raise IndexError("index out of range in self") from None
    return apply(INDEX_ADD, (input, index, source), {"dim": dim, "alpha": alpha})


@public("torch", "Tensor", out=True, inplace=True)
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy with ``source`` written at the positions ``index`` of dimension ``dim``."""
    dim = _check_vector("index_copy_()", input, dim, index)
    have, other = input._a.shape, source._a.shape
    if input.dtype is not source.dtype:
        raise RuntimeError("index_copy_(): self and source expected to have the same dtype, but "
                           f"got (self) {input.dtype.title} and (source) {source.dtype.title}")
    own, theirs = have[:dim] + have[dim + 1:], other[:dim] + other[dim + 1:]
    if own != theirs:
        raise RuntimeError("index_copy_(): Source/destination tensor must have same slice shapes. "
                           f"Destination slice shape: {' '.join(map(str, own))} at dimension "
                           f"{dim} and source slice shape: {' '.join(map(str, theirs))} at "
                           f"dimension {dim}.")
    count = other[dim] if other else 1
    if index._a.size != count:
        raise IndexError(f"index_copy_(): Number of indices ({index._a.size}) should be equal to "
                         f"source.size(dim) ({count})")
    n = _limit(input, dim)
    i = integers_in(index, 0, n)
    if i is not None and i.size and not axis_kernels.are_inside(i, n):
        wrong = i[(i < 0) | (i >= n)][0]
        raise IndexError(f"index_copy_(): index {wrong} is out of bounds for dimension {dim} with "
                         f"size {n}")
    return apply(INDEX_COPY, (input, index, source), {"dim": dim})


@public(inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy with a number (or 0-dim tensor) at the positions ``index`` of dimension ``dim``."""
    dim = _check_vector("index_fill_()", input, dim, index)
    if isinstance(value, Tensor):
        if value._a.ndim:
            raise RuntimeError("index_fill_ only supports a 0-dimensional value tensor, but got "
                               f"tensor with {value._a.ndim} dimension(s).")
        check_held(value, input.dtype)
        value = cast(value, input.dtype)
    else:
        if isinstance(value, complex) and not input.dtype.is_complex:
            raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is "
                               "not supported")
        value = wrap(checked_array(value, input.dtype))
    n = _limit(input, dim)
    i = integers_in(index, -n, n)
    if i is not None and i.size and (i.min() < -n or i.max() >= n):
        wrong = i[(i < -n) | (i >= n)][0]
        raise IndexError(f"index {wrong} is out of bounds for dimension {dim} with size {n}")
    return apply(INDEX_FILL, (input, index, value), {"dim": dim})


@public("torch", "Tensor", out=True, inplace=True)
def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *,
                 include_self: bool = True) -> Tensor:
    """A copy with ``source`` reduced (prod, mean, amax, amin) into positions of ``dim``."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError("index_reduce(): Expected reduce to be one of prod, mean, amax or amin "
                           f"but got {reduce}.")
    dim = _check_vector("index_reduce_()", input, dim, index)
    _check_source("index_reduce_()", input, dim, index, source)
    check_range(index, dim, _limit(input, dim))
    return apply(INDEX_REDUCE, (input, index, source),
                 {"dim": dim, "reduce": reduce, "include_self": include_self})


__all__ = ["index_add", "index_copy", "index_fill", "index_reduce", "scatter", "scatter_add",
           "scatter_reduce"]
