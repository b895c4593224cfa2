"""Products that add: addmm and its kin; and kron, inner, cross, tensordot, chains."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import broadcast, wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import bilinear, composite
from flambeau.core.levels import front
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.matmul import (
    bmm,
    check_added,
    check_batches,
    check_expands,
    check_matrices,
    check_vector,
    matmul,
    mm,
    mm_nt,
    mm_tn,
    mv,
    outer,
)
from flambeau.ops.shape import reshape, transpose

ndarray = np.ndarray


def _scaled(t: Any, factor: Any) -> Any:
    """``t * factor``, the factor in the dtype of ``t``, as PyTorch takes it."""
    if factor == 1:
        return t
    kind = t._a.dtype.kind if isinstance(t, Tensor) else t.dtype.kind
    if kind in "iu":
        return t * int(factor)
    return t * factor


def _back(t: Tensor, factor: Any) -> Tensor:
    return _scaled(t, conj_of(factor))


def _adding(name: str, multiply: Callable, on_arrays: Callable, first: Callable,
            second: Callable, names: tuple[str, str]) -> Op:
    """Declare ``beta * input + alpha * multiply(a, b)``."""

    def compose(input: Any, a: Any, b: Any, beta: Any, alpha: Any) -> Any:
        r = _scaled(multiply(a, b), alpha)
        return r if beta == 0 else r + _scaled(input, beta)

    def forward(input: ndarray, a: ndarray, b: ndarray, beta: Any, alpha: Any) -> ndarray:
        r = np.asarray(_scaled(on_arrays(a, b), alpha))
        if beta != 0:
            r = r + _scaled(input, beta)
        return np.asarray(r, a.dtype)

    one, two = names
    left = _named(lambda g, b, alpha, beta: _back(first(g, conj_of(b)), alpha), two)
    right = _named(lambda g, a, alpha, beta: _back(second(g, conj_of(a)), alpha), one)
    return composite(name, compose, forward, inputs=("input", one, two), params=("beta", "alpha"),
                     grads=(lambda g, beta: _back(g, beta), left, right))


def _named(formula: Callable, name: str) -> Callable:
    formula.names = (name, "alpha", "beta")  # type: ignore[attr-defined]
    return formula


ADDMM = _adding("addmm", matmul, np.matmul, mm_nt, lambda g, a: mm_tn(a, g), ("mat1", "mat2"))
ADDMV = _adding("addmv", matmul, np.matmul, outer, lambda g, a: mv(transpose(a, 0, 1), g),
                ("mat", "vec"))
ADDR = _adding("addr", outer, lambda a, b: a[:, None] * b, mv,
               lambda g, a: mv(transpose(g, 0, 1), a), ("vec1", "vec2"))
ADDBMM = _adding("addbmm", lambda a, b: bmm(a, b).sum(0),
                 lambda a, b: np.matmul(a, b).sum(0, dtype=a.dtype),
                 lambda g, b: matmul(g, transpose(b, 1, 2)),
                 lambda g, a: matmul(transpose(a, 1, 2), g), ("batch1", "batch2"))
BADDBMM = _adding("baddbmm", bmm, np.matmul, lambda g, b: bmm(g, transpose(b, 1, 2)),
                  lambda g, a: bmm(transpose(a, 1, 2), g), ("batch1", "batch2"))


def _factors(beta: Any, alpha: Any) -> dict:
    return {"beta": beta, "alpha": alpha}


@public(out=True, inplace=True)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)`` of matrices; with beta 0 ``input`` is not read.

    >>> import flambeau as torch
    >>> torch.addmm(torch.ones(2), torch.ones(1, 3), torch.ones(3, 2), alpha=2)
    tensor([[7., 7.]])
    """
    x, y = mat1._a, mat2._a
    for name, a in (("mat1", x), ("mat2", y)):
        if a.ndim != 2:
            raise RuntimeError(f"{name} must be a matrix, got {a.ndim}-D tensor")
    if x.shape[1] != y.shape[0]:
        check_matrices(x, y)
    check_added(x, y, input._a, (x.shape[0], y.shape[1]))
    return apply(ADDMM, (input, mat1, mat2), _factors(beta, alpha))


