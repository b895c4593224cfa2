"""The leading singular values of large matrices, from products with a few random vectors.

N. Halko, P.-G. Martinsson, J. Tropp: Finding structure with randomness, SIAM Review 53 (2011).
"""

from __future__ import annotations

from typing import Any

from flambeau.base import dtypes
from flambeau.core.face import FACES, public
from flambeau.core.tensor import Tensor
from flambeau.ops.linalg import adjoint_of
from flambeau.ops.matmul import matmul
from flambeau.ops.qr import qr
from flambeau.ops.random import randn
from flambeau.ops.shape import broadcast_to
from flambeau.ops.spectral import svd


def _basis(A: Any, q: int, niter: int, M: Tensor | None) -> Tensor:
    """Orthonormal columns that nearly span the range of A - M: a random start, then powers."""
    held = A.dtype if A.dtype.category >= 2 else dtypes.float32
    away = A if M is None else A - M
    start = randn(A._a.shape[-1], q, dtype=held)
    q_columns = qr(matmul(away, start)).Q
    back = adjoint_of(away)
    for _ in range(niter):
        q_columns = qr(matmul(back, q_columns)).Q
        q_columns = qr(matmul(away, q_columns)).Q
    return q_columns


def _decomposed(A: Any, q: int, niter: int, M: Tensor | None) -> tuple:
    m, n = A._a.shape[-2:]
    if M is not None:
        M = broadcast_to(M, A._a.shape)
    wide = m < n
    if wide:
        A, M = adjoint_of(A), None if M is None else adjoint_of(M)
    columns = _basis(A, q, niter, M)
    back = adjoint_of(columns)
    small = matmul(back, A)
    if M is not None:
        small = small - matmul(back, M)
    u, s, vh = svd(small, full_matrices=False)
    u, v = matmul(columns, u), adjoint_of(vh)
    return (v, s, u) if wide else (u, s, v)


@public("torch")
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2,
                M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """U, S and V with A - M close to U diag(S) V^H, of rank ``q``, by ``niter`` iterations.

    >>> import flambeau as torch
    >>> U, S, V = torch.svd_lowrank(torch.ones(4, 3), q=1)
    >>> S.shape, V.shape
    (torch.Size([1]), torch.Size([3, 1]))
    """
    return _decomposed(A, 6 if q is None else q, 2 if niter is None else niter, M)


@public("torch")
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True,
                niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Principal components: ``svd_lowrank`` of A with the means of its columns taken off.

    >>> import flambeau as torch
    >>> U, S, V = torch.pca_lowrank(torch.eye(5), q=2)
    >>> U.shape
    torch.Size([5, 2])
    """
    m, n = A._a.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)="
                         f"{min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if center:
        means: Any = FACES["torch"]["mean"](A, (-2,), True)
        A = A - means
    return _decomposed(A, q, niter, None)


__all__ = ["pca_lowrank", "svd_lowrank"]
