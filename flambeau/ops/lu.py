"""LU factors with row exchanges: A = P L U, and solving with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import factor
from flambeau.base.settings import warn_once
from flambeau.base.shapes import broadcast
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.inplace import write_out
from flambeau.core.kinds import composite
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.linalg import (
    adjoint_of,
    check_lapack,
    check_matrix,
    check_same,
    check_sides,
    first_info,
    matrix_op,
)
from flambeau.ops.matmul import matmul
from flambeau.ops.solvers import solve_triangular

ndarray = np.ndarray


def _check(A: Any, name: str, kernel: bool = True) -> None:
    if A._a.ndim < 2:
        raise RuntimeError(f"{name}: Expected tensor with 2 or more dimensions. Got size: "
                           f"{list(A._a.shape)} instead")
    if kernel:
        check_lapack("lu_cpu", A)


def _check_pivot(pivot: bool) -> None:
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")


# P, L and U from factors that share one matrix


def _permutation(pivots: ndarray, rows: int, held: np.dtype) -> ndarray:
    if pivots.size and not 1 <= pivots.min() <= pivots.max() <= rows:
        raise RuntimeError(f"torch.lu_unpack: LU_pivots must lie between 1 and {rows}")
    order = factor.permutation(pivots, rows)
    out = np.zeros((*order.shape, rows), held)
    np.put_along_axis(out, order[..., None, :], 1, -2)
    return out


PERMUTATION = matrix_op("lu_permutation", _permutation, inputs=("pivots",),
                        params=("rows", "held"))


def permutation_of(pivots: Tensor, rows: int, held: np.dtype) -> Tensor:
    """P: exchanging rows k and ``pivots[k] - 1`` of P^T A, in turn, gives A."""
    return apply(PERMUTATION, (pivots,), {"rows": rows, "held": held})


def _halves(a: ndarray) -> tuple:
    m, n = a.shape[-2:]
    k = min(m, n)
    low = np.tril(a[..., :k], -1)
    low[..., range(k), range(k)] = 1
    return low, np.triu(a[..., :k, :])


def _joined(low: Any, up: Any) -> Any:
    """One matrix of a strictly lower part and an upper part of different shapes."""
    low, up = low.tril(-1), up.triu()
    m, n = low._a.shape[-2], up._a.shape[-1]
    if m == n:
        return low + up
    part = up if m > n else low
    shape = (*part._a.shape[:-2], m - n, n) if m > n else (*part._a.shape[:-2], m, n - m)
    rest = wrap(np.zeros(shape, part._a.dtype))
    whole = FACES["torch"]["cat"]([part, rest], -2 if m > n else -1)
    return low + whole if m > n else whole + up


HALVES = matrix_op("lu_unpack", _halves, multiple=True, inputs=("LU_data",),
                   joint=lambda g: [_joined(*g)])


@public("torch", out=True)
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True,
              unpack_pivots: bool = True) -> Any:
    """P, L and U with A = P L U, from what ``lu_factor`` gives of A; empty where not asked for.

    >>> import flambeau as torch
    >>> A = torch.tensor([[1., 2.], [4., 6.]])
    >>> P, L, U = torch.lu_unpack(*torch.linalg.lu_factor(A))
    >>> P @ L @ U
    tensor([[1., 2.],
            [4., 6.]])
    """
    _check(LU_data, "torch.lu_unpack", kernel=False)
    if unpack_pivots and LU_pivots._a.dtype != np.int32:
        raise RuntimeError("torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of "
                           "torch.int32 dtype.\nNote: this function is intended to be used with "
                           "the output produced by torch.linalg.lu_factor")
    held = np.dtype(LU_data._a.dtype.type)
    rows = LU_data._a.shape[-2]
    p, low, up = (wrap(np.empty(0, held)) for _ in range(3))
    if unpack_pivots:
        if LU_pivots._a.shape != (*LU_data._a.shape[:-2], min(LU_data._a.shape[-2:])):
            raise RuntimeError("torch.lu_unpack: Expected a pivot per row of the factors, but got "
                               f"LU_data of shape {list(LU_data._a.shape)} and LU_pivots of shape "
                               f"{list(LU_pivots._a.shape)}")
        p = permutation_of(LU_pivots, rows, held)
    if unpack_data:
        low, up = apply(HALVES, (LU_data,))
    return return_types.ALL["lu_unpack"]((p, low, up))


# Factoring


def _lu_grad(g_low: Tensor, g_up: Tensor, p: Tensor, low: Tensor, up: Tensor) -> Tensor:
    """The gradient of A = P L U, from those of L and U.

    The leading square block gives both factors; what is left of a wide or a tall matrix is one of
    them times a part of the other.
    """
    m, n = low._a.shape[-2], up._a.shape[-1]
    k = min(m, n)
    cat = FACES["torch"]["cat"]
    g_low, g_up = g_low.tril(-1), g_up.triu()  # type: ignore[attr-defined]
    low, low_rest, g_low, g_low_rest = (*_split(low, -2, k), *_split(g_low, -2, k))
    up, up_rest, g_up, g_up_rest = (*_split(up, -1, k), *_split(g_up, -1, k))
    inner, outer = matmul(adjoint_of(low), g_low), matmul(g_up, adjoint_of(up))
    if n > k:
        inner = inner - matmul(g_up_rest, adjoint_of(up_rest))
    if m > k:
        outer = outer - matmul(adjoint_of(low_rest), g_low_rest)
    found = inner.tril(-1) + outer.triu()
    back_low, back_up = adjoint_of(low), adjoint_of(up)
    if m > k:
        found = solve_triangular(back_low, found, upper=True, unitriangular=True)
        found = cat([found, g_low_rest], -2)
        found = solve_triangular(back_up, found, upper=False, left=False)
    else:
        found = solve_triangular(back_up, found, upper=False, left=False)
        found = cat([found, g_up_rest], -1) if n > k else found
        found = solve_triangular(back_low, found, upper=True, unitriangular=True)
    return matmul(p, found)


def _split(t: Any, dim: int, k: int) -> tuple:
    return t.narrow(dim, 0, k), t.narrow(dim, k, t._a.shape[dim] - k)


def _factor_forward(a: ndarray, fails: str | None) -> tuple:
    found = factor.lu(a)
    if fails is not None and found[2].any():
        at, number = first_info(found[2])
        raise RuntimeError(
            f"{fails}: {at}U[{number},{number}] is zero and using it on lu_solve would result in a "
            "division by zero. If you still want to perform the factorization, consider calling "
            "linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)")
    return found


def _factor_grad(g: Any, out: Any) -> list:
    packed, pivots, _ = out
    m, n = packed._a.shape[-2:]
    k = min(m, n)
    low, up = apply(HALVES, (packed,))
    p = permutation_of(pivots, m, np.dtype(packed._a.dtype.type))
    return [_lu_grad(g[0].narrow(-1, 0, k), g[0].narrow(-2, 0, k), p, low, up)]


FACTOR = matrix_op("linalg_lu_factor_ex", _factor_forward, joint=_factor_grad, multiple=True,
                   params=("fails",))


def _factored(A: Tensor, pivot: bool, fails: str | None) -> tuple:
    _check(A, "torch.lu_factor")
    _check_pivot(pivot)
    return apply(FACTOR, (A,), {"fails": fails})


@public("linalg", out=True)
def lu_factor(A: Tensor, *, pivot: bool = True) -> Any:
    """L below and U on and above the diagonal of one matrix, and the rows exchanged (from 1).

    RuntimeError where U has a zero on its diagonal.
    """
    return return_types.ALL["linalg_lu_factor"](_factored(A, pivot, "torch.linalg.lu_factor")[:2])


@public("linalg", out=True)
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> Any:
    """``lu_factor``, and per matrix the number of the first zero on U's diagonal, or 0."""
    fails = "torch.linalg.lu_factor_ex" if check_errors else None
    return return_types.ALL["linalg_lu_factor_ex"](_factored(A, pivot, fails))