@public(out=True, inplace=True)
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * (mat @ vec)``."""
    x, y = mat._a, vec._a
    if x.ndim != 2 or y.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got {input._a.ndim}, {x.ndim}, "
                           f"{y.ndim}")
    rows = x.shape[0]
    kinds = [FROM_NUMPY[a.dtype].title for a in (input._a, x, y)]
    if x.shape[1] == y.shape[0] and len(set(kinds)) > 1:
        raise RuntimeError("addmv input tensors must have the same dtype, but got "
                           f"{kinds[0]}, {kinds[1]}, and {kinds[2]}")
    check_vector(x, y, input._a.shape[0] if input._a.ndim else rows)
    check_expands(input._a.shape, (rows,))
    return apply(ADDMV, (input, mat, vec), _factors(beta, alpha))


@public(out=True, inplace=True)
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``."""
    for name, t in (("vec1", vec1), ("vec2", vec2)):
        if t._a.ndim != 1:
            raise RuntimeError(f"addr: Expected 1-D argument {name}, but got {t._a.ndim}-D")
    check_expands(input._a.shape, (vec1._a.shape[0], vec2._a.shape[0]))
    kind = vec1._a.dtype.kind
    for name, value in (("beta", beta), ("alpha", alpha)):
        if isinstance(value, float) and kind in "biu" and input._a.dtype.kind in "biu":
            raise RuntimeError(f"For integral input tensors, argument {name} must not be a "
                               "floating point number.")
    tensors = (input, vec1, vec2)
    if len({t._a.dtype for t in tensors}) > 1:
        grown = outer(vec1, vec2) * alpha
        return grown if beta == 0 else input * beta + grown
    return apply(ADDR, tensors, _factors(beta, alpha))


@public(out=True, inplace=True)
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1,
           alpha: Any = 1) -> Tensor:
    """``beta * input + alpha *`` the sum of the products of matrices in pairs."""
    x, y = batch1._a, batch2._a
    _check_3d(x, y)
    if x.dtype != y.dtype:
        check_added(x, x, y, y.shape)
    check_batches(x, y)
    check_added(x, y, input._a, (x.shape[1], y.shape[2]))
    return apply(ADDBMM, (input, batch1, batch2), _factors(beta, alpha))


@public(out=True, inplace=True)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1,
            alpha: Any = 1) -> Tensor:
    """``beta * input + alpha *`` the products of matrices in pairs."""
    x, y = batch1._a, batch2._a
    _check_3d(x, y)
    check_batches(x, y)
    if input._a.dtype != x.dtype:
        raise RuntimeError(f"Input dtypes must be the same, got: input "
                           f"{FROM_NUMPY[input._a.dtype].title}, batch1 "
                           f"{FROM_NUMPY[x.dtype].title}")
    check_expands(input._a.shape, (x.shape[0], x.shape[1], y.shape[2]))
    return apply(BADDBMM, (input, batch1, batch2), _factors(beta, alpha))


def _check_3d(x: Any, y: Any) -> None:
    for name, a in (("batch1", x), ("batch2", y)):
        if a.ndim != 3:
            raise RuntimeError(f"{name} must be a 3D tensor")


@public(out=True)
def inner(input: Tensor, other: Tensor) -> Tensor:
    """The sum of products over the last dimension of both."""
    x, y = input._a, other._a
    if not x.ndim or not y.ndim:
        return input * other
    if x.shape[-1] != y.shape[-1]:
        raise RuntimeError("inner() the last dimension must match on both input tensors but got "
                           f"shapes {list(x.shape)} and {list(y.shape)}")
    return tensordot(input, other, ([-1], [-1]))


