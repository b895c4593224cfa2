"""Sparse tensors without elements, other sizes, and copies of their parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.base.device import layout, sparse_coo
from flambeau.core.face import public
from flambeau.core.inplace import check_inplace
from flambeau.core.op import Op
from flambeau.core.sparse_tensor import BY_ROW, Compressed, Coo, Sparse, finish, is_sparse, rule
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.sparse.make import empty_coo
from flambeau.ops.sparse.parts import need_coo, need_tensor

__all__ = ["empty_sparse", "rebuild_sparse", "reduced_sparse"]

ndarray = np.ndarray
_RESIZE = """ on a non-empty sparse tensor is not supported.
You could try the following options:
1. If you need an empty sparse tensor of this size, call `x = torch.sparse_coo_tensor(size)`.
2. If you need to resize this tensor, you have the following options:
\t1. For both sparse and dense dimensions, keep the number of them constant and the size of them \
non-shrinking, and then try the same call again.
\t2. Or, create a new sparse tensor with the correct indices and values from this sparse tensor."""


def empty_sparse(size: Sequence[int], held: np.dtype, kind: layout,
                 sparse_dim: int | None = None) -> Sparse:
    """A sparse value of any layout without elements."""
    if kind is sparse_coo:
        return empty_coo(tuple(size), held, sparse_dim)
    if len(size) < 2:
        raise RuntimeError(f"{kind.name} tensors have two dimensions or more, but the size is "
                           f"{list(size)}")
    lines = size[-2] if kind in BY_ROW else size[-1]
    return Compressed(kind, np.zeros((*size[:-2], lines + 1), np.int64),
                      np.zeros((*size[:-2], 0), np.int64), np.zeros((*size[:-2], 0), held), size)


@rule("zero")
def _zero(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = inputs[0]._a
    if isinstance(handle, Coo):
        return finish(op, inputs, params, empty_coo(handle.sizes, handle.values.dtype,
                                                    handle.sparse_dim))
    none = empty_sparse(handle.sizes, handle.values.dtype, handle.kind)
    return finish(op, inputs, params, none)


@rule("copy")
def _copy(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = inputs[0]._a
    return finish(op, inputs, params,
                  handle.with_values(handle.values.astype(params["dtype"].np)))


# Other sizes


def _check_resize(handle: Coo, size: tuple[int, ...], sparse: int, dense: int) -> None:
    if sparse + dense != len(size):
        raise RuntimeError("'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = "
                           f"{len(size)}, sparse_dim = {sparse}, dense_dim = {dense}")
    if not handle.count:
        return
    n = handle.sparse_dim
    for what, have, want in (("sparse", n, sparse), ("dense", len(handle.sizes) - n, dense)):
        if have != want:
            raise RuntimeError(f"changing the number of {what} dimensions (from {have} to {want})"
                               + _RESIZE)
    for what, old, new in (("sparse", handle.sizes[:n], size[:n]),
                           ("dense", handle.sizes[n:], size[n:])):
        if any(a > b for a, b in zip(old, new)):
            raise RuntimeError(f"shrinking the size of {what} dimensions (from {list(old)} to "
                               f"{list(new)})" + _RESIZE)


@public("Tensor")
def sparse_resize_(self: Tensor, size: Sequence[int], sparse_dim: int, dense_dim: int) -> Tensor:
    """Give a sparse tensor another size, in place; one with elements can only grow."""
    handle, size = need_coo("sparse_resize_", self), tuple(size)
    check_inplace(self)
    _check_resize(handle, size, sparse_dim, dense_dim)
    if not handle.count:
        self._a = empty_coo(size, handle.values.dtype, sparse_dim)
        return self
    values = np.zeros((handle.count, *size[sparse_dim:]), handle.values.dtype)
    values[tuple([slice(n) for n in handle.values.shape])] = handle.values
    self._a = Coo(handle.indices, values, size, handle.coalesced)
    return self


@public("Tensor")
def sparse_resize_and_clear_(self: Tensor, size: Sequence[int], sparse_dim: int,
                             dense_dim: int) -> Tensor:
    """Give a sparse tensor another size and no elements, in place."""
    handle, size = need_coo("sparse_resize_and_clear_", self), tuple(size)
    check_inplace(self)
    _check_resize(empty_coo(size, handle.values.dtype), size, sparse_dim, dense_dim)
    self._a = empty_coo(size, handle.values.dtype, sparse_dim)
    return self


@public("torch", "Tensor")
def resize_as_sparse_(input: Tensor, the_template: Tensor) -> Tensor:
    """Give a sparse tensor the size of another, in place."""
    need_tensor("resize_as_sparse_", "the_template", the_template)
    theirs = need_coo("resize_as_sparse_", the_template)
    dense = len(theirs.sizes) - theirs.sparse_dim
    return sparse_resize_(input, theirs.sizes, theirs.sparse_dim, dense)


# Copies of parts


def _part_copy(name: str) -> None:
    def copied(input: Tensor) -> Tensor:
        return getattr(input, name)().clone()

    copied.__doc__ = f"As ``Tensor.{name}``, but a copy."
    public("torch", name=f"{name}_copy", out=True)(copied)


for _name in ("indices", "values", "crow_indices", "col_indices", "ccol_indices", "row_indices"):
    _part_copy(_name)


# Pickles and deep copies


def rebuild_sparse(kind: type, parts: tuple, requires_grad: bool, state: dict) -> Tensor:
    """A sparse tensor from its pickled parts."""
    handle: Sparse = Coo(*parts) if len(parts) == 4 else Compressed(*parts)
    plain = wrap(handle)
    t: Tensor = object.__new__(kind)
    t._a, t._node, t._v, t._x = handle, plain._node, plain._v, plain._x
    t.__dict__.update(state)
    return t.requires_grad_(True) if requires_grad else t


def reduced_sparse(t: Tensor) -> tuple:
    """What ``__reduce_ex__`` returns of a sparse leaf."""
    a = t._a
    assert is_sparse(t)
    parts: tuple = (a.indices, a.values, a.sizes, a.coalesced) if isinstance(a, Coo) else (
        a.kind, a.pointers, a.plain, a.values, a.sizes)
    return rebuild_sparse, (type(t), parts, t.requires_grad, dict(t.__dict__))
