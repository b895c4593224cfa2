"""Eigenvalues and eigenvectors, of any square matrices and of Hermitian ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.linalg import (
    LinAlgError,
    adjoint_of,
    check_matrix,
    first_info,
    is_zero,
    matrix_op,
    solved,
)
from flambeau.ops.matmul import matmul

ndarray = np.ndarray
C64, C128 = np.dtype(np.complex64), np.dtype(np.complex128)


def gaps(values: Tensor) -> Tensor:
    """E[j, k] = values[k] - values[j], with ones on the diagonal."""
    e = values.unsqueeze(-2) - values.unsqueeze(-1)
    return e + wrap(np.eye(values._a.shape[-1], dtype=bool))


def scaled_diagonal(t: Tensor) -> Tensor:
    """Matrices with ``t`` on the diagonal."""
    return t.unsqueeze(-1) * wrap(np.eye(t._a.shape[-1], dtype=bool))


def off_diagonal(n: int) -> Tensor:
    """True beside the diagonal."""
    return wrap(~np.eye(n, dtype=bool))


def wanted(t: Tensor) -> bool:
    """Whether vectors are needed beside values: for a gradient, or inside a transform."""
    return t._node is not None or type(t._a) is not ndarray


def check_phase(turn: Tensor, name: str, vectors: str) -> None:
    """Raise where a loss depends on the phases of complex vectors, which are free."""
    a = turn._a
    if type(a) is ndarray and a.dtype.kind == "c" and not np.allclose(a.imag, 0, 1e-2, 1e-2):
        raise RuntimeError(
            f"{name}: The {vectors} in the complex case are specified up to multiplication by "
            "e^{i phi}. The specified loss function depends on this "
            f"{'phase term, making it' if name == 'svd_backward' else 'quantity, so it is'} "
            "ill-defined.")


def _eigh_forward(a: ndarray, UPLO: str, vectors: bool) -> tuple:
    bad = ~np.isfinite(a).all((-1, -2)) if a.size else np.zeros(a.shape[:-2], bool)
    try:
        if vectors:
            values, found = np.linalg.eigh(a, UPLO)  # type: ignore[call-overload]
        else:
            values = np.linalg.eigvalsh(a, UPLO)  # type: ignore[call-overload]
            found = np.empty(0, a.dtype)
    except np.linalg.LinAlgError:
        at = first_info(np.where(bad, 1, 0))[0] if bad.any() else ""
        raise LinAlgError(f"linalg.eigh: {at}The algorithm failed to converge because the input "
                          "matrix is ill-conditioned or has too many repeated eigenvalues."
                          ) from None
    return values, found


def _eigh_grad(g: Any, out: Any) -> list:
    values, vectors = out
    back = adjoint_of(vectors)
    if is_zero(g[1]):  # equal eigenvalues do no harm then
        return [matmul(vectors * g[0].unsqueeze(-2), back)]
    turned = matmul(back, g[1])
    check_phase(turned.diagonal(0, -2, -1),  # type: ignore[attr-defined]
                "linalg_eigh_backward", "eigenvectors")
    skew = (turned - adjoint_of(turned)) * 0.5
    inner = skew / gaps(values) * off_diagonal(values._a.shape[-1]) + scaled_diagonal(g[0])
    return [matmul(vectors, matmul(inner, back))]


EIGH = matrix_op("linalg_eigh", _eigh_forward, joint=_eigh_grad, params=("UPLO", "vectors"),
                 multiple=True)


def _hermitian(t: Tensor, UPLO: str, vectors: bool) -> tuple:
    check_matrix("linalg.eigh", t, kernel="linalg_eigh_cpu")
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return apply(EIGH, (t,), {"UPLO": UPLO.upper(), "vectors": vectors or wanted(t)})


@public("linalg", out=True)
def eigh(input: Tensor, UPLO: str = "L") -> Any:
    """The eigenvalues, rising, and eigenvectors of symmetric (Hermitian) matrices.

    ``UPLO`` ("L" or "U") names the triangle that is read.

    >>> import flambeau as torch
    >>> torch.linalg.eigh(torch.tensor([[2., 0.], [0., 1.]])).eigenvalues
    tensor([1., 2.])
    """
    return return_types.ALL["linalg_eigh"](_hermitian(input, UPLO, True))


@public("linalg", out=True)
def eigvalsh(input: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues, rising, of symmetric (Hermitian) matrices."""
    return _hermitian(input, UPLO, False)[0]


def _eig_forward(a: ndarray, vectors: bool) -> tuple:
    if a.size and not np.isfinite(a).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    held = C64 if a.dtype.itemsize == 4 or a.dtype == C64 else C128
    if not vectors:
        return np.linalg.eigvals(a).astype(held), np.empty(0, held)
    values, found = np.linalg.eig(a)
    return values.astype(held), found.astype(held)


def _eig_grad(g: Any, input: Tensor, out: Any) -> list:
    values, vectors = out
    back = adjoint_of(vectors)
    inner = scaled_diagonal(g[0])
    if not is_zero(g[1]):
        turned = matmul(back, g[1])
        diagonal = turned.diagonal(0, -2, -1)  # type: ignore[attr-defined]
        check_phase(diagonal, "linalg_eig_backward", "eigenvectors")
        loss = turned - matmul(back, vectors) * diagonal.real.unsqueeze(-2)
        inner = inner + loss / gaps(values).conj() * off_diagonal(values._a.shape[-1])
    found = solved(back, matmul(inner, back))
    return [found if input._a.dtype.kind == "c" else found.real]


EIG = matrix_op("linalg_eig", _eig_forward, joint=_eig_grad, multiple=True, params=("vectors",))


def _general(t: Tensor, vectors: bool) -> tuple:
    check_matrix("linalg.eig", t, kernel="linalg_eig_out_cpu")
    return apply(EIG, (t,), {"vectors": vectors or wanted(t)})


@public("linalg", out=True)
def eig(input: Tensor) -> Any:
    """The eigenvalues and eigenvectors, complex, of square matrices.

    >>> import flambeau as torch
    >>> torch.linalg.eig(torch.tensor([[0., 1.], [-1., 0.]])).eigenvalues
    tensor([0.+1.j, 0.-1.j])
    """
    return return_types.ALL["linalg_eig"](_general(input, True))


@public("linalg", out=True)
def eigvals(input: Tensor) -> Tensor:
    """The eigenvalues, complex, of square matrices."""
    return _general(input, False)[0]


__all__ = ["EIG", "EIGH", "check_phase", "eig", "eigh", "eigvals", "eigvalsh", "gaps",
           "off_diagonal", "scaled_diagonal", "wanted"]
