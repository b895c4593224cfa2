"""Between dense and sparse: to_dense, to_sparse, coalesce, sparse_mask."""

from __future__ import annotations

from typing import Any

from flambeau.base.device import (
    layout,
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from flambeau.base.dtypes import dtype
from flambeau.core.face import public
from flambeau.core.op import Op
from flambeau.core.sparse_tensor import Compressed, Coo, Sparse, is_sparse, run
from flambeau.core.tensor import Tensor
from flambeau.ops.copy import cast
from flambeau.ops.sparse import layouts
from flambeau.ops.sparse.layouts import coalesced, dense_array, layout_name
from flambeau.ops.sparse.parts import need_coo, need_tensor, picked, with_values

__all__ = ["coalesce", "same_pattern", "sparse_mask", "to_dense", "to_layout", "to_sparse"]

def same_pattern(t: Tensor, handle: Sparse) -> Tensor:
    """``t``, a gradient, in the places of ``handle``."""
    return with_values(picked(t, handle), handle)


def _dense_grad(g: Tensor, input: Tensor, masked: bool) -> Tensor:
    handle = input._a
    if masked:
        return same_pattern(g, coalesced(handle) if isinstance(handle, Coo) else handle)
    if isinstance(handle, Coo):
        return to_sparse(g, handle.sparse_dim)
    return to_sparse(g, layout=handle.kind, blocksize=handle.block)


TO_DENSE = Op("sparse_to_dense", lambda a, masked: dense_array(a), ("input",), kind="sparse",
              params=("masked",), formulas=(_dense_grad,), node="ToDense")


@public("Tensor")
def to_dense(self: Tensor, dtype: dtype | None = None, *,
             masked_grad: bool | None = None) -> Tensor:
    """This tensor with every element; itself where it is dense already.

    The gradient of a sparse tensor has its places alone, unless ``masked_grad`` is False.

    >>> import flambeau as torch
    >>> torch.sparse_coo_tensor([[0, 1]], [2.0, 3.0], (3,)).to_dense()
    tensor([2., 3., 0.])
    """
    if not is_sparse(self):
        return self if dtype is None else cast(self, dtype)
    if dtype is not None:
        raise RuntimeError("dtype argument is not supported by sparse_to_dense")
    return run(TO_DENSE, (self,), {"masked": masked_grad is not False})


COALESCE = Op("sparse_coalesce", coalesced, ("input",), kind="sparse", node="Coalesce",
              formulas=(lambda g: g,))


@public("Tensor")
def coalesce(self: Tensor) -> Tensor:
    """The same tensor with its coordinates in order and each once; elements of one are added."""
    return self if need_coo("coalesce", self).coalesced else run(COALESCE, (self,), {})


def whole_grad(g: Tensor) -> Tensor:
    """A gradient for a dense tensor."""
    return to_dense(g)


TO_COO = Op("dense_to_coo", layouts.to_coo, ("input",), kind="sparse", params=("sparse_dim",),
            node="ToSparse", formulas=(whole_grad,))
# PyTorch tells the form that is given a number of dimensions from the other.
TO_COO_ALL = Op("dense_to_coo_all", layouts.to_coo, ("input",), kind="sparse",
                params=("sparse_dim",), node="ToSparse", formulas=(whole_grad,))
TO_COO_ALL.node_type.__name__ = "ToSparseBackward1"


def _declare(kind: layout) -> Op:
    """The conversion to one layout; its derivative converts back."""
    name = kind.name.title().replace("_", "")
    return Op(f"to_{kind.name}", layouts.converted, ("input",), kind="sparse",
              params=("kind", "blocksize"), node="ToSparse" if kind is sparse_coo else f"To{name}",
              formulas=(lambda g, input: to_layout(g, input.layout, _block_of(input)),))


TO_LAYOUT = {kind: _declare(kind)
             for kind in (sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc)}


def _block_of(t: Tensor) -> tuple[int, int] | None:
    return t._a.block if isinstance(t._a, Compressed) else None


def to_layout(t: Tensor, kind: layout, blocksize: Any = None) -> Tensor:
    """``t`` in any layout; itself where it has it."""
    if kind is strided:
        return to_dense(t)
    if t.layout is kind and (blocksize is None or _block_of(t) == tuple(blocksize)):
        return t
    if kind is sparse_coo and not is_sparse(t):
        return run(TO_COO, (t,), {"sparse_dim": t.ndim})
    return run(TO_LAYOUT[kind], (t,), {"kind": kind, "blocksize": blocksize})


@public("Tensor")
def to_sparse(self: Tensor, sparse_dim: int | None = None, *, layout: layout | None = None,
              blocksize: Any = None, dense_dim: int | None = None) -> Tensor:
    """This tensor with only the elements that are not zero, by coordinates.

    The first ``sparse_dim`` dimensions (all by default) are sparse, the others dense. Or the
    elements are kept in another sparse ``layout``, in blocks where it has ``blocksize``.

    >>> import flambeau as torch
    >>> torch.tensor([0.0, 7.0]).to_sparse().indices()
    tensor([[1]])
    """
    if layout is not None:
        if sparse_dim is not None:
            raise RuntimeError("to_sparse: conversion to any layout takes no sparse_dim argument")
        return to_layout(self, layout, blocksize)
    if is_sparse(self):
        return to_layout(self, sparse_coo)
    rank = self.ndim
    if sparse_dim is None:
        return run(TO_COO_ALL, (self,), {"sparse_dim": rank})
    if not 0 <= sparse_dim <= rank:
        raise RuntimeError(f"dense_to_sparse: sparse_dim argument must be in [0,{rank}] range, but "
                           f"{sparse_dim} is given")
    if rank and not sparse_dim:
        raise RuntimeError("dense_to_sparse: sparse_dim argument must be in >0 when self.dim()>0")
    return run(TO_COO, (self,), {"sparse_dim": sparse_dim})


@public("Tensor")
def to_sparse_coo(self: Tensor) -> Tensor:
    """This tensor by coordinates."""
    return to_sparse(self)


@public("Tensor")
def to_sparse_csr(self: Tensor, dense_dim: int | None = None) -> Tensor:
    """These matrices row by row, without zeros.

    >>> import flambeau as torch
    >>> torch.tensor([[0.0, 7.0], [5.0, 6.0]]).to_sparse_csr().crow_indices()
    tensor([0, 1, 3])
    """
    return to_layout(self, sparse_csr)


@public("Tensor")
def to_sparse_csc(self: Tensor, dense_dim: int | None = None) -> Tensor:
    """These matrices column by column, without zeros."""
    return to_layout(self, sparse_csc)


@public("Tensor")
def to_sparse_bsr(self: Tensor, blocksize: Any, dense_dim: int | None = None) -> Tensor:
    """These matrices in blocks, row by row, without blocks of zeros."""
    return to_layout(self, sparse_bsr, layouts.block_of(blocksize))


@public("Tensor")
def to_sparse_bsc(self: Tensor, blocksize: Any, dense_dim: int | None = None) -> Tensor:
    """These matrices in blocks, column by column, without blocks of zeros."""
    return to_layout(self, sparse_bsc, layouts.block_of(blocksize))


SPARSE_MASK = Op(
    "sparse_mask", lambda a, pattern: pattern.with_values(layouts.pick(a, pattern)), ("input",),
    kind="sparse", params=("pattern",),
    formulas=(lambda g, input, pattern: _mask_grad(g, input, pattern),))


def _mask_grad(g: Tensor, input: Tensor, pattern: Sparse) -> Tensor:
    found = same_pattern(g, pattern)
    return found if is_sparse(input) else to_dense(found)


@public("Tensor")
def sparse_mask(self: Tensor, mask: Tensor) -> Tensor:
    """The elements of this tensor at the places of ``mask``, a sparse tensor of the same shape."""
    need_tensor("sparse_mask", "mask", mask)
    if not is_sparse(mask):
        raise RuntimeError("sparse_mask(): expects mask to be sparse, but got layout "
                           f"{layout_name(mask.layout)}")
    if tuple(self.shape) != tuple(mask.shape):
        raise RuntimeError("sparse_mask(): operands have incompatible sizes; self has size "
                           f"{list(self.shape)} but mask has size {list(mask.shape)}")
    return run(SPARSE_MASK, (self,), {"pattern": mask._a})
