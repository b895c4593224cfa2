"""Sums, norms and softmax of sparse tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends.numpy import sparse as kernels
from flambeau.base.dtypes import dtype
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.op import OPS, Op
from flambeau.core.sparse_tensor import Compressed, Coo, finish, is_sparse, rule, run, unsupported
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast
from flambeau.ops.reduce import rename
from flambeau.ops.sparse.arithmetic import elements
from flambeau.ops.sparse.convert import coalesce
from flambeau.ops.sparse.layouts import coalesced
from flambeau.ops.sparse.parts import need_coo, picked, with_values

__all__ = ["log_softmax", "softmax", "sparse_sum"]

ndarray = np.ndarray


def _sum_array(a: ndarray, dims: tuple[int, ...]) -> ndarray:
    held = np.int64 if a.dtype.kind in "biu" else a.dtype
    wide = a.astype(np.float32) if a.dtype.itemsize < 4 and a.dtype.kind in "fV" else a
    total = wide.sum(dims, dtype=None if wide is not a else held)
    return np.asarray(total).astype(held)


def _summed(a: Coo, dims: tuple[int, ...], keepdim: bool) -> Any:
    """The sum over ``dims``: sparse while a sparse dimension is left, else an array."""
    n = a.sparse_dim
    inside = tuple([d - n + 1 for d in dims if d >= n])
    outside = [d for d in dims if d < n]
    if len(outside) == n:
        total = _sum_array(a.values, (0, *inside))
        shape = [1 if d in dims else size for d, size in enumerate(a.sizes)]
        return total.reshape(shape) if keepdim else total
    values = _sum_array(a.values, inside) if inside else a.values
    if values.dtype.kind in "biu":
        values = values.astype(np.int64)
    left = [d for d in range(n) if d not in outside]
    sizes = [size for d, size in enumerate(a.sizes) if d not in dims]
    indices = np.ascontiguousarray(a.indices[left])
    found = coalesced(Coo(indices, values, tuple(sizes), False))
    return _kept(found, a, dims) if keepdim else found


def _kept(found: Coo, a: Coo, dims: tuple[int, ...]) -> Coo:
    """``found`` with the dimensions that were summed, of size 1."""
    n = a.sparse_dim
    indices = np.zeros((n, found.count), np.int64)
    indices[[d for d in range(n) if d not in dims]] = found.indices
    sizes = [1 if d in dims else size for d, size in enumerate(a.sizes)]
    values = found.values.reshape(found.count, *sizes[n:])
    return Coo(indices, values, tuple(sizes), True)


# A whole sum has another name, but the formulas of a sum over dimensions.
WHOLE_NODE = type("SumBackward0", (OPS["sum"].node_type,), {})


@rule("sum", "sum_all")
def _sum(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = inputs[0]._a
    to = params.get("dtype")
    values = handle.values if to is None else handle.values.astype(to.np)
    handle = handle.with_values(values)
    dims = params.get("dims", tuple(range(len(handle.sizes))))
    if len(dims) == len(handle.sizes):
        total = _sum_array(handle.values, tuple(range(handle.values.ndim)))
        shape = (1,) * len(dims) if params.get("keepdim") else ()
        found = finish(op, inputs, params, total.reshape(shape))
        rename(found, OPS["sum"], WHOLE_NODE)
        return found
    if isinstance(handle, Compressed):
        raise RuntimeError("reduction operations on CSR tensors with keepdim=False is unsupported")
    return finish(op, inputs, params, _summed(handle, dims, params.get("keepdim", False)))


@rule("vector_norm")
def _norm(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = elements(inputs[0]._a)
    if len(params["dims"]) != len(handle.sizes):
        raise RuntimeError("norm_sparse currently only supports full reductions, so 'dim' must "
                           "either be empty or contain all dimensions of the input")
    every = {**params, "dims": tuple(range(handle.values.ndim))}
    return finish(op, inputs, params, apply(op, (handle.value,), every)._a)


@rule("any")
def _any(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = elements(inputs[0]._a)
    if len(params["dims"]) != len(handle.sizes):
        raise unsupported("any.dim", inputs)
    return finish(op, inputs, params, np.asarray(handle.values.any()))


# torch.sparse.sum


def _sum_grad(g: Tensor, input: Tensor, dims: tuple[int, ...]) -> Tensor:
    pattern = coalesced(input._a)
    n = pattern.sparse_dim
    left = [d for d in range(n) if d not in dims]
    inside = [d - n + 1 for d in dims if d >= n]
    sizes = [size for d, size in enumerate(pattern.sizes) if d not in dims]
    kept = Coo(np.ascontiguousarray(pattern.indices[left]),
               np.empty((pattern.count, *sizes[len(left):]), pattern.values.dtype), sizes)
    values = picked(g, kept)
    for axis in inside:
        values = values.unsqueeze(axis)
    return with_values(values.expand(pattern.values.shape), pattern)


SPARSE_SUM = Op("sparse_sum", lambda a, dims: _summed(a, dims, False), ("input",), kind="sparse",
                params=("dims",), formulas=(_sum_grad,), node="SparseSum")


@public("sparse", name="sum")
def sparse_sum(input: Tensor, dim: Any = None, dtype: dtype | None = None) -> Tensor:
    """The sum of a sparse tensor over ``dim``: sparse while a sparse dimension is left.

    Without ``dim`` everything is added. The gradient has the places of ``input`` alone.

    >>> import flambeau as torch
    >>> torch.sparse.sum(torch.eye(2).to_sparse(), 0).to_dense()
    tensor([1., 1.])
    """
    need_coo("coalesce", input)
    if dtype is not None:
        input = cast(input, dtype)
    if dim is None:
        return coalesce(input).values().sum()
    dims = [wrap_dim(d, input.ndim) for d in ((dim,) if isinstance(dim, int) else dim)]
    twice = next((d for d in dims if dims.count(d) > 1), None)
    if twice is not None:
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return run(SPARSE_SUM, (input,), {"dims": tuple(sorted(dims))})


# torch.sparse.softmax: what is not there counts as minus infinity


def _softmax_forward(a: Coo, dim: int, logarithm: bool) -> Coo:
    a = coalesced(a)
    keys = _groups(a, dim)
    if keys is None:
        axis = dim - a.sparse_dim + 1
        x = a.values - a.values.max(axis, keepdims=True, initial=-np.inf)
        e = np.exp(x)
        total = e.sum(axis, keepdims=True)
        return a.with_values(x - np.log(total) if logarithm else e / total)
    return a.with_values(kernels.softmax(keys, a.values, logarithm))


def _groups(a: Coo, dim: int) -> ndarray | None:
    """Per element its row along ``dim``; None where that dimension is dense."""
    if dim >= a.sparse_dim:
        return None
    sizes = [1 if d == dim else n for d, n in enumerate(a.sizes[:a.sparse_dim])]
    indices = a.indices.copy()
    indices[dim] = 0
    return np.unique(kernels.keys_of(indices, sizes), return_inverse=True)[1].reshape(-1)


def _softmax_grad(g: Tensor, input: Tensor, out: Tensor, dim: int, logarithm: bool) -> Tensor:
    pattern = coalesced(input._a)
    y, gv = picked(out, pattern), picked(g, pattern)
    weighted = gv if logarithm else gv * y
    keys = _groups(pattern, dim)
    if keys is None:
        total = weighted.sum(dim - pattern.sparse_dim + 1, keepdim=True)
    else:
        at = wrap(keys)
        count = int(keys.max(initial=-1)) + 1
        total = y.new_zeros((count, *y.shape[1:])).index_add(0, at, weighted).index_select(0, at)
    slope = gv - y.exp() * total if logarithm else y * (gv - total)
    return with_values(slope, pattern)


SPARSE_SOFTMAX = Op("sparse_softmax", _softmax_forward, ("input",), kind="sparse",
                    params=("dim", "logarithm"), formulas=(_softmax_grad,), node="SparseSoftmax")
SPARSE_LOG_SOFTMAX = Op("sparse_log_softmax", _softmax_forward, ("input",), kind="sparse",
                        params=("dim", "logarithm"), formulas=(_softmax_grad,),
                        node="SparseLogSoftmax")


def _softmax(op: Op, name: str, input: Tensor, dim: int, to: dtype | None,
             logarithm: bool) -> Tensor:
    if not is_sparse(input) or not isinstance(input._a, Coo):
        raise unsupported(name, (input,))
    dim = wrap_dim(dim, input.ndim)
    return run(op, (input if to is None else cast(input, to),),
               {"dim": dim, "logarithm": logarithm})


@public("sparse")
def softmax(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """Softmax along ``dim`` over the elements that are kept; the others count as 0."""
    return _softmax(SPARSE_SOFTMAX, "_sparse_softmax", input, dim, dtype, False)


@public("sparse")
def log_softmax(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """The logarithm of ``softmax``."""
    return _softmax(SPARSE_LOG_SOFTMAX, "_sparse_log_softmax", input, dim, dtype, True)
