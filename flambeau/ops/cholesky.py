"""Cholesky's factor of positive-definite matrices, and what is computed from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import factor
from flambeau.base.settings import warn_once
from flambeau.base.shapes import broadcast
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.tensor import Tensor
from flambeau.ops.linalg import (
    I32,
    LinAlgError,
    adjoint_of,
    check_lapack,
    check_matrix,
    check_old_sides,
    check_shape,
    first_info,
    matrix_op,
    singular,
)
from flambeau.ops.matmul import matmul
from flambeau.ops.solvers import solve_triangular

ndarray = np.ndarray


def _flipped(a: ndarray) -> ndarray:
    return np.swapaxes(a, -2, -1).conj()


def _forward(a: ndarray, upper: bool, fails: str | None) -> tuple:
    lower = _flipped(a) if upper else a
    try:
        found, info = np.linalg.cholesky(lower), np.zeros(a.shape[:-2], I32)
    except np.linalg.LinAlgError:
        found, info = _as_far_as_possible(lower)
    if fails is not None and info.any():
        at, order = first_info(info)
        raise LinAlgError(f"{fails}: {at}The factorization could not be completed because the "
                          f"input is not positive-definite (the leading minor of order {order} is "
                          "not positive-definite).")
    return _flipped(found) if upper else found, info


def _as_far_as_possible(a: ndarray) -> tuple[ndarray, ndarray]:
    """The factors up to the column where each breaks down, and the number of that column."""
    out = np.tril(a)
    info = np.zeros(a.shape[:-2], I32)
    for at in np.ndindex(info.shape):
        m = out[at]
        for j in range(len(m)):
            row = m[j, :j]
            pivot = m[j, j].real - np.vdot(row, row).real
            if not pivot > 0:
                m[j, j] = pivot
                info[at] = j + 1
                break
            m[j, j] = np.sqrt(pivot)
            m[j + 1:, j] = (m[j + 1:, j] - m[j + 1:, :j] @ row.conj()) / m[j, j]
    return out, info


def _grad(g: Any, out: Any, upper: bool) -> list:
    g_factor, factor_ = g[0], out[0]
    if upper:
        g_factor, factor_ = adjoint_of(g_factor), adjoint_of(factor_)
    back = adjoint_of(factor_)
    middle = matmul(back, g_factor).tril()  # type: ignore[attr-defined]
    both = middle + adjoint_of(middle.tril(-1))
    found = solve_triangular(back, both, upper=True)
    return [solve_triangular(factor_, found, upper=False, left=False) * 0.5]


CHOLESKY = matrix_op("linalg_cholesky_ex", _forward, joint=_grad, multiple=True,
                     params=("upper", "fails"))


def _factored(A: Tensor, upper: bool, fails: str | None) -> tuple:
    check_matrix("linalg.cholesky", A, kernel="cholesky_cpu")
    return apply(CHOLESKY, (A,), {"upper": upper, "fails": fails})


@public("linalg", out=True)
def cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """The triangular L with L L^H = A, of positive-definite matrices (or L^H where ``upper``).

    LinAlgError where a matrix is not positive-definite. Only one triangle is read.

    >>> import flambeau as torch
    >>> torch.linalg.cholesky(torch.tensor([[4., 2.], [2., 5.]]))
    tensor([[2., 0.],
            [1., 2.]])
    """
    return _factored(input, upper, "linalg.cholesky")[0]


@public("linalg", out=True)
def cholesky_ex(input: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """Cholesky's factor, and per matrix 0, or the order of the first minor that has none."""
    fails = "linalg.cholesky_ex" if check_errors else None
    return return_types.ALL["linalg_cholesky_ex"](_factored(input, upper, fails))


WARNING = """torch.cholesky is deprecated in favor of torch.linalg.cholesky and will be removed \
in a future PyTorch release.
L = torch.cholesky(A)
should be replaced with
L = torch.linalg.cholesky(A)
and
U = torch.cholesky(A, upper=True)
should be replaced with
U = torch.linalg.cholesky(A).mH
This transform will produce equivalent results for all valid (symmetric positive definite) \
inputs."""


@public("torch", "Tensor", name="cholesky", out=True)
def old_cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Cholesky's factor of positive-definite matrices."""
    warn_once(WARNING)
    check_shape("cholesky", input)
    check_lapack("cholesky_cpu", input)
    return apply(CHOLESKY, (input,), {"upper": upper, "fails": "cholesky"})[0]


# From a factor at hand


def _solve_forward(b: ndarray, a: ndarray, upper: bool) -> ndarray:
    first = _flipped(a) if upper else a
    found = factor.solve_triangular(first, b, False, False)
    return factor.solve_triangular(_flipped(first), found, True, False)


def _solve_grad(g: Tensor, needs: tuple, L: Tensor, out: Tensor, upper: bool) -> list:
    back = apply(SOLVE, (g, L), {"upper": upper})
    if not needs[1]:
        return [back, None]
    both = matmul(back, adjoint_of(out))
    both = both + adjoint_of(both)
    return [back, (matmul(L, both) if upper else matmul(both, L)).neg()]


SOLVE = matrix_op("cholesky_solve", _solve_forward, inputs=("B", "L"), joint=_solve_grad,
                  params=("upper",))


@public("torch", "Tensor", out=True)
def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """X with A X = ``input``, where A = L L^H (L^H L where ``upper``) and L is ``input2``.

    >>> import flambeau as torch
    >>> L = torch.tensor([[2., 0.], [1., 2.]])
    >>> torch.cholesky_solve(torch.tensor([[6.], [7.]]), L)
    tensor([[1.],
            [1.]])
    """
    for name, t in (("b", input), ("u", input2)):
        if t._a.ndim < 2:
            raise RuntimeError(f"{name} should have at least 2 dimensions, but has {t._a.ndim} "
                               "dimensions instead")
    broadcast(input._a.shape[:-2], input2._a.shape[:-2])
    check_old_sides("cholesky_solve", input2, input)
    check_lapack("cholesky_solve_cpu", input)
    return apply(SOLVE, (input, input2), {"upper": upper})


def _inverse_forward(a: ndarray, upper: bool) -> ndarray:
    zero = np.diagonal(a, 0, -2, -1) == 0
    if zero.any():
        raise singular("cholesky_inverse", np.where(zero.any(-1), zero.argmax(-1) + 1, 0))
    return _solve_forward(np.eye(a.shape[-1], dtype=a.dtype), a, upper)


def _inverse_grad(g: Any, L: Tensor, out: Tensor, upper: bool) -> Tensor:
    both = matmul(out, matmul(g + adjoint_of(g), out))
    return (matmul(L, both) if upper else matmul(both, L)).neg()


INVERSE = matrix_op("cholesky_inverse", _inverse_forward, inputs=("L",), grads=(_inverse_grad,),
                    params=("upper",))


@public("torch", "Tensor", out=True)
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L L^H (L^H L where ``upper``), L being ``input``.

    LinAlgError where L has a zero on its diagonal.

    >>> import flambeau as torch
    >>> torch.cholesky_inverse(torch.tensor([[2., 0.], [0., 1.]]))
    tensor([[0.2500, 0.0000],
            [0.0000, 1.0000]])
    """
    check_shape("cholesky_inverse", input)
    check_lapack("cholesky_inverse_out_cpu", input)
    return apply(INVERSE, (input,), {"upper": upper})


__all__ = ["CHOLESKY", "cholesky", "cholesky_ex", "cholesky_inverse", "cholesky_solve",
           "old_cholesky"]
