"""Q R: the decomposition, and the products of Householder reflections that LAPACK keeps Q as."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import factor
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.settings import warn_once
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.kinds import composite
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.linalg import adjoint_of, check_lapack, check_matrix, matrix_op
from flambeau.ops.matmul import matmul
from flambeau.ops.solvers import solve_triangular

ndarray = np.ndarray
def _qr_forward(a: ndarray, mode: str) -> tuple:
    if mode == "r":
        r = np.linalg.qr(a, "r")
        return np.zeros((0,), a.dtype), r
    return tuple(np.linalg.qr(a, mode))  # type: ignore[call-overload]


def _symmetric(x: Any) -> Any:
    """X + X^H with the diagonal counted once and real."""
    eye = wrap(np.eye(x._a.shape[-1], dtype=bool))
    whole = x + adjoint_of(x)
    return whole - (whole * 0.5) * eye


def _qr_square(gq: Tensor, gr: Tensor, q: Tensor, r: Tensor) -> Tensor:
    middle = matmul(gr, adjoint_of(r)) - matmul(adjoint_of(q), gq)
    inner = gq + matmul(q, _symmetric(middle.triu()))  # type: ignore[attr-defined]
    return adjoint_of(solve_triangular(r, adjoint_of(inner), upper=True))


def _qr_grad(g: Any, input: Tensor, out: Any, mode: str) -> list:
    m, n = input._a.shape[-2:]
    if mode == "r":
        raise RuntimeError("The derivative of linalg.qr depends on Q, which is not computed when "
                           "mode='r'. Please use linalg.qr(A, mode='reduced') if you are going to "
                           "require gradients.")
    if mode == "complete" and m > n:
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and "
                           "nrows > ncols.")
    (gq, gr), (q, r) = g, out
    if m >= n:
        return [_qr_square(gq, gr, q, r)]
    rest = input.narrow(-1, m, n - m)  # type: ignore[attr-defined]
    gv = gr.narrow(-1, m, n - m)
    head = _qr_square(gq + matmul(rest, adjoint_of(gv)), gr.narrow(-1, 0, m), q,
                      r.narrow(-1, 0, m))
    return [FACES["torch"]["cat"]([head, matmul(q, gv)], -1)]


QR = matrix_op("linalg_qr", _qr_forward, joint=_qr_grad, params=("mode",), multiple=True)


@public("linalg", out=True)
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and R upper triangular, Q R = A; "reduced", "complete", "r"."""
    check_matrix("linalg.qr", A, square=False, kernel="geqrf_cpu")
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' "
                           "(default), 'r', or 'complete'")
    return return_types.ALL["linalg_qr"](apply(QR, (A,), {"mode": mode}))


WARNING = """torch.qr is deprecated in favor of torch.linalg.qr and will be removed in a future \
PyTorch release.
The boolean parameter 'some' has been replaced with a string parameter 'mode'.
Q, R = torch.qr(A, some)
should be replaced with
Q, R = torch.linalg.qr(A, 'reduced' if some else 'complete')"""


@public("torch", "Tensor", name="qr", out=True)
def old_qr(input: Tensor, some: bool = True) -> Any:
    """Q with orthonormal columns and R upper triangular, Q R = input."""
    warn_once(WARNING)
    return return_types.ALL["qr"](tuple(qr(input, "reduced" if some else "complete")))


# Reflections


def _geqrf_forward(a: ndarray) -> tuple:
    columns, tau = np.linalg.qr(a, "raw")
    return np.swapaxes(columns, -1, -2), tau


def _no_slope(g: Any) -> Any:
    raise NotImplementedError("the derivative for 'geqrf' is not implemented.")


GEQRF = matrix_op("geqrf", _geqrf_forward, joint=_no_slope, multiple=True)


@public("torch", "Tensor", out=True)
def geqrf(input: Tensor) -> Any:
    """R on and above the diagonal, the reflections whose product is Q below it, their scales."""
    if input._a.ndim < 2:
        raise RuntimeError("torch.geqrf: input must have at least 2 dimensions.")
    check_lapack("geqrf_cpu", input)
    return return_types.ALL["geqrf"](apply(GEQRF, (input,)))


