"""Singular values, and the norms, ranks and inverses of matrices that they give."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends.lapack import LETTERS
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.eigen import (
    check_phase,
    eigh,
    eigvalsh,
    gaps,
    off_diagonal,
    scaled_diagonal,
    wanted,
)
from flambeau.ops.linalg import (
    LinAlgError,
    adjoint_of,
    check_matrix,
    check_shape,
    first_info,
    is_zero,
    matrix_op,
)
from flambeau.ops.matmul import matmul

ndarray = np.ndarray


def _svd_forward(a: ndarray, full: bool, vectors: bool) -> tuple:
    try:
        if vectors:
            return np.linalg.svd(a, full_matrices=full)
        nothing = np.empty(0, a.dtype)
        return nothing, np.linalg.svd(a, compute_uv=False), nothing
    except np.linalg.LinAlgError:
        raise _not_converged(a) from None


def _not_converged(a: ndarray) -> LinAlgError:
    bad = ~np.isfinite(a).all((-1, -2))
    at = first_info(bad.astype(int))[0] if bad.any() else ""
    reason = ("contained non-finite values." if bad.any() else
              "is ill-conditioned or has too many repeated singular values")
    return LinAlgError(f"linalg.svd: {at}The algorithm failed to converge because the input "
                       f"matrix {reason}")


def _skew(x: Any) -> Any:
    return x - adjoint_of(x)


def _projected(g: Any, q: Tensor) -> Any:
    """``g`` without its part in the columns of ``q``."""
    return g - matmul(q, matmul(adjoint_of(q), g))


def _svd_grad(g: Any, input: Tensor, out: Any, full: bool) -> list:
    (gu, gs, gvh), (u, s, vh) = g, out
    m, n = input._a.shape[-2:]
    k = s._a.shape[-1]
    if full:
        u, gu = u.narrow(-1, 0, k), gu.narrow(-1, 0, k)  # type: ignore[attr-defined]
        vh, gvh = vh.narrow(-2, 0, k), gvh.narrow(-2, 0, k)  # type: ignore[attr-defined]
    if is_zero(gu) and is_zero(gvh):  # equal singular values do no harm then
        return [matmul(u * gs.unsqueeze(-2), vh)]
    turn_u = matmul(adjoint_of(u), gu)
    turn_v = matmul(vh, adjoint_of(gvh))
    square = s * s
    e = gaps(square)
    off = off_diagonal(k)
    inner = (_skew(turn_u) / e * off * s.unsqueeze(-2)
             + s.unsqueeze(-1) * (_skew(turn_v) / e * off))
    middle = inner + scaled_diagonal(gs)
    if input._a.dtype.kind == "c":
        check_phase((turn_u + turn_v).diagonal(0, -2, -1),  # type: ignore[attr-defined]
                    "svd_backward", "singular vectors")
        phase = turn_u.diagonal(0, -2, -1).imag / s  # type: ignore[attr-defined]
        middle = middle + scaled_diagonal(FACES["torch"]["complex"](phase * 0, phase))
    found = matmul(u, matmul(middle, vh))
    if m > k:
        found = found + matmul(_projected(gu, u) / s.unsqueeze(-2), vh)
    if n > k:
        rest = _projected(adjoint_of(gvh), adjoint_of(vh))
        found = found + matmul(u, adjoint_of(rest / s.unsqueeze(-2)))
    return [found]


SVD = matrix_op("linalg_svd", _svd_forward, joint=_svd_grad, params=("full", "vectors"),
                multiple=True)


def _decomposed(A: Tensor, full: bool, vectors: bool, driver: str | None = None) -> tuple:
    check_shape("linalg.svd", A, square=False)
    if driver is not None:
        raise RuntimeError("torch.linalg.svd: keyword argument `driver=` is only supported on CUDA "
                           "inputs with cuSOLVER backend.")
    check_matrix("linalg.svd", A, square=False, kernel="linalg_svd_cpu")
    return apply(SVD, (A,), {"full": full, "vectors": vectors or wanted(A)})


@public("linalg", out=True)
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """U, S and Vh with A = U diag(S) Vh; S is not negative and falls.

    >>> import flambeau as torch
    >>> torch.linalg.svd(torch.tensor([[3., 0.], [0., -4.]])).S
    tensor([4., 3.])
    """
    return return_types.ALL["linalg_svd"](_decomposed(A, full_matrices, True, driver))


@public("linalg", out=True)
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, falling."""
    return _decomposed(A, False, False, driver)[1]


@public("torch", "Tensor", name="svd", out=True)
def old_svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """U, S and V with input = U diag(S) V^H; zeros for U and V where not ``compute_uv``."""
    if input._a.ndim < 2:
        raise RuntimeError("linalg.svd: input should have at least 2 dimensions, but has "
                           f"{input._a.ndim} dimensions instead")
    if compute_uv:
        u, s, vh = _decomposed(input, not some, True)
        return return_types.ALL["svd"]((u, s, adjoint_of(vh)))
    s = _decomposed(input, False, False)[1]
    m, n = input._a.shape[-2:]
    held = np.dtype(input._a.dtype.type)
    u, v = (wrap(np.zeros((*input._a.shape[:-2], k, k), held)) for k in (m, n))
    return return_types.ALL["svd"]((u, s, v))


