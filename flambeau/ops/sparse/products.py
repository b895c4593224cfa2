"""Products with sparse matrices, and torch.sparse.mm, addmm and sampled_addmm."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends.numpy import sparse as kernels
from flambeau.base.device import sparse_csr, strided
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.op import OPS, Op
from flambeau.core.sparse_tensor import (
    Compressed,
    Coo,
    Sparse,
    finish,
    is_sparse,
    rule,
    run,
    unsupported,
)
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.matmul import mm, mm_tn
from flambeau.ops.sparse.convert import same_pattern
from flambeau.ops.sparse.layouts import coalesced, dense_array, from_coordinates, to_coordinates
from flambeau.ops.sparse.parts import with_values
from flambeau.ops.sparse.shape import transposed

__all__ = ["addmm", "sampled_addmm", "sparse_mm"]

ndarray = np.ndarray


def _matrix(a: Any) -> Any:
    """A matrix by its coordinates, sorted by row where it is compressed by row; or an array."""
    if isinstance(a, Compressed):
        if a.batch:
            raise unsupported("bmm", (wrap(a),))
        return to_coordinates(a)
    return a


def _flipped(a: Any) -> Any:
    return transposed(a, (1, 0)) if isinstance(a, Sparse) else a.T


def _times(a: Any, b: Any) -> Any:
    """The product of two matrices, at least one of them sparse."""
    x, y = _matrix(a), _matrix(b)
    if isinstance(x, Coo) and isinstance(y, Coo):
        return _sparse_product(a, x, y)
    if isinstance(x, Coo):
        return _sparse_times_dense(x, y)
    # (y.T x.T).T, where the sparse side comes first
    return np.ascontiguousarray(_sparse_times_dense(_flipped(y), x.T).T)


def _sparse_times_dense(x: Coo, y: ndarray) -> ndarray:
    if x.sparse_dim != 2:
        raise RuntimeError("addmm: matrices expected, got a sparse tensor with "
                           f"{x.sparse_dim} sparse dimensions")
    if x.sizes[1] != y.shape[0]:
        raise RuntimeError(f"addmm: Argument #3 (dense): Expected dim 0 size {x.sizes[1]}, got "
                           f"{y.shape[0]}")
    values = _wide(x.values)
    out = kernels.sparse_dense(x.indices[0], x.indices[1], values, x.sizes[0],
                               y.astype(values.dtype, copy=False))
    return out.astype(x.values.dtype, copy=False)


def _wide(a: ndarray) -> ndarray:
    """Half types in float32, to add up in."""
    return a.astype(np.float32) if a.dtype.itemsize < 4 and a.dtype.kind in "fV" else a


def _sparse_product(a: Any, x: Coo, y: Coo) -> Sparse:
    x, y = coalesced(x), coalesced(y)
    sizes = (x.sizes[0], x.sizes[1], y.sizes[1])
    indices, values = kernels.sparse_sparse((x.indices, _wide(x.values)),
                                            (y.indices, _wide(y.values)), sizes)
    out = Coo(indices, values.astype(x.values.dtype, copy=False), (sizes[0], sizes[2]), True)
    return from_coordinates(out, a.kind) if isinstance(a, Compressed) else out


@rule("mm", "mm_nt", "mm_tn", "mv", "matmul")
def _product(op: Op, inputs: Any, params: Any) -> Tensor:
    a, b = [t._a for t in inputs]
    if len(a.shape) != 2 or len(b.shape) > 2:
        raise unsupported(op.name, inputs)
    left = _flipped(a) if op.name == "mm_tn" else a
    right = _flipped(b) if op.name == "mm_nt" else b
    if op.name != "mv":
        return finish(op, inputs, params, _times(left, right))
    if isinstance(b, Sparse):
        right = dense_array(b)
    return finish(op, inputs, params, np.ascontiguousarray(_times(left, right[:, None])[:, 0]))


@rule("bmm")
def _batches(op: Op, inputs: Any, params: Any) -> Tensor:
    a, b = [t._a for t in inputs]
    if not isinstance(a, Coo) or isinstance(b, Sparse) or a.sparse_dim != 3:
        raise unsupported("bmm", inputs)
    out = np.zeros((a.sizes[0], a.sizes[1], b.shape[2]), b.dtype)
    for k in range(a.sizes[0]):
        here = a.indices[0] == k
        part = Coo(np.ascontiguousarray(a.indices[1:, here]), a.values[here], a.sizes[1:])
        out[k] = _sparse_times_dense(part, b[k])
    return finish(op, inputs, params, out)


@rule("addmm", "addmv")
def _added(op: Op, inputs: Any, params: Any) -> Tensor:
    input, mat1, mat2 = inputs
    if is_sparse(input) and not (is_sparse(mat1) and is_sparse(mat2)):
        raise RuntimeError("addmm_sparse_dense: expected strided result tensor, got tensor with "
                           f"layout {'Sparse' if input.is_sparse else 'SparseCsr'}")
    plain = [t.detach() for t in inputs]
    product = apply(OPS["mm" if op.name == "addmm" else "mv"], plain[1:])
    total = product if params["alpha"] == 1 else product * params["alpha"]
    if params["beta"] != 0:
        total = plain[0] * params["beta"] + total
    return finish(op, inputs, params, total._a)


@rule("linear")
def _linear(op: Op, inputs: Any, params: Any) -> Tensor:
    bias, input, weight = inputs
    rows = input.detach().reshape(-1, input.shape[-1])
    out = apply(OPS["mm_nt"], (rows, weight.detach()))
    out = out.reshape(*input.shape[:-1], weight.shape[0])
    return finish(op, inputs, params, (out if bias is None else out + bias.detach())._a)


# torch.sparse.mm and addmm: the gradient of the sparse matrix has its places alone


def _addmm_forward(input: Any, mat1: Any, mat2: Any, beta: Any, alpha: Any) -> ndarray:
    product = _times(mat1, mat2)
    product = product if alpha == 1 else (product * alpha).astype(product.dtype)
    if input is None or beta == 0:
        return product
    return (input * beta + product).astype(product.dtype)


def at_places(rows: Tensor, columns: Tensor, handle: Sparse) -> Tensor:
    """The products of the rows of one matrix and of another at the places of ``handle``."""
    pair = handle.places()
    one = rows.index_select(0, wrap(np.ascontiguousarray(pair[0])))
    two = columns.index_select(0, wrap(np.ascontiguousarray(pair[1])))
    return with_values((one * two).sum(-1), handle)


def _left_grad(g: Tensor, mat1: Tensor, mat2: Tensor, alpha: Any) -> Tensor:
    if not is_sparse(mat1):
        found = mm(g, conj_of(mat2).t())
    elif is_sparse(mat2) or is_sparse(g):
        found = same_pattern(mm(g, conj_of(mat2).t()), _ordered(mat1._a))
    else:
        found = at_places(g, conj_of(mat2), _ordered(mat1._a))
    return found if alpha == 1 else found * alpha


def _ordered(handle: Sparse) -> Sparse:
    return coalesced(handle) if isinstance(handle, Coo) else handle


def _right_grad(g: Tensor, mat1: Tensor, mat2: Tensor, alpha: Any) -> Tensor:
    found = mm_tn(conj_of(mat1), g)
    if is_sparse(mat2):
        found = same_pattern(found, _ordered(mat2._a))
    return found if alpha == 1 else found * alpha


SPARSE_ADDMM = Op("sparse_addmm", _addmm_forward, ("input", "mat1", "mat2"), kind="sparse",
                  params=("beta", "alpha"), node="SparseAddmm",
                  formulas=(lambda g, beta: g if beta == 1 else g * beta, _left_grad, _right_grad))
SPARSE_MATMUL = Op(
    "sparse_matmul", _times, ("mat1", "mat2"), kind="sparse", node="SparseSparseMatmul",
    formulas=(lambda g, mat1, mat2: _left_grad(g, mat1, mat2, 1),
              lambda g, mat1, mat2: _right_grad(g, mat1, mat2, 1)))


@public("sparse")
def addmm(mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1.0, alpha: Any = 1.0) -> Tensor:
    """``beta * mat + alpha * mat1 @ mat2``, where ``mat1`` may be sparse.

    The gradient of a sparse ``mat1`` has the places of ``mat1`` alone.
    """
    return run(SPARSE_ADDMM, (mat, mat1, mat2), {"beta": beta, "alpha": alpha})


@public("sparse", name="mm")
def sparse_mm(mat1: Tensor, mat2: Tensor, reduce: str | None = None) -> Tensor:
    """The product of two matrices, either of which may be sparse.

    The gradient of a sparse matrix has its places alone. With ``reduce`` "sum", "mean", "amax" or
    "amin" the products of a row's elements are reduced so; ``mat1`` must be ``sparse_csr`` then.

    >>> import flambeau as torch
    >>> a = torch.eye(2).to_sparse()
    >>> torch.sparse.mm(a, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1., 2.],
            [3., 4.]])
    """
    if reduce is not None:
        return _reduced(mat1, mat2, reduce)
    if mat2.ndim != 2 or mat1.ndim != 2:
        raise IndexError("Dimension out of range (expected to be in range of [-1, 0], but got 1)")
    if not is_sparse(mat1) and not is_sparse(mat2):
        return mm(mat1, mat2)
    if is_sparse(mat1) and is_sparse(mat2):
        return run(SPARSE_MATMUL, (mat1, mat2), {})
    return run(SPARSE_ADDMM, (None, mat1, mat2), {"beta": 0, "alpha": 1})


# Products whose sums are other reductions

_UFUNCS = {"sum": np.add, "mean": np.add, "amax": np.maximum, "amin": np.minimum}


def _reduce_forward(a: Compressed, other: ndarray, reduce: str) -> ndarray:
    values, right = _wide(a.values), _wide(other)
    out = np.zeros((a.sizes[0], right.shape[1]), values.dtype)
    counts = np.diff(a.pointers)
    filled = np.flatnonzero(counts)
    if filled.size and right.shape[1]:
        products = values[:, None] * right[a.plain]
        out[filled] = _UFUNCS[reduce].reduceat(products, a.pointers[filled], axis=0)
    if reduce == "mean":
        out /= np.maximum(counts, 1)[:, None].astype(out.dtype)
    return out.astype(a.values.dtype, copy=False)


def _share(a: Compressed, other: ndarray, reduce: str) -> ndarray:
    """How much each product counts in its row's result: (elements, columns)."""
    counts = np.diff(a.pointers)
    rows = kernels.expand_pointers(a.pointers)
    if reduce in ("sum", "mean"):
        weight = 1 / counts[rows] if reduce == "mean" else np.ones(rows.size)
        return np.broadcast_to(weight[:, None], (rows.size, other.shape[1]))
    products = _wide(a.values)[:, None] * _wide(other)[a.plain]
    filled = np.flatnonzero(counts)
    if not filled.size:
        return np.zeros(products.shape)
    best = _UFUNCS[reduce].reduceat(products, a.pointers[filled], axis=0)
    hit = products == np.repeat(best, counts[filled], axis=0)
    # Of equal products the first has it all.
    place = np.where(hit, np.arange(rows.size)[:, None], rows.size)
    first = np.minimum.reduceat(place, a.pointers[filled], axis=0)
    return place == np.repeat(first, counts[filled], axis=0)