# The product of the k reflections I - tau v v^H is I - V T V^H, with the inverse of T equal to
# 1/tau on the diagonal and V^H V above it (Schreiber and Van Loan, SIAM J. Sci. Comput. 10, 1989).


def _reflectors(a: ndarray, tau: ndarray) -> tuple[ndarray, ndarray]:
    """V, and the triangle whose inverse times tau is T."""
    k = tau.shape[-1]
    v = np.tril(a[..., :k], -1)
    v[..., range(k), range(k)] = 1
    return v, tau[..., None] * (np.swapaxes(v, -1, -2).conj() @ v)


def _reflector_parts(A: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
    k = tau._a.shape[-1]
    eye = wrap(np.eye(A._a.shape[-2], k, dtype=np.dtype(A._a.dtype.type)))
    v = A.narrow(-1, 0, k).tril(-1) + eye  # type: ignore[attr-defined]
    return v, tau.unsqueeze(-1) * matmul(adjoint_of(v), v)


def _product_forward(a: ndarray, tau: ndarray) -> ndarray:
    m, n = a.shape[-2:]
    v, triangle = _reflectors(a, tau)
    scaled = tau[..., None] * np.swapaxes(v[..., :n, :], -1, -2).conj()
    return np.eye(m, n, dtype=a.dtype) - v @ factor.solve_triangular(triangle, scaled, True, True)


def _product_parts(A: Tensor, tau: Tensor) -> Tensor:
    m, n = A._a.shape[-2:]
    v, triangle = _reflector_parts(A, tau)
    scaled = tau.unsqueeze(-1) * adjoint_of(v.narrow(-2, 0, n))  # type: ignore[attr-defined]
    inner = solve_triangular(triangle, scaled, upper=True, unitriangular=True)
    return wrap(np.eye(m, n, dtype=np.dtype(A._a.dtype.type))) - matmul(v, inner)


PRODUCT = composite("linalg_householder_product", _product_parts, _product_forward,
                    inputs=("A", "tau"), node="LinalgHouseholderProduct", widen=False)


def _check_tau(name: str, A: Tensor, tau: Tensor) -> None:
    if A._a.ndim - tau._a.ndim != 1:
        raise RuntimeError(f"{name}: Expected tau to have one dimension less than input, but got "
                           f"tau.ndim equal to {tau._a.ndim} and input.ndim is equal to "
                           f"{A._a.ndim}")
    _check_batch(name, "tau", A, tau._a.shape[:-1])


def _check_batch(name: str, argument: str, A: Tensor, batch: tuple) -> None:
    if batch != A._a.shape[:-2]:
        raise RuntimeError(f"{name}: Expected batch dimensions of {argument} to be equal to "
                           f"input.shape[:-2], but got {list(batch)}")


@public("linalg", out=True)
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first columns of the product of the reflections that ``geqrf`` gives: Q.

    >>> import flambeau as torch
    >>> A = torch.tensor([[3., 1.], [4., 2.]])
    >>> torch.linalg.householder_product(*torch.geqrf(A))
    tensor([[-0.6000, -0.8000],
            [-0.8000,  0.6000]])
    """
    name = "torch.linalg.householder_product"
    if input._a.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if input._a.shape[-2] < input._a.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to "
                           "input.shape[-1]")
    if input._a.shape[-1] < tau._a.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to "
                           "tau.shape[-1]")
    _check_tau(name, input, tau)
    if input._a.dtype != tau._a.dtype:
        raise RuntimeError(f"{name}: tau dtype {FROM_NUMPY[tau._a.dtype].title} does not match "
                           f"input dtype {FROM_NUMPY[input._a.dtype].title}")
    check_lapack("orgqr_cpu", input)
    return apply(PRODUCT, (input, tau))


@public("torch", "Tensor", out=True)
def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """The first columns of the product of the reflections that ``geqrf`` gives: Q."""
    return householder_product(input, input2)


def _apply_forward(a: ndarray, tau: ndarray, c: ndarray, left: bool, transpose: bool) -> ndarray:
    if not left:
        back = np.swapaxes(c, -1, -2).conj()
        return np.swapaxes(_apply_forward(a, tau, back, True, not transpose), -1, -2).conj()
    v, triangle = _reflectors(a, tau)
    inner = np.swapaxes(v, -1, -2).conj() @ c
    if transpose:
        back = np.swapaxes(triangle, -1, -2).conj()
        inner = tau[..., None].conj() * factor.solve_triangular(back, inner, False, True)
    else:
        inner = factor.solve_triangular(triangle, tau[..., None] * inner, True, True)
    return c - v @ inner


def _apply_parts(A: Tensor, tau: Tensor, other: Tensor, left: bool, transpose: bool) -> Tensor:
    if not left:
        return adjoint_of(_apply_parts(A, tau, adjoint_of(other), True, not transpose))
    v, triangle = _reflector_parts(A, tau)
    inner = matmul(adjoint_of(v), other)
    scale = tau.unsqueeze(-1)
    if transpose:
        inner = conj_of(scale) * solve_triangular(adjoint_of(triangle), inner, upper=False,
                                                  unitriangular=True)
    else:
        inner = solve_triangular(triangle, scale * inner, upper=True, unitriangular=True)
    return other - matmul(v, inner)


ORMQR = composite("ormqr", _apply_parts, _apply_forward, inputs=("A", "tau", "other"),
                  params=("left", "transpose"), widen=False)


@public("torch", "Tensor", out=True)
def ormqr(input: Tensor, input2: Tensor, input3: Tensor, left: bool = True,
          transpose: bool = False) -> Tensor:
    """Q C (C Q where not ``left``; Q^H for Q where ``transpose``), where C is ``input3``.

    ``input`` and ``input2`` hold Q as ``geqrf`` gives it; all of it, a square matrix.
    """
    tau, other = input2, input3
    for argument, t in (("input", input), ("other", other)):
        if t._a.ndim < 2:
            raise RuntimeError(f"torch.ormqr: {argument} must have at least 2 dimensions.")
    at = -2 if left else -1
    side = other._a.shape[at]
    if side < tau._a.shape[-1]:
        raise RuntimeError(f"torch.ormqr: other.shape[{at}] must be greater than or equal to "
                           "tau.shape[-1]")
    if tau._a.shape[-1] != min(side, input._a.shape[-1]):
        raise RuntimeError(f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{at}], "
                           "input.shape[-1])")
    if side != input._a.shape[-2]:
        raise RuntimeError(f"torch.ormqr: other.shape[{at}] must be equal to input.shape[-2]")
    _check_tau("torch.ormqr", input, tau)
    _check_other(input, tau, other)
    check_lapack("ormqr_cpu", input)
    return apply(ORMQR, (input, tau, other), {"left": left, "transpose": transpose})


def _check_other(input: Tensor, tau: Tensor, other: Tensor) -> None:
    if input._a.ndim != other._a.ndim:
        raise RuntimeError("torch.ormqr: Expected other to have the same number of dimensions as "
                           f"input, but got other.ndim equal to {other._a.ndim} and input.ndim is "
                           f"equal to {input._a.ndim}")
    _check_batch("torch.ormqr", "other", input, other._a.shape[:-2])
    for argument, t in (("tau", tau), ("other", other)):
        if t._a.dtype != input._a.dtype:
            raise RuntimeError(f"torch.ormqr: Expected input and {argument} to have the same "
                               f"dtype, but input has dtype{FROM_NUMPY[input._a.dtype].title} and "
                               f"{argument} has dtype {FROM_NUMPY[t._a.dtype].title}")


__all__ = ["QR", "geqrf", "householder_product", "old_qr", "orgqr", "ormqr", "qr"]
