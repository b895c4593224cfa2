"""Solving with triangles, and with tensors as matrices."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from flambeau.backends import factor
from flambeau.base.settings import warn_once
from flambeau.base.shapes import broadcast, wrap_dim
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.tensor import Tensor
from flambeau.ops.copy import cast
from flambeau.ops.linalg import (
    adjoint_of,
    check_lapack,
    check_old_sides,
    check_sides,
    inv,
    matrix_op,
    solve,
)
from flambeau.ops.matmul import matmul
from flambeau.ops.shape import reshape, transpose


def _triangle(t: Tensor, upper: bool, unit: bool) -> Tensor:
    """The part of ``t`` that is read, where the diagonal is taken as ones if ``unit``."""
    shift = (1 if upper else -1) if unit else 0
    return t.triu(shift) if upper else t.tril(shift)  # type: ignore[attr-defined]


def _forward(a: np.ndarray, b: np.ndarray, upper: bool, left: bool, unit: bool) -> np.ndarray:
    if left:
        return factor.solve_triangular(a, b, upper, unit)
    a, b = np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)
    return np.swapaxes(factor.solve_triangular(a, b, not upper, unit), -1, -2)


def _grad(g: Tensor, needs: tuple, A: Tensor, out: Tensor, upper: bool, left: bool,
          unit: bool) -> list:
    back = apply(TRIANGULAR, (adjoint_of(A), g), {"upper": not upper, "left": left, "unit": unit})
    if not needs[0]:
        return [None, back]
    slope = matmul(back, adjoint_of(out)) if left else matmul(adjoint_of(out), back)
    return [_triangle(slope.neg(), upper, unit), back]


TRIANGULAR = matrix_op("linalg_solve_triangular", _forward, inputs=("A", "B"), joint=_grad,
                       params=("upper", "left", "unit"))


@public("linalg", out=True)
def solve_triangular(input: Tensor, B: Tensor, *, upper: bool, left: bool = True,
                     unitriangular: bool = False) -> Tensor:
    """X with A X = B (X A = B where not ``left``), reading only one triangle of A, ``input``.

    Zeros on the diagonal are no error; they give infinities.

    >>> import flambeau as torch
    >>> A, B = torch.tensor([[2., 9.], [4., 1.]]), torch.tensor([[2.], [5.]])
    >>> torch.linalg.solve_triangular(A, B, upper=False)
    tensor([[1.],
            [1.]])
    """
    check_sides("linalg.solve_triangular", input, B, left)
    check_lapack("triangular_solve_cpu", input)
    B = cast(B, input.dtype)
    broadcast(B._a.shape[:-2], input._a.shape[:-2])
    return apply(TRIANGULAR, (input, B), {"upper": upper, "left": left, "unit": unitriangular})


WARNING = """torch.triangular_solve is deprecated in favor of torch.linalg.solve_triangularand \
will be removed in a future PyTorch release.
torch.linalg.solve_triangular has its arguments reversed and does not return a copy of one of the \
inputs.
X = torch.triangular_solve(B, A).solution
should be replaced with
X = torch.linalg.solve_triangular(A, B)."""


def _old_forward(b: np.ndarray, a: np.ndarray, upper: bool, transposed: bool, unit: bool) -> tuple:
    part = np.swapaxes(a, -1, -2) if transposed else a
    found = factor.solve_triangular(part, b, upper != transposed, unit)
    return found, np.broadcast_to(a, (*found.shape[:-2], *a.shape[-2:])).copy()


def _old_grad(g: Any, needs: tuple, A: Tensor, out: Any, upper: bool, transposed: bool,
              unit: bool) -> list:
    back = adjoint_of(transpose(A, -2, -1) if transposed else A)
    g_input = solve_triangular(back, g[0], upper=upper == transposed, unitriangular=unit)
    if not needs[1]:
        return [g_input, None]
    slope = matmul(g_input, adjoint_of(out[0])).neg()
    if transposed:
        slope = transpose(slope, -2, -1)
    return [g_input, _triangle(slope, upper, unit) + g[1]]


OLD = matrix_op("triangular_solve", _old_forward, inputs=("B", "A"), joint=_old_grad,
                params=("upper", "transposed", "unit"), multiple=True)


@public("torch", "Tensor", out=True)
def triangular_solve(input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False,
                     unitriangular: bool = False) -> Any:
    """X with A X = input, reading one triangle of A (A^T X = input where ``transpose``); and A."""
    warn_once(WARNING)
    for name, t in (("b", input), ("A", A)):
        if t._a.ndim < 2:
            raise RuntimeError(f"torch.triangular_solve: Expected {name} to have at least 2 "
                               f"dimensions, but it has {t._a.ndim} dimensions instead")
    check_old_sides("triangular_solve", A, input)
    broadcast(input._a.shape[:-2], A._a.shape[:-2])
    check_lapack("triangular_solve_cpu", A)
    found = apply(OLD, (input, A),
                  {"upper": upper, "transposed": transpose, "unit": unitriangular})
    return return_types.ALL["triangular_solve"](found)


@public("linalg", out=True)
def tensorinv(input: Tensor, ind: int = 2) -> Tensor:
    """The inverse of ``input`` as a map from its dimensions after ``ind`` to those before.

    >>> import flambeau as torch
    >>> torch.linalg.tensorinv(torch.eye(4).reshape(4, 2, 2), ind=1).shape
    torch.Size([2, 2, 4])
    """
    shape = input._a.shape
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    if ind > len(shape):
        raise RuntimeError(f"ArrayRef: invalid slice, N = {ind}; size = {len(shape)}")
    rows, columns = shape[:ind], shape[ind:]
    if prod(rows) != prod(columns):
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[ind:]) == "
                           f"prod(self.shape[:ind]), but got {prod(columns)} != {prod(rows)}")
    return reshape(inv(reshape(input, (prod(rows), prod(columns)))), (*columns, *rows))


@public("linalg", out=True)
def tensorsolve(input: Tensor, other: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(input, X, X.ndim) = other; ``dims`` of ``input`` are moved to its end first.

    >>> import flambeau as torch
    >>> A = torch.eye(4).reshape(2, 2, 4)
    >>> torch.linalg.tensorsolve(A, torch.tensor([[1., 2.], [3., 4.]]))
    tensor([1., 2., 3., 4.])
    """
    if dims is not None:
        moved = [wrap_dim(d, input._a.ndim) for d in dims]
        rest = [i for i in range(input._a.ndim) if i not in moved]
        input = input.permute([*rest, *moved])  # type: ignore[attr-defined]
    shape = input._a.shape[other._a.ndim:]
    before = prod(input._a.shape[:other._a.ndim])
    if prod(shape) != before:
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[other.ndim:])"
                           f" == prod(self.shape[:other.ndim]), but got {prod(shape)} != {before}")
    found = solve(reshape(input, (before, prod(shape))), reshape(other, (other._a.size,)))
    return reshape(found, shape)


__all__ = ["TRIANGULAR", "solve_triangular", "tensorinv", "tensorsolve", "triangular_solve"]
