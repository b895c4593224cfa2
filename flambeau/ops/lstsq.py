"""Least squares: X with A X nearest to B, and of those the smallest."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import factor
from flambeau.backends.lapack import LETTERS
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import broadcast
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.tensor import Tensor
from flambeau.ops.linalg import adjoint_of, is_vector, matrix_op
from flambeau.ops.matmul import matmul
from flambeau.ops.spectral import pinv, pinv_grad

ndarray = np.ndarray
DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def _flipped(a: ndarray) -> ndarray:
    return np.swapaxes(a, -1, -2).conj()


def _full_rank(a: ndarray, b: ndarray) -> tuple[ndarray, ndarray]:
    """By the triangle of A, or of A^H where A is wide; and that triangle."""
    n = a.shape[-1]
    if a.shape[-2] >= n:
        # Beside R, what becomes of B is Q^H B: Q itself is not needed.
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        both = [np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b)]
        whole: Any = np.linalg.qr(np.concatenate(both, -1), "r")
        whole = whole[..., :n, :]
        r = whole[..., :n]
        return factor.solve_triangular(r, whole[..., n:], True, False), r
    q, r = np.linalg.qr(_flipped(a))
    return q @ factor.solve_triangular(_flipped(r), b, False, False), r


def _is_full(r: ndarray, rcond: float) -> bool:
    """Whether all singular values of triangles count: by a bound, else by the values alone."""
    if not r.size or not np.isfinite(r).all():
        return False
    back = factor.solve_triangular(r, np.eye(r.shape[-1], dtype=r.dtype), True, False)
    bound = np.linalg.norm(r, axis=(-2, -1)) * np.linalg.norm(back, axis=(-2, -1))
    if (bound * rcond < 1).all():
        return True
    s = np.linalg.svd(r, compute_uv=False)
    return bool((s[..., -1] > rcond * s[..., 0]).all())


def _quickly(a: ndarray, b: ndarray, rcond: float) -> tuple[ndarray, ndarray, ndarray]:
    """``_any_rank``, sooner where the rank is full."""
    found, r = _full_rank(a, b)
    if not _is_full(r, rcond):
        return _any_rank(a, b, rcond)
    return found, np.full(a.shape[:-2], min(a.shape[-2:])), np.empty(0, a.real.dtype)


def _any_rank(a: ndarray, b: ndarray, rcond: float) -> tuple[ndarray, ndarray, ndarray]:
    """The solution, the rank and the singular values."""
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    kept = s > rcond * s[..., :1]
    scale = np.divide(1, s, where=kept, out=np.zeros_like(s))
    found = _flipped(vh) @ (scale[..., None] * (_flipped(u) @ b))
    return found.astype(a.dtype, copy=False), kept.sum(-1), s


def _forward(a: ndarray, b: ndarray, rcond: float, driver: str) -> tuple:
    m, n = a.shape[-2:]
    real = a.real.dtype
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    values = np.empty(0, real)
    if driver == "gels":
        found, rank = _full_rank(a, b)[0], np.empty(0, np.int64)
    else:
        a = np.broadcast_to(a, (*batch, m, n))
        solve = _quickly if driver == "gelsy" else _any_rank
        found, rank, s = solve(a, b, rcond)
        values = s if driver in ("gelsd", "gelss") else values
    rest = np.empty(0, real)
    if m > n and driver != "gelsy" and (rank == n).all():
        off = a @ found - b
        rest = (off.real**2 + off.imag**2).sum(-2)
    return found, rest, rank, values


def _grad(g: Any, needs: tuple, A: Tensor, B: Tensor, out: Any) -> list:
    solution, rest = out[0], out[1]
    back = pinv(A)
    g_back = matmul(g[0], adjoint_of(B))
    g_a = pinv_grad(g_back, A, back)
    g_b = matmul(adjoint_of(back), g[0])
    if rest._a.size:
        off = (matmul(A, solution) - B) * (2 * g[1].unsqueeze(-2))
        g_a, g_b = g_a + matmul(off, adjoint_of(solution)), g_b - off
    return [g_a, g_b]


LSTSQ = matrix_op("linalg_lstsq", _forward, inputs=("A", "B"), joint=_grad, multiple=True,
                  params=("rcond", "driver"), batch=None)


def _check(input: Tensor, b: Tensor, driver: str | None) -> bool:
    """Raise where the arguments do not fit; whether ``b`` holds vectors."""
    name = "torch.linalg.lstsq"
    if input._a.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if b._a.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if input._a.dtype != b._a.dtype:
        raise RuntimeError(f"{name}: Expected input and other to have the same dtype, but got "
                           f"input's dtype {FROM_NUMPY[input._a.dtype].title} and other's dtype "
                           f"{FROM_NUMPY[b._a.dtype].title}")
    ahead = input._a.ndim - b._a.ndim
    if ahead not in (0, 1):
        raise RuntimeError(f"{name}: input.dim() must be greater or equal to other.dim() and "
                           "(input.dim() - other.dim()) <= 1")
    vectors = is_vector(input._a, b._a)
    at = -1 if vectors else -2
    if b._a.shape[at] != input._a.shape[-2]:
        raise RuntimeError(f"{name}: input.size(-2) should match other.size({at})")
    if ahead and not vectors:
        broadcast(input._a.shape[:-2], b._a.shape[:-1])
        raise RuntimeError(f"{name}: input.size(-2) should match other.size(-1)")
    if input._a.dtype not in LETTERS:
        raise RuntimeError("This function doesn't handle types other than float and double")
    if driver is not None and driver not in DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of ({', '.join(DRIVERS)})")
    return vectors


@public("linalg", out=True)
def lstsq(input: Tensor, b: Tensor, rcond: float | None = None, *,
          driver: str | None = None) -> Any:
    """X that minimises the norm of ``input`` X - ``b``; residuals, ranks and singular values.

    Singular values up to ``rcond`` times the greatest count as zero (by default the dtype's
    epsilon times the larger side). With the driver "gels" the matrices must have full rank; "gelsd"
    and "gelss" give the singular values. Residuals, the squared norms per column, are given of tall
    matrices of full rank, but by "gelsy", the default.

    >>> import flambeau as torch
    >>> A, B = torch.tensor([[1., 0.], [1., 1.], [1., 2.]]), torch.tensor([[1.], [3.], [5.]])
    >>> torch.linalg.lstsq(A, B).solution
    tensor([[1.0000],
            [2.0000]])
    """
    vectors = _check(input, b, driver)
    right = b.unsqueeze(-1) if vectors else b
    broadcast(input._a.shape[:-2], right._a.shape[:-2])
    if rcond is not None and not isinstance(rcond, (int, float)):
        raise TypeError("linalg_lstsq(): argument 'rcond' must be float, not "
                        f"{type(rcond).__name__}")
    eps = float(np.finfo(input._a.dtype.type).eps)
    if rcond is None:
        rcond = eps * max(input._a.shape[-2:])
    params = {"rcond": eps if rcond < 0 else float(rcond), "driver": driver or "gelsy"}
    solution, rest, rank, values = apply(LSTSQ, (input, right), params)
    if vectors:
        solution = solution.squeeze(-1)
    return return_types.ALL["linalg_lstsq"]((solution, rest, rank, values.detach()))


__all__ = ["lstsq"]
