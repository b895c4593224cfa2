"""L D L^T of symmetric and L D L^H of Hermitian matrices that need not be definite."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import factor
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import broadcast, wrap_dim
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import underivable
from flambeau.core.tensor import Tensor
from flambeau.ops.linalg import check_matrix, check_old_sides, first_info, matrix_op

ndarray = np.ndarray


def _forward(a: ndarray, hermitian: bool, fails: str | None) -> tuple:
    found = factor.ldl(a, hermitian)
    found = (np.tril(found[0]), *found[1:])
    if fails is not None and found[2].any():
        number = first_info(found[2])[1]
        raise RuntimeError(f"{fails}: the block of D at {number} is zero, so that the matrix is "
                           "singular")
    return found


FACTOR = underivable(matrix_op, "linalg_ldl_factor_ex", _forward, "linalg_ldl_factor_ex",
                     multiple=True, params=("hermitian", "fails"))


def _factored(A: Tensor, hermitian: bool, fails: str | None) -> tuple:
    check_matrix("torch.linalg.ldl_factor_ex", A, kernel="ldl_factor_kernel_cpu")
    return apply(FACTOR, (A,), {"hermitian": hermitian, "fails": fails})


@public("linalg", out=True)
def ldl_factor(input: Tensor, *, hermitian: bool = False) -> Any:
    """The factors in one matrix, L below D, and the pivots, in the layout of LAPACK's sytrf.

    Only the lower triangle is read. RuntimeError where D has a zero block. There is no gradient,
    as in PyTorch.

    >>> import flambeau as torch
    >>> torch.linalg.ldl_factor(torch.tensor([[2., 4.], [4., 1.]])).LD.tril()
    tensor([[2., 0.],
            [4., 1.]])
    """
    return return_types.ALL["linalg_ldl_factor"](
        _factored(input, hermitian, "torch.linalg.ldl_factor")[:2])


@public("linalg", out=True)
def ldl_factor_ex(input: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> Any:
    """``ldl_factor``, and per matrix 0, or the number of the first zero block of D."""
    fails = "torch.linalg.ldl_factor_ex" if check_errors else None
    return return_types.ALL["linalg_ldl_factor_ex"](_factored(input, hermitian, fails))


def _solve_forward(ld: ndarray, pivots: ndarray, b: ndarray, hermitian: bool) -> ndarray:
    _check_pivots(pivots)
    return factor.ldl_solve(ld, pivots, b, hermitian)


def _check_pivots(pivots: ndarray) -> None:
    """LAPACK would follow any number to wherever it leads."""
    n = pivots.shape[-1]
    size = np.abs(pivots)
    if pivots.size and not (size.min() >= 1 and size.max() <= n):
        raise RuntimeError(f"torch.linalg.ldl_solve: pivots must lie between 1 and {n}, or between "
                           f"-{n} and -1")
    for row in pivots.reshape(-1, n).tolist() if (pivots < 0).any() else ():
        k = 0
        while k < n:
            if row[k] < 0 and row[k + 1:k + 2] != [row[k]]:
                raise RuntimeError("torch.linalg.ldl_solve: negative pivots must come in equal "
                                   "pairs")
            k += 2 if row[k] < 0 else 1


SOLVE = underivable(matrix_op, "linalg_ldl_solve", _solve_forward, "linalg_ldl_solve",
                    inputs=("LD", "pivots", "B"), params=("hermitian",), batch=None)


@public("linalg", out=True)
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B, from what ``ldl_factor`` gives of A.

    >>> import flambeau as torch
    >>> A = torch.tensor([[0., 2.], [2., 0.]])
    >>> torch.linalg.ldl_solve(*torch.linalg.ldl_factor(A), torch.tensor([[2.], [4.]]))
    tensor([[2.],
            [1.]])
    """
    name = "torch.linalg.ldl_solve"
    check_matrix(name, LD, kernel="ldl_solve_kernel_cpu")
    wrap_dim(-2, B._a.ndim)
    check_old_sides(name, LD, B)
    if pivots._a.shape != LD._a.shape[:-1]:
        raise RuntimeError(f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but "
                           f"got pivots with shape {list(pivots._a.shape)} instead")
    if pivots._a.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got "
                           f"{FROM_NUMPY[pivots._a.dtype].title}")
    broadcast(B._a.shape[:-2], LD._a.shape[:-2])
    return apply(SOLVE, (LD, pivots, B), {"hermitian": hermitian})


__all__ = ["ldl_factor", "ldl_factor_ex", "ldl_solve"]
