"""Arrays and sparse values of one layout as another."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends.numpy import sparse as kernels
from flambeau.base.device import layout, sparse_coo, sparse_csr
from flambeau.core.sparse_tensor import BLOCKED, BY_ROW, Compressed, Coo, Sparse

__all__ = ["block_of", "coalesced", "converted", "dense_array", "from_coordinates", "layout_name",
           "pick", "to_coo", "to_coordinates"]

ndarray = np.ndarray
_NAMES = {"sparse_coo": "Sparse", "sparse_csr": "SparseCsr", "sparse_csc": "SparseCsc",
          "sparse_bsr": "SparseBsr", "sparse_bsc": "SparseBsc", "strided": "Strided"}


def layout_name(kind: layout) -> str:
    """A layout as PyTorch's errors spell it."""
    return _NAMES.get(kind.name, kind.name)


def coalesced(a: Coo) -> Coo:
    """``a`` with its coordinates in order and each once."""
    if a.coalesced:
        return a
    if a.count < 2:
        return Coo(a.indices, a.values, a.sizes, True)
    check_places(a)
    indices, values = kernels.coalesce(a.indices, a.values, a.sizes[:a.sparse_dim])
    return Coo(indices, values, a.sizes, True)


def check_places(a: Coo) -> None:
    """Raise where a coordinate lies outside of the tensor."""
    for d, row in enumerate(a.indices if a.count else ()):
        if row.min() < 0:
            raise RuntimeError(f"found negative index {row.min()} for dim {d}")
        if row.max() >= a.sizes[d]:
            raise RuntimeError(f"size is inconsistent with indices: for dim {d}, size is "
                               f"{a.sizes[d]} but found index {row.max()}")


def dense_array(a: Sparse) -> ndarray:
    """The whole array."""
    if isinstance(a, Coo):
        check_places(a)
        return kernels.dense(a.indices, a.values, a.sizes, a.coalesced)
    out = np.zeros(a.sizes, a.values.dtype)
    out[a.places()] = a.values
    return out


def to_coo(a: ndarray, sparse_dim: int) -> Coo:
    """The elements of an array that are not zero, by their coordinates."""
    lead = a.shape[:sparse_dim]
    if not sparse_dim:
        kept = bool(a.any())
        indices = np.zeros((0, int(kept)), np.int64)
        return Coo(indices, a[None] if kept else np.zeros((0, *a.shape), a.dtype), a.shape, True)
    inside = a if sparse_dim == a.ndim else a.reshape(*lead, -1).any(-1)
    indices = np.array(np.nonzero(inside), np.int64).reshape(sparse_dim, -1)
    return Coo(indices, a[tuple(indices)], a.shape, True)


def pick(a: Any, pattern: Sparse) -> ndarray:
    """The elements of ``a``, dense or sparse, at the places of ``pattern``; 0 where it has none."""
    if isinstance(a, Coo) and isinstance(pattern, Coo) and a.sparse_dim == pattern.sparse_dim:
        return _pick_coo(coalesced(a), pattern)
    if isinstance(a, Compressed) and isinstance(pattern, Compressed) and a.kind is pattern.kind:
        if np.array_equal(a.pointers, pattern.pointers) and np.array_equal(a.plain, pattern.plain):
            return a.values.copy()
    whole = dense_array(a) if isinstance(a, Sparse) else a
    places = pattern.places()
    return whole[places] if places else np.stack([whole] * pattern.values.shape[0])


def _pick_coo(a: Coo, pattern: Coo) -> ndarray:
    sizes = a.sizes[:a.sparse_dim]
    at, there = kernels.matches(kernels.keys_of(pattern.indices, sizes),
                                kernels.keys_of(a.indices, sizes))
    out = np.zeros((pattern.count, *a.values.shape[1:]), a.values.dtype)
    out[there] = a.values[at[there]]
    return out


def block_of(blocksize: Any) -> tuple[int, int]:
    """A block's shape from an integer or a pair."""
    return (blocksize, blocksize) if isinstance(blocksize, int) else tuple(blocksize)