@public("torch", out=True)
def tensordot(a: Tensor, b: Tensor, dims: Any = 2) -> Tensor:
    """The sum of products over ``dims``: a count of last and first ones, or two lists."""
    x, y = a._a, b._a
    if isinstance(dims, Tensor):
        dims = dims._a.tolist()
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(x.ndim, y.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got {dims}")
        pair: tuple[list[int], ...] = list(range(x.ndim - dims, x.ndim)), list(range(dims))
        shown: tuple[list[int], ...] = list(range(-dims, 0)), pair[1]
    else:
        given = [[d] if isinstance(d, int) else list(d) for d in dims]
        if len(given[0]) != len(given[1]):
            raise RuntimeError("both dimension lists should have same length")
        pair = tuple([wrap_dim(d, n) for d in ds] for ds, n in zip(given, (x.ndim, y.ndim)))
        shown = tuple(given)
    for i, j, p, q in zip(*pair, *shown):
        if x.shape[i] != y.shape[j] and x.shape[i] != 1 and y.shape[j] != 1:
            raise RuntimeError(f"contracted dimensions need to match, but first has size "
                               f"{x.shape[i]} in dim {p} and second has size {y.shape[j]} in dim "
                               f"{q}")
    return _tensordot(a, b, *pair)


def _tensordot(a: Tensor, b: Tensor, left: Sequence[int], right: Sequence[int]) -> Tensor:
    for i, j in zip(left, right):  # a size of 1 stands for any
        if a._a.shape[i] != b._a.shape[j]:
            if a._a.shape[i] == 1:
                b = b.sum(j, True)
            else:
                a = a.sum(i, True)
    n, m = a._a.shape, b._a.shape
    rest_a = [i for i in range(len(n)) if i not in left]
    rest_b = [j for j in range(len(m)) if j not in right]
    common = prod([n[i] for i in left])
    rows = reshape(a.permute([*rest_a, *left]), (prod([n[i] for i in rest_a]), common))
    columns = reshape(b.permute([*right, *rest_b]), (common, prod([m[j] for j in rest_b])))
    return reshape(mm(rows, columns), (*[n[i] for i in rest_a], *[m[j] for j in rest_b]))


@public(out=True)
def kron(input: Tensor, other: Tensor) -> Tensor:
    """Kronecker's product: every element of ``input`` times the whole of ``other``."""
    x, y = input._a.shape, other._a.shape
    rank = max(len(x), len(y))
    x, y = (1,) * (rank - len(x)) + tuple(x), (1,) * (rank - len(y)) + tuple(y)
    left = reshape(input, [n for size in x for n in (size, 1)])
    right = reshape(other, [n for size in y for n in (1, size)])
    return reshape(left * right, [n * m for n, m in zip(x, y)])


def _cross_forward(a: ndarray, b: ndarray, dim: int) -> ndarray:
    a, b = np.broadcast_arrays(a, b)
    r = np.cross(np.moveaxis(a, dim, -1), np.moveaxis(b, dim, -1))
    return np.ascontiguousarray(np.moveaxis(r, -1, dim))


def _cross_batch(op: Op, inputs: Any, dims: Any, dim: int) -> tuple:
    rank = max(t._a.ndim - (d is not None) for t, d in zip(inputs, dims))
    return apply(op, [front(t, d, rank) for t, d in zip(inputs, dims)], {"dim": dim}), 0


# ``dim`` counts from the back, so that a batch in front does not move it.
CROSS = bilinear("linalg_cross", _cross_forward,
                 lambda g, other, dim: _cross(conj_of(other), g, dim),
                 lambda g, input, dim: _cross(g, conj_of(input), dim), params=("dim",),
                 batch=_cross_batch, node="LinalgCross")


def _cross(a: Tensor, b: Tensor, dim: int) -> Tensor:
    return apply(CROSS, (a, b), {"dim": dim})


def _linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three along ``dim``, broadcast."""
    x, y = input._a, other._a
    if x.ndim != y.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    at = wrap_dim(dim, x.ndim)
    if x.shape[at] != 3 or y.shape[at] != 3:
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got "
                           f"{x.shape[at]} and {y.shape[at]}")
    broadcast(x.shape, y.shape)
    return _cross(input, other, at - x.ndim)


_linalg_cross = public("linalg", name="cross", out=True)(_linalg_cross)


@public(out=True)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross product of vectors of three along ``dim``, the first dimension of size 3."""
    if dim is None:
        warnings.warn("Using torch.cross without specifying the dim arg is deprecated.\nPlease "
                      "either pass the dim explicitly or simply use torch.linalg.cross.\nThe "
                      "default value of dim will change to agree with that of linalg.cross in a "
                      "future release.", stacklevel=3)
        shape = input._a.shape
        dim = next((i for i, n in enumerate(shape) if n == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return _linalg_cross(input, other, dim=dim)


def _chain_order(sizes: Sequence[int]) -> dict:
    """Where to split each run of a chain of matrices for the fewest multiplications."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    split = {}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            trials = [(cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                      for k in range(i, j)]
            cost[i, j], split[i, j] = min(trials)
    return split


@public("linalg", out=True)
def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of a chain of matrices, in the cheapest order; the ends may be vectors."""
    count = len(tensors)
    if count < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {count}")
    chain = list(tensors)
    first, last = chain[0]._a.ndim == 1, chain[-1]._a.ndim == 1
    for i, t in enumerate(chain):
        end = i in (0, count - 1)
        if t._a.ndim != 2 and not (end and t._a.ndim == 1):
            place = "first" if i == 0 else "last" if end else f"{i}"
            wanted = "1D or 2D" if end else "2D"
            raise RuntimeError(f"multi_dot(): the {place} tensor must be {wanted} but got "
                               f"{t._a.ndim}D" if end else
                               f"multi_dot(): tensor {i} must be 2D but got {t._a.ndim}D")
        if t._a.dtype != chain[0]._a.dtype:
            raise RuntimeError("multi_dot(): all tensors must have be the same dtype but tensor 0 "
                               f"is {FROM_NUMPY[chain[0]._a.dtype].title} and tensor {i} "
                               f"{FROM_NUMPY[t._a.dtype].title}")
    if first:
        chain[0] = chain[0].unsqueeze(0)
    if last:
        chain[-1] = chain[-1].unsqueeze(1)
    for i, (a, b) in enumerate(zip(chain, chain[1:])):
        if a._a.shape[1] != b._a.shape[0]:
            raise RuntimeError(f"multi_dot(): tensors {i} and {i + 1} with shapes "
                               f"{list(a._a.shape)} and {list(b._a.shape)} cannot be multiplied")
    found = _chained(chain)
    if first:
        found = found.squeeze(0)
    return found.squeeze(-1) if last else found


def _chained(chain: Sequence[Tensor]) -> Tensor:
    split = _chain_order([chain[0]._a.shape[0], *[t._a.shape[1] for t in chain]])

    def product(i: int, j: int) -> Tensor:
        if i == j:
            return chain[i]
        k = split[i, j]
        return mm(product(i, k), product(k + 1, j))

    return product(0, len(chain) - 1)


@public("torch")
def chain_matmul(*matrices: Any, out: Tensor | None = None) -> Tensor:
    """The product of matrices in the cheapest order; ``linalg.multi_dot`` is its successor."""
    warnings.warn("torch.chain_matmul is deprecated and will be removed in a future PyTorch "
                  "release. Use torch.linalg.multi_dot instead, which accepts a list of two or "
                  "more tensors rather than multiple parameters.", stacklevel=2)
    chain = matrices[0] if len(matrices) == 1 and isinstance(matrices[0], (tuple, list)) \
        else matrices
    for t in chain:
        if t._a.ndim != 2:
            raise RuntimeError(f"Tensor dimension is {t._a.ndim}, expected 2 instead.")
    if len(chain) == 1:
        return chain[0]
    return multi_dot(chain) if out is None else multi_dot(chain, out=out)


__all__ = ["ADDMM", "addbmm", "addmm", "addmv", "addr", "baddbmm", "chain_matmul", "cross",
           "inner", "kron", "multi_dot", "tensordot"]