def _cutoff(s: Tensor, atol: Any, rtol: Any, m: int, n: int) -> Tensor:
    """Singular values up to here count as zero."""
    top = s.amax(-1, True)  # type: ignore[attr-defined]
    eps = float(np.finfo(s._a.dtype.type).eps) * max(m, n)
    if rtol is None:
        given = atol is not None
        if isinstance(atol, Tensor):
            rtol = wrap(np.where(atol._a > 0, 0, eps).astype(s._a.dtype))
        else:
            rtol = 0.0 if given and atol > 0 else eps
    low = _lifted(0.0 if atol is None else atol)
    part = top * _lifted(rtol)
    if not isinstance(low, Tensor):
        low = wrap(np.asarray(low, s._a.dtype))
    return FACES["torch"]["maximum"](low.to(part.dtype), part)  # type: ignore[attr-defined]


def _lifted(x: Any) -> Any:
    return x.unsqueeze(-1) if isinstance(x, Tensor) else x


def _check_tolerance(name: str, **given: Any) -> None:
    for argument, t in given.items():
        if isinstance(t, Tensor) and t._a.dtype.kind == "c":
            raise RuntimeError(f"torch.linalg.{name}: {argument} tensor of complex type is not "
                               f"supported. Got {FROM_NUMPY[t._a.dtype].title}")


@public("linalg", out=True)
def matrix_rank(input: Tensor, tol: Any = None, *, atol: Any = None, rtol: Any = None,
                hermitian: bool = False) -> Tensor:
    """The number of singular values above max(``atol``, ``rtol`` times the greatest).

    >>> import flambeau as torch
    >>> torch.linalg.matrix_rank(torch.ones(3, 3))
    tensor(1)
    """
    check_shape("torch.linalg.matrix_rank", input, square=False, argument="input")
    if input._a.dtype not in LETTERS:
        raise RuntimeError("This function doesn't handle types other than float and double")
    atol, rtol = (atol, rtol) if tol is None else (tol, 0.0)
    _check_tolerance("matrix_rank", atol=atol, rtol=rtol)
    m, n = input._a.shape[-2:]
    if not m or not n:
        return wrap(np.zeros(input._a.shape[:-2], np.int64))
    plain = input.detach()
    s = eigvalsh(plain).abs() if hermitian else svdvals(plain)
    return s.gt(_cutoff(s, atol, rtol, m, n)).sum(-1)


@public("linalg", out=True)
def pinv(input: Tensor, rcond: Any = None, *, atol: Any = None, rtol: Any = None,
         hermitian: bool = False) -> Tensor:
    """The Moore-Penrose inverse; singular values up to max(atol, rtol * greatest) count as 0.

    >>> import flambeau as torch
    >>> torch.linalg.pinv(torch.tensor([[2., 0.], [0., 0.]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    if input._a.ndim < 2 or input._a.dtype not in LETTERS:
        raise RuntimeError(f"linalg.pinv({FROM_NUMPY[input._a.dtype].title}"
                           f"{{{list(input._a.shape)}}}): expected a tensor with 2 or more "
                           "dimensions of float, double, cfloat or cdouble types")
    rtol = rcond if rtol is None else rtol
    _check_tolerance("pinv", atol=atol, rtol=rtol)
    m, n = input._a.shape[-2:]
    if not m or not n:
        return adjoint_of(input).clone()  # type: ignore[attr-defined]
    if hermitian:
        values, vectors = eigh(input)
        size = values.abs()
        gone = size.detach().le(_cutoff(size.detach(), atol, rtol, m, n))
        scale = values.reciprocal().masked_fill(gone, 0)
        return matmul(vectors * scale.unsqueeze(-2), adjoint_of(vectors))
    return apply(PINV, (input,), {"limits": (atol, rtol)})


def _pinv_forward(a: ndarray, limits: tuple) -> ndarray:
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    atol, rtol = limits
    limit = _cutoff(wrap(s), atol, rtol, *a.shape[-2:])._a
    scale = np.divide(1, s, where=s > limit, out=np.zeros_like(s))
    found = (u * scale[..., None, :]) @ vh
    return np.ascontiguousarray(np.swapaxes(found, -2, -1).conj())


def pinv_grad(g: Tensor, input: Tensor, out: Tensor) -> Tensor:
    gh, ph = adjoint_of(g), adjoint_of(out)
    first = matmul(ph, matmul(g, ph)).neg()
    left = matmul(ph, matmul(out, gh))
    right = matmul(gh, matmul(out, ph))
    # the parts outside the ranges of A and of its adjoint
    outside_left = right - matmul(input, matmul(out, right))
    outside_right = left - matmul(matmul(left, out), input)
    return first + outside_left + outside_right


PINV = matrix_op("linalg_pinv", _pinv_forward, grads=(pinv_grad,), params=("limits",))


@public("torch", "Tensor")
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse."""
    return pinv(input, rtol=rcond)


__all__ = ["PINV", "SVD", "matrix_rank", "old_svd", "pinv", "pinv_grad", "svd", "svdvals"]