def to_coordinates(a: Compressed) -> Coo:
    """Matrices that lie by row or column as coordinates, in the same order."""
    places = np.broadcast_arrays(*a.places())
    indices = np.stack([p.reshape(-1) for p in places]).astype(np.int64)
    values = a.values.reshape(indices.shape[1], *a.values.shape[places[0].ndim:])
    return Coo(indices, values, a.sizes, a.kind is sparse_csr)


def from_coordinates(a: Coo, kind: layout) -> Compressed:
    """A matrix in coordinates, row by row or column by column."""
    if a.sparse_dim != 2:
        raise RuntimeError(f"coo_to_{kind.name}: conversion from Sparse to {layout_name(kind)} for "
                           "input tensors with sparse_dim()!=2 is not supported")
    a = coalesced(a)
    rows, columns = a.indices
    if kind in BY_ROW:
        return Compressed(kind, kernels.pointers(rows, a.sizes[0]), columns.copy(), a.values,
                          a.sizes)
    order = np.argsort(columns, kind="stable")
    return Compressed(kind, kernels.pointers(columns, a.sizes[1]), rows[order], a.values[order],
                      a.sizes)


def _blocks_of(a: ndarray, block: tuple[int, int]) -> ndarray:
    """Matrices cut into blocks: (..., rows of blocks, columns of blocks, height, width)."""
    *batch, rows, columns = a.shape
    height, width = block
    if rows % height or columns % width:
        raise RuntimeError(f"dense_to_sparse_bsr: tensor sparse size ({rows},{columns}) must be "
                           f"divisible by given blocksize ({height},{width})")
    cut = a.reshape(*batch, rows // height, height, columns // width, width)
    return cut.swapaxes(-3, -2)


def _compress_dense(a: ndarray, kind: layout, block: tuple[int, int] | None) -> Compressed:
    if a.ndim < 2:
        raise IndexError(f"select(): index 1 out of range for tensor of size {[*a.shape, 1]} at "
                         "dimension 1")
    blocks = None if block is None else _blocks_of(a, block)
    inside = a != 0 if blocks is None else (blocks != 0).any((-2, -1))
    seen = inside if kind in BY_ROW else inside.swapaxes(-1, -2)
    flat = seen.reshape(-1, *seen.shape[-2:])
    counts = flat.sum((-2, -1))
    if len(set(counts.tolist())) > 1:
        raise RuntimeError(f"Expect the same number of specified elements per batch.\n\n  "
                           f"the matrices have {counts.tolist()}")
    found = [np.nonzero(m) for m in flat]
    pointers = np.array([kernels.pointers(lines, flat.shape[1]) for lines, _ in found])
    plain = np.array([places for _, places in found], np.int64)
    batch = a.shape[:-2]
    made = Compressed(kind, pointers.reshape(*batch, -1),
                      plain.reshape(*batch, int(counts[0]) if counts.size else 0),
                      np.empty(0, a.dtype), a.shape)
    if block is None:
        return made.with_values(a[made.places()])
    shaped = np.empty((*made.plain.shape, *block), a.dtype)
    return made.with_values(a[made.with_values(shaped).places()])


def converted(a: Any, kind: layout, blocksize: Any) -> Sparse:
    """An array or a sparse value in the layout ``kind``."""
    if kind in BLOCKED:
        if blocksize is None:
            raise RuntimeError(f"to_sparse: conversion from {_kind(a)} to {layout_name(kind)} "
                               "requires blocksize specified")
        whole = dense_array(a) if isinstance(a, Sparse) else a
        return _compress_dense(whole, kind, block_of(blocksize))
    if not isinstance(a, Sparse):
        return _compress_dense(a, kind, None)
    if isinstance(a, Compressed):
        if kind is sparse_coo:
            return to_coordinates(a)
        if a.block is not None:
            raise RuntimeError(f"sparse_compressed_to_sparse_{kind.name[-3:]}: expected SparseCsr "
                               f"or SparseCsc layout but got {_kind(a)}")
        if a.batch:
            return _compress_dense(dense_array(a), kind, None)
        a = to_coordinates(a)
    assert isinstance(a, Coo)
    return a if kind is sparse_coo else from_coordinates(a, kind)


def _kind(a: Any) -> str:
    return layout_name(a.layout) if isinstance(a, Sparse) else "Strided"
