"""Rearranging sparse tensors: transposes, parts along a dimension, joining."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from flambeau.base.device import sparse_bsc, sparse_bsr, sparse_csc, sparse_csr
from flambeau.base.dtypes import FROM_NUMPY, promote_types
from flambeau.core.index_ops import SELECT_NODE
from flambeau.core.op import Op
from flambeau.core.sparse_tensor import (
    Compressed,
    Coo,
    Sparse,
    finish,
    is_sparse,
    rule,
    unsupported,
)
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.sparse.layouts import to_coordinates

__all__ = ["transposed"]

ndarray = np.ndarray
_OTHER_WAY = {sparse_csr: sparse_csc, sparse_csc: sparse_csr, sparse_bsr: sparse_bsc,
              sparse_bsc: sparse_bsr}


def transposed(handle: Sparse, order: tuple[int, ...]) -> Sparse:
    """The dimensions of ``handle`` in another order."""
    sizes = tuple([handle.sizes[d] for d in order])
    if isinstance(handle, Compressed):
        if order != (1, 0):
            raise unsupported("permute", (wrap(handle),))
        values = handle.values
        values = values if handle.block is None else values.swapaxes(-1, -2)
        return Compressed(_OTHER_WAY[handle.kind], handle.pointers, handle.plain, values, sizes)
    assert isinstance(handle, Coo)
    n = handle.sparse_dim
    if any((d < n) != (at < n) for at, d in enumerate(order)):
        raise RuntimeError("permute(sparse_coo): transpositions between sparse and dense dimensions"
                           " are not allowed.Only transpositions within sparse and dense "
                           "dimensions are supported.")
    if order == tuple(range(len(order))):
        return handle
    inside = (0, *[d - n + 1 for d in order[n:]])
    same = order[:n] == tuple(range(n))
    return Coo(np.ascontiguousarray(handle.indices[list(order[:n])]),
               handle.values.transpose(inside), sizes, handle.coalesced and same)


@rule("t", "transpose", "permute")
def _transpose(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = inputs[0]._a
    order = list(range(len(handle.sizes)))
    if op.name == "permute":
        order = list(params["dims"])
    elif op.name == "transpose":
        one, two = params["dim0"], params["dim1"]
        order[one], order[two] = two, one
        _check_transpose(handle, one, two)
    else:
        order.reverse()
    return finish(op, inputs, params, transposed(handle, tuple(order)))


def _check_transpose(handle: Sparse, one: int, two: int) -> None:
    if isinstance(handle, Coo) and max(one, two) >= handle.sparse_dim:
        raise RuntimeError("sparse transpose: transposed dimensions must be sparse Got sparse_dim: "
                           f"{handle.sparse_dim}, d0: {one}, d1: {two}")


def _row(handle: Coo, dim: int, index: int) -> Any:
    """What is at ``index`` of a dimension: a sparse value, or an array where none is left."""
    sizes = (*handle.sizes[:dim], *handle.sizes[dim + 1:])
    n = handle.sparse_dim
    if dim >= n:
        return Coo(handle.indices, handle.values.take(index, dim - n + 1), sizes,
                   handle.coalesced)
    here = handle.indices[dim] == index
    values = handle.values[here]
    if n == 1:
        return values.sum(0, dtype=values.dtype)
    return Coo(np.delete(handle.indices[:, here], dim, 0), values, sizes, handle.coalesced)


@rule("getitem")
def _getitem(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = inputs[0]._a
    found: Any = to_coordinates(handle) if isinstance(handle, Compressed) else handle
    whole = slice(None)
    key = params["index"]
    if any(k is not ... and k != whole and not isinstance(k, int) for k in key):
        raise unsupported("as_strided", inputs)
    fill = len(handle.sizes) - sum(k is not ... for k in key)
    before = key.index(...) if ... in key else len(key)
    full = [*key[:before], *[whole] * fill, *key[before + 1:]]
    dim = 0
    for k in full:
        if k == whole:
            dim += 1
        elif isinstance(found, Coo):
            found = _row(found, dim, k)
        else:
            found = found.take(k, dim)
    t = finish(op, inputs, params, found)
    if t._node is not None:
        t._node.__class__ = SELECT_NODE
    return t


@rule("unbind")
def _unbind(op: Op, inputs: Any, params: Any) -> tuple[Tensor, ...]:
    before = (slice(None),) * params["dim"]
    return tuple([inputs[0][(*before, k)] for k in range(inputs[0].shape[params["dim"]])])


@rule("index_select")
def _index_select(op: Op, inputs: Any, params: Any) -> Tensor:
    input, index = inputs
    if not isinstance(input._a, Coo) or is_sparse(index):
        raise unsupported("index_select", inputs)
    handle, wanted, dim = input._a, index._a, params["dim"]
    n = handle.sparse_dim
    sizes = (*handle.sizes[:dim], wanted.size, *handle.sizes[dim + 1:])
    if dim >= n:
        out = Coo(handle.indices, handle.values.take(wanted.ravel(), dim - n + 1), sizes,
                  handle.coalesced)
        return finish(op, inputs, params, out)
    own = handle.indices[dim]
    order = np.argsort(own, kind="stable")
    first = np.searchsorted(own[order], wanted.ravel(), "left")
    counts = np.searchsorted(own[order], wanted.ravel(), "right") - first
    which = np.repeat(np.arange(wanted.size), counts)
    at = order[np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(which.size)]
    indices = handle.indices[:, at]
    indices[dim] = which
    return finish(op, inputs, params, Coo(indices, handle.values[at], sizes, at.size < 2))


@rule("unsqueeze")
def _unsqueeze(op: Op, inputs: Any, params: Any) -> Tensor:
    return finish(op, inputs, params, _with_dimension(inputs[0], params["dim"]))


def _with_dimension(t: Tensor, dim: int) -> Coo:
    handle = t._a
    if not isinstance(handle, Coo):
        raise unsupported("unsqueeze", (t,))
    sizes = (*handle.sizes[:dim], 1, *handle.sizes[dim:])
    n = handle.sparse_dim
    if dim <= n:
        indices = np.insert(handle.indices, dim, 0, axis=0)
        return Coo(indices, handle.values, sizes, handle.count < 2)
    return Coo(handle.indices, np.expand_dims(handle.values, dim - n + 1), sizes)


@rule("cat", "stack")
def _cat(op: Op, inputs: Any, params: Any) -> Tensor:
    dim = params["dim"]
    for at, t in enumerate(inputs):
        if not isinstance(t._a, Coo):
            raise RuntimeError("Concatenating sparse tensors, but a dense tensor was found at "
                               f"position {at}.")
    handles = [_with_dimension(t, dim) if op.name == "stack" else t._a for t in inputs]
    held = FROM_NUMPY[handles[0].values.dtype]
    for h in handles[1:]:
        held = promote_types(held, FROM_NUMPY[h.values.dtype])
    _check_joined(handles, dim)
    return finish(op, inputs, params, _joined(handles, dim, held.np))


def _check_joined(handles: list[Coo], dim: int) -> None:
    first = handles[0]
    for at, h in enumerate(handles):
        beside = [(n, m) for d, (n, m) in enumerate(zip(first.sizes, h.sizes)) if d != dim]
        if len(h.sizes) != len(first.sizes) or any(n != m for n, m in beside):
            raise RuntimeError(f"All tensors must have the same shape: {list(first.sizes)} (except "
                               f"in the concatenating dimension), but found shape: {list(h.sizes)}"
                               f" at position {at}.")
        if h.sparse_dim != first.sparse_dim:
            raise RuntimeError("All tensors must have the same sparse_dim and dense_dim: "
                               f"{first.sparse_dim}, {len(first.sizes) - first.sparse_dim}, but "
                               f"tensor at position {at} has {h.sparse_dim}, "
                               f"{len(h.sizes) - h.sparse_dim}.")


def _joined(handles: list[Coo], dim: int, held: np.dtype) -> Coo:
    first, total = handles[0], sum(h.sizes[dim] for h in handles)
    sizes = (*first.sizes[:dim], total, *first.sizes[dim + 1:])
    indices, values, start = [], [], 0
    for h in handles:
        places, elements = h.indices, h.values.astype(held, copy=False)
        if dim < h.sparse_dim:
            places = places.copy()
            places[dim] += start
        else:
            axis = dim - h.sparse_dim + 1
            room = [(0, 0)] * elements.ndim
            room[axis] = (start, total - start - h.sizes[dim])
            elements = np.pad(elements, room)
        indices.append(places)
        values.append(elements)
        start += h.sizes[dim]
    return Coo(np.concatenate(indices, 1), np.concatenate(values), sizes)


@rule("expand")
def _expand(op: Op, inputs: Any, params: Any) -> NoReturn:
    raise RuntimeError("expand is unsupported for Sparse tensors")


@rule("reshape_copy", "view")
def _reshape(op: Op, inputs: Any, params: Any) -> NoReturn:
    raise RuntimeError("reshape is not implemented for sparse tensors")