LU_WARNING = """torch.lu is deprecated in favor of torch.linalg.lu_factor / \
torch.linalg.lu_factor_ex and will be removed in a future PyTorch release.
LU, pivots = torch.lu(A, compute_pivots)
should be replaced with
LU, pivots = torch.linalg.lu_factor(A, compute_pivots)
and
LU, pivots, info = torch.lu(A, compute_pivots, get_infos=True)
should be replaced with
LU, pivots, info = torch.linalg.lu_factor_ex(A, compute_pivots)"""


@public("torch", name="lu")
def old_lu(A: Tensor, pivot: bool = True, get_infos: bool = False, out: Any = None) -> Any:
    """The factors of A in one matrix, the rows exchanged, and infos where asked for."""
    warn_once(LU_WARNING)
    found = _factored(A, pivot, None)
    if out is not None:
        if not isinstance(out, (tuple, list)):
            raise TypeError(f"argument 'out' must be tuple of Tensors, not {type(out).__name__}")
        if len(out) - get_infos != 2:
            raise TypeError(f"expected tuple of {2 + get_infos} elements but got {len(out)}")
        for o, r in zip(out, found):
            write_out("lu", o, r)
        return out
    return return_types.ALL["_lu_with_info"](found) if get_infos else found[:2]


@public("Tensor", name="lu")
def _lu_method(self: Tensor, pivot: bool = True, get_infos: bool = False) -> Any:
    """The factors in one matrix, the rows exchanged, and infos where asked for."""
    return old_lu(self, pivot, get_infos)


def _lu_forward(a: ndarray) -> tuple:
    packed, pivots, _ = factor.lu(a)
    return (*_halves(packed), pivots)


def _both_grad(g: Any, out: Any) -> list:
    low, up, pivots = out
    p = permutation_of(pivots, low._a.shape[-2], np.dtype(low._a.dtype.type))
    return [_lu_grad(g[0], g[1], p, low, up)]


LU = matrix_op("linalg_lu", _lu_forward, joint=_both_grad, multiple=True)


