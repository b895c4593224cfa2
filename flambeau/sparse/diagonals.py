"""Sparse matrices from their diagonals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flambeau.base.device import layout, sparse_coo, sparse_csc, sparse_csr
from flambeau.core.sparse_tensor import Coo
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.sparse.convert import to_layout
from flambeau.ops.sparse.layouts import layout_name
from flambeau.ops.sparse.parts import with_values

__all__ = ["spdiags"]


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Sequence[int],
            layout: layout | None = None) -> Tensor:
    """The matrix of this shape whose diagonal ``offsets[i]`` has the elements ``diagonals[i]``.

    The element in column j of the matrix comes from column j of ``diagonals``. An offset above 0
    lies above the main diagonal. The layout is ``sparse_coo`` by default.

    >>> import flambeau as torch
    >>> torch.sparse.spdiags(torch.ones(1, 2), torch.tensor([0]), (2, 2)).to_dense()
    tensor([[1., 0.],
            [0., 1.]])
    """
    table = diagonals if diagonals.ndim == 2 else diagonals.unsqueeze(0)
    starts = np.atleast_1d(offsets._a)
    _check(table, offsets, starts, shape, layout)
    rows, columns, places = [], [], []
    for k, offset in enumerate(starts.tolist()):
        column = np.arange(max(offset, 0), min(shape[0] + offset, shape[1], table.shape[1]))
        rows.append(column - offset)
        columns.append(column)
        places.append(k * table.shape[1] + column)
    indices = np.stack([np.concatenate(rows), np.concatenate(columns)]).astype(np.int64)
    values = table.reshape(-1).index_select(0, wrap(np.concatenate(places).astype(np.int64)))
    made = with_values(values, Coo(indices, values._a, tuple(shape)))
    return made if layout is None or layout is sparse_coo else to_layout(made, layout)


def _check(table: Tensor, offsets: Tensor, starts: np.ndarray, shape: Sequence[int],
           kind: layout | None) -> None:
    if len(shape) != 2:
        raise RuntimeError("Output shape must be 2d")
    if offsets.ndim > 1:
        raise RuntimeError("Offsets must be scalar or vector")
    if table.ndim > 2:
        raise RuntimeError("Diagonals must be vector or matrix")
    if starts.dtype != np.int64:
        raise RuntimeError(f"Offset Tensor must have dtype Long but got {offsets.dtype.title}")
    if table.shape[0] != starts.size:
        raise RuntimeError(f"Number of diagonals ({table.shape[0]}) does not match the number of "
                           f"offsets ({starts.size})")
    if len(set(starts.tolist())) < starts.size:
        raise RuntimeError("Offset tensor contains duplicate values")
    if kind is not None and kind not in (sparse_coo, sparse_csc, sparse_csr):
        raise RuntimeError(f"Only output layouts (Sparse, SparseCsc, SparseCsr) are supported, got "
                           f"{layout_name(kind)}")