def _spread(g: Tensor, a: Compressed, share: ndarray) -> Tensor:
    rows = wrap(kernels.expand_pointers(a.pointers))
    weight = wrap(np.ascontiguousarray(share).astype(g._a.dtype))
    return g.index_select(0, rows) * weight


def _reduce_left(g: Tensor, input: Tensor, other: Tensor, reduce: str) -> Tensor:
    a = input._a
    spread = _spread(g, a, _share(a, other._a, reduce))
    return with_values((spread * other.index_select(0, wrap(a.plain))).sum(1), a)


def _reduce_right(g: Tensor, input: Tensor, other: Tensor, reduce: str) -> Tensor:
    a = input._a
    spread = _spread(g, a, _share(a, other._a, reduce)) * input.values().unsqueeze(1)
    return spread.new_zeros(other.shape).index_add(0, wrap(a.plain), spread)


MM_REDUCE = Op("sparse_mm_reduce", _reduce_forward, ("input", "other"), kind="sparse",
               params=("reduce",), formulas=(_reduce_left, _reduce_right),
               node="SparseMmReduceImpl")


def _reduced(a: Tensor, b: Tensor, reduce: str) -> Tensor:
    if a.layout is not sparse_csr or b.layout is not strided:
        raise unsupported("_sparse_mm_reduce_impl", (a, b))
    if reduce not in _UFUNCS:
        raise RuntimeError("reduce argument must be either sum, prod, mean, amax or amin, got "
                           f"{reduce}")
    if a._a.sizes[1] != b.shape[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} "
                           f"and {b.shape[0]}x{b.shape[1]})")
    return run(MM_REDUCE, (a, b), {"reduce": reduce})


