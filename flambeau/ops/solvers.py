"""Solving with factors at hand: triangles, Cholesky's factor, tensors as matrices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.tensor import Tensor
from flambeau.ops.linalg import SOLVE, adjoint_of, check_matrix, inv, matrix_op, solve
from flambeau.ops.matmul import matmul
from flambeau.ops.shape import reshape, transpose


def _part(t: Any, upper: bool, unit: bool) -> Any:
    """The triangle of ``t`` that is read; with ones on the diagonal where ``unit``."""
    shift = (1 if upper else -1) if unit else 0
    found = t.triu(shift) if upper else t.tril(shift)
    if unit:
        found = found + Tensor._from_array(np.eye(t._a.shape[-1]).astype(t._a.dtype))
    return found


def _forward(a: np.ndarray, b: np.ndarray, upper: bool, unit: bool) -> np.ndarray:
    shift = (1 if upper else -1) if unit else 0
    part = np.triu(a, shift) if upper else np.tril(a, shift)
    if unit:
        part = part + np.eye(a.shape[-1], dtype=a.dtype)
    return np.linalg.solve(part, b)


def _left(g: Tensor, A: Tensor, out: Tensor, upper: bool, unit: bool) -> Tensor:
    back = apply(SOLVE, (adjoint_of(_part(A, upper, unit)), g))
    found = matmul(back, adjoint_of(out)).neg()
    shift = (1 if upper else -1) if unit else 0
    return found.triu(shift) if upper else found.tril(shift)  # type: ignore[attr-defined]


TRIANGULAR = matrix_op(
    "linalg_solve_triangular", _forward, inputs=("A", "B"), params=("upper", "unit"),
    grads=(_left, lambda g, A, upper, unit: apply(SOLVE, (adjoint_of(_part(A, upper, unit)), g))))


@public("linalg", out=True)
def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True,
                     unitriangular: bool = False) -> Tensor:
    """X with A X = B (X A = B where not ``left``), reading only one triangle of A."""
    check_matrix("linalg.solve_triangular", A)
    check_matrix("linalg.solve_triangular", B, square=False)
    if A._a.dtype != B._a.dtype:
        raise RuntimeError("linalg.solve_triangular: Expected A and B to have the same dtype, but "
                           f"found A of type {FROM_NUMPY[A._a.dtype].title} and B of type "
                           f"{FROM_NUMPY[B._a.dtype].title} instead")
    if A._a.shape[-1] != B._a.shape[-2 if left else -1]:
        raise RuntimeError("linalg.solve_triangular: Incompatible shapes of A and B for the "
                           f"equation {'AX = B' if left else 'XA = B'} ({A._a.shape[-2]}x"
                           f"{A._a.shape[-1]} and {B._a.shape[-2]}x{B._a.shape[-1]})")
    if left:
        return apply(TRIANGULAR, (A, B), {"upper": upper, "unit": unitriangular})
    found = apply(TRIANGULAR, (transpose(A, -2, -1), transpose(B, -2, -1)),
                  {"upper": not upper, "unit": unitriangular})
    return transpose(found, -2, -1)


@public("linalg", out=True)
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of ``A`` as a map from its dimensions after ``ind`` to those before."""
    shape = A._a.shape
    if ind <= 0:
        raise RuntimeError("Expected a strictly positive integer for 'ind'")
    rows, columns = shape[:ind], shape[ind:]
    if prod(rows) != prod(columns):
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[ind:]) == "
                           f"prod(self.shape[:ind]), but got {prod(columns)} != {prod(rows)}")
    return reshape(inv(reshape(A, (prod(rows), prod(columns)))), (*columns, *rows))


@public("linalg", out=True)
def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B."""
    if dims is not None:
        moved = [d % A._a.ndim for d in dims]
        rest = [i for i in range(A._a.ndim) if i not in moved]
        A = A.permute([*rest, *moved])  # type: ignore[attr-defined]
    shape = A._a.shape[B._a.ndim:]
    if prod(shape) != B._a.size:
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[other.ndim:])"
                           f" == prod(self.shape[:other.ndim]), but got {prod(shape)} != "
                           f"{prod(A._a.shape[:B._a.ndim])}")
    found = solve(reshape(A, (B._a.size, prod(shape))), reshape(B, (B._a.size,)))
    return reshape(found, shape)


__all__ = ["TRIANGULAR", "solve_triangular", "tensorinv", "tensorsolve"]