@public("linalg", out=True)
def lu(A: Tensor, *, pivot: bool = True) -> Any:
    """P, L and U with A = P L U: rows exchanged, lower with ones on its diagonal, upper.

    >>> import flambeau as torch
    >>> torch.linalg.lu(torch.tensor([[1., 2.], [4., 6.]])).U
    tensor([[4.0000, 6.0000],
            [0.0000, 0.5000]])
    """
    _check(A, "linalg.lu")
    _check_pivot(pivot)
    low, up, pivots = apply(LU, (A,))
    p = permutation_of(pivots, A._a.shape[-2], np.dtype(A._a.dtype.type))
    return return_types.ALL["linalg_lu"]((p, low, up))


# Solving


def _check_range(pivots: ndarray, n: int) -> None:
    for wrong, bound in ((pivots < 1, "greater or equal to 1"),
                         (pivots > n, "smaller or equal to LU.size(-2)")):
        if wrong.any():
            raise RuntimeError(f"Pivots given to lu_solve must all be {bound}. Did you properly "
                               "pass the result of lu_factor?")


def _ordered(pivots: ndarray, b: ndarray, inverse: bool) -> ndarray:
    _check_range(pivots, b.shape[-2])
    order = factor.permutation(pivots, b.shape[-2])
    order = np.argsort(order, -1) if inverse else order
    return np.take_along_axis(b, order[..., None], -2)


def _solve_forward(a: ndarray, pivots: ndarray, b: ndarray, left: bool, adjoint: bool) -> ndarray:
    if not left:
        back = _solve_forward(a, pivots, np.swapaxes(b, -1, -2).conj(), True, not adjoint)
        return np.swapaxes(back, -1, -2).conj()
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    pivots = np.broadcast_to(pivots, (*batch, a.shape[-1]))
    b = np.broadcast_to(b, (*batch, *b.shape[-2:]))
    if adjoint:
        back = np.swapaxes(a, -1, -2).conj()
        found = factor.solve_triangular(back, b, False, False)
        return _ordered(pivots, factor.solve_triangular(back, found, True, True), True)
    found = factor.solve_triangular(a, _ordered(pivots, b, False), False, True)
    return factor.solve_triangular(a, found, True, False)


def _solve_parts(LU: Tensor, pivots: Tensor, B: Tensor, left: bool, adjoint: bool) -> Tensor:
    if not left:
        return adjoint_of(_solve_parts(LU, pivots, adjoint_of(B), True, not adjoint))
    p = permutation_of(pivots, LU._a.shape[-1], np.dtype(B._a.dtype.type))
    if adjoint:
        back = adjoint_of(LU)
        found = solve_triangular(back, B, upper=False)
        return matmul(p, solve_triangular(back, found, upper=True, unitriangular=True))
    found = matmul(p.transpose(-1, -2), B)  # type: ignore[attr-defined]
    found = solve_triangular(LU, found, upper=False, unitriangular=True)
    return solve_triangular(LU, found, upper=True)


SOLVE = composite("linalg_lu_solve", _solve_parts, _solve_forward, inputs=("LU", "pivots", "B"),
                  params=("left", "adjoint"), node="LinalgLuSolve", widen=False)


@public("linalg", name="lu_solve", out=True)
def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True,
                    adjoint: bool = False) -> Tensor:
    """X with A X = B (X A = B where not ``left``; A^H for A where ``adjoint``), from A's factors.

    >>> import flambeau as torch
    >>> A, B = torch.tensor([[1., 2.], [4., 6.]]), torch.tensor([[5.], [16.]])
    >>> torch.linalg.lu_solve(*torch.linalg.lu_factor(A), B)
    tensor([[1.],
            [2.]])
    """
    check_matrix("torch.linalg.lu_solve", LU, kernel="linalg.lu_solve_cpu")
    if pivots._a.dtype != np.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    check_same("linalg.lu_solve", "LU", LU, B)
    check_sides("linalg.lu_solve", LU, B, left)
    shape = LU._a.shape
    if pivots._a.shape[-1:] != shape[-1:]:
        raise RuntimeError("linalg.lu_solve: Number of pivots per batch should be same as the "
                           "dimension of the matrix")
    if pivots._a.shape != shape[:-1]:
        raise RuntimeError("linalg.lu_solve: Expected LU.shape[:-1] and pivots.shape to be the "
                           f"same, but got pivots with shape {list(pivots._a.shape)} instead")
    broadcast(B._a.shape[:-2], shape[:-2])
    return apply(SOLVE, (LU, pivots, B), {"left": left, "adjoint": adjoint})


LU_SOLVE_WARNING = """torch.lu_solve is deprecated in favor of torch.linalg.lu_solveand will be \
removed in a future PyTorch release.
Note that torch.linalg.lu_solve has its arguments reversed.
X = torch.lu_solve(B, LU, pivots)
should be replaced with
X = torch.linalg.lu_solve(LU, pivots, B)"""


@public("torch", "Tensor", name="lu_solve", out=True)
def old_lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with A X = input, from the factors of A."""
    warn_once(LU_SOLVE_WARNING)
    return linalg_lu_solve(LU_data, LU_pivots, input)


__all__ = ["linalg_lu_solve", "lu", "lu_factor", "lu_factor_ex", "lu_unpack"]