# Products wanted at some places only


def _sampled_forward(a: Sparse, mat1: ndarray, mat2: ndarray, beta: Any, alpha: Any) -> Sparse:
    *batch, rows, columns = a.places()
    one = mat1[(*batch, rows)]
    two = np.swapaxes(mat2, -1, -2)[(*batch, columns)]
    values = np.einsum("...k,...k->...", one, two) * alpha
    if beta != 0:
        values = values + beta * a.values
    return a.with_values(np.asarray(values, a.values.dtype))


SAMPLED = Op(
    "sparse_sampled_addmm", _sampled_forward, ("input", "mat1", "mat2"), kind="sparse",
    params=("beta", "alpha"), node="SparseSampledAddmm",
    formulas=(lambda g, beta: g * conj_of(beta),
              lambda g, mat2, alpha: mm(g, conj_of(mat2).t()) * conj_of(alpha),
              lambda g, mat1, alpha: mm_tn(conj_of(mat1), g) * conj_of(alpha)))


@public("sparse", out=True)
def sampled_addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1.0,
                  alpha: Any = 1.0) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)`` at the places of ``input``, which is CSR."""
    if input.layout is not sparse_csr:
        raise unsupported("sparse_sampled_addmm", (input,))
    if mat1.shape[-2] != input.shape[-2]:
        raise RuntimeError("sampled_addmm: self.shape[-2] must match mat1.shape[-2]")
    if mat2.shape[-1] != input.shape[-1]:
        raise RuntimeError("sampled_addmm: self.shape[-1] must match mat2.shape[-1]")
    if mat1.shape[-1] != mat2.shape[-2]:
        raise RuntimeError("sampled_addmm: mat1 and mat2 shapes cannot be multiplied "
                           f"({mat1.shape[-2]}x{mat1.shape[-1]} and {mat2.shape[-2]}x"
                           f"{mat2.shape[-1]})")
    return run(SAMPLED, (input, mat1, mat2), {"beta": beta, "alpha": alpha})

