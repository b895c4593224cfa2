"""Singular values and eigenvalues, and the norms, ranks and functions of matrices they give."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY, dtype
from flambeau.base.shapes import wrap_dim
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast
from flambeau.ops.deviation import vector_norm
from flambeau.ops.linalg import (
    LinAlgError,
    adjoint_of,
    check_matrix,
    gaps,
    inv,
    matrix_op,
    scaled_diagonal,
    solve,
)
from flambeau.ops.matmul import matmul

ndarray = np.ndarray
INF = float("inf")


def _svd_forward(a: ndarray, full: bool) -> tuple:
    try:
        u, s, vh = np.linalg.svd(a, full_matrices=full)
    except np.linalg.LinAlgError:
        raise LinAlgError("linalg.svd: The algorithm failed to converge because the input matrix "
                          "is ill-conditioned or has too many repeated singular values") from None
    return u, s, vh


def _skew(x: Tensor) -> Tensor:
    return x - adjoint_of(x)


def _nothing(g: Tensor) -> bool:
    return g._node is None and type(g._a) is ndarray and not g._a.any()


def _projected(g: Tensor, q: Tensor) -> Tensor:
    """``g`` without its part in the columns of ``q``."""
    return g - matmul(q, matmul(adjoint_of(q), g))


def _svd_grad(g: Any, input: Tensor, out: Any, full: bool) -> list:
    (gu, gs, gvh), (u, s, vh) = g, out
    m, n = input._a.shape[-2:]
    k = s._a.shape[-1]
    if full:
        u, gu = u.narrow(-1, 0, k), gu.narrow(-1, 0, k)  # type: ignore[attr-defined]
        vh, gvh = vh.narrow(-2, 0, k), gvh.narrow(-2, 0, k)  # type: ignore[attr-defined]
    if _nothing(gu) and _nothing(gvh):  # equal singular values do no harm then
        return [matmul(u * gs.unsqueeze(-2), vh)]
    turn_u = matmul(adjoint_of(u), gu)
    turn_v = matmul(vh, adjoint_of(gvh))
    square = s * s
    e = gaps(square)
    off = wrap(~np.eye(k, dtype=bool))
    inner = (_skew(turn_u) / e * off * s.unsqueeze(-2)
             + s.unsqueeze(-1) * (_skew(turn_v) / e * off))
    middle = inner + scaled_diagonal(gs)
    if input._a.dtype.kind == "c":
        phase = turn_u.diagonal(0, -2, -1).imag / s  # type: ignore[attr-defined]
        middle = middle + scaled_diagonal(FACES["torch"]["complex"](phase * 0, phase))
    found = matmul(u, matmul(middle, vh))
    if m > k:
        found = found + matmul(_projected(gu, u) / s.unsqueeze(-2), vh)
    if n > k:
        rest = _projected(adjoint_of(gvh), adjoint_of(vh))
        found = found + matmul(u, adjoint_of(rest / s.unsqueeze(-2)))
    return [found]


SVD = matrix_op("linalg_svd", _svd_forward, joint=_svd_grad, params=("full",), multiple=True)


@public("linalg", out=True)
def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> Any:
    """U, S and Vh with A = U diag(S) Vh; S is not negative and falls."""
    check_matrix("linalg.svd", A, square=False)
    found = apply(SVD, (A,), {"full": full_matrices})
    return return_types.ALL["linalg_svd"](found)


@public("linalg", out=True)
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, falling."""
    check_matrix("linalg.svdvals", A, square=False)
    return apply(SVD, (A,), {"full": False})[1]


@public("torch", "Tensor", name="svd", out=True)
def old_svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> Any:
    """U, S and V with input = U diag(S) V^H; zeros for U and V where not ``compute_uv``."""
    u, s, vh = svd(input, not some)
    v = adjoint_of(vh)
    if not compute_uv:
        u, v = u.detach() * 0, v.detach() * 0
    return return_types.ALL["svd"]((u, s, v))


def _eig_forward(a: ndarray) -> tuple:
    values, vectors = np.linalg.eig(a)
    held = np.complex64 if a.dtype.itemsize == 4 or a.dtype == np.complex64 else np.complex128
    return values.astype(held), vectors.astype(held)


def _eig_grad(g: Any, out: Any) -> list:
    values, vectors = out
    back = adjoint_of(vectors)
    turned = matmul(back, g[1])
    loss = turned.diagonal(0, -2, -1).real  # type: ignore[attr-defined]
    off = wrap(~np.eye(values._a.shape[-1], dtype=bool))
    inner = turned - matmul(back, vectors) * loss.unsqueeze(-2)
    inner = inner / gaps(values).conj() * off + scaled_diagonal(g[0])
    return [solve(back, matmul(inner, back))]


EIG = matrix_op("linalg_eig", _eig_forward, joint=_eig_grad, multiple=True)


@public("linalg", out=True)
def eig(A: Tensor) -> Any:
    """The eigenvalues and eigenvectors, complex, of square matrices."""
    check_matrix("linalg.eig", A)
    return return_types.ALL["linalg_eig"](apply(EIG, (A,)))


@public("linalg", out=True)
def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues, complex, of square matrices."""
    check_matrix("linalg.eigvals", A)
    return apply(EIG, (A,))[0]


def _two_dims(A: Tensor, dim: Any) -> tuple[int, int]:
    first, second = (wrap_dim(d, A._a.ndim) for d in dim)
    if first == second:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    return first, second


@public("linalg", out=True)
def matrix_norm(A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *,
                dtype: dtype | None = None) -> Tensor:
    """The norm of matrices over two dimensions: "fro", "nuc", inf, -inf, 1, -1, 2 or -2."""
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError("linalg.matrix_norm: dim must be a 2-tuple. Got "
                           f"{dim if isinstance(dim, int) else ' '.join(map(str, dim))}")
    if A._a.ndim < 2:
        raise RuntimeError("linalg.matrix_norm: The input tensor A must have at least 2 "
                           "dimensions.")
    held = FROM_NUMPY[A._a.dtype]
    if held.category < 2:
        raise RuntimeError("linalg.matrix_norm: Expected a floating point or complex tensor as "
                           f"input. Got {held.title}")
    first, second = _two_dims(A, dim)
    if dtype is not None:
        A = cast(A, dtype)
    if ord == "fro":
        return vector_norm(A, 2, (first, second), keepdim)
    if ord == "nuc" or ord in (2, -2):
        return _spectral_norm(A, ord, first, second, keepdim)
    if ord not in (1, -1, INF, -INF):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported." if not isinstance(
            ord, str) else f"linalg.matrix_norm: Order {ord} not supported.")
    if abs(ord) == INF:
        first, second = second, first
    sums = vector_norm(A, 1, (first,), keepdim)
    at = second if keepdim or second < first else second - 1
    if ord > 0 and not sums._a.shape[at]:
        return sums.sum(at, keepdim)
    return sums.amax(at, keepdim) if ord > 0 else sums.amin(  # type: ignore[attr-defined]
        at, keepdim)


def _spectral_norm(A: Tensor, ord: Any, first: int, second: int, keepdim: bool) -> Tensor:
    rank = A._a.ndim
    rest = [i for i in range(rank) if i not in (first, second)]
    if A._a.dtype.itemsize < 4 or A._a.dtype.kind == "V":
        raise RuntimeError("linalg.svd: Low precision dtypes not supported. Got "
                           f"{FROM_NUMPY[A._a.dtype].title}")
    s = svdvals(A.permute([*rest, first, second]))  # type: ignore[attr-defined]
    if ord == "nuc" or ord > 0 and not s._a.shape[-1]:
        found = s.sum(-1)
    else:
        found = s.amax(-1) if ord > 0 else s.amin(-1)  # type: ignore[attr-defined]
    for d in sorted((first, second)) if keepdim else ():
        found = found.unsqueeze(d)
    return found


@public("linalg", name="norm", out=True)
def linalg_norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *,
                dtype: dtype | None = None) -> Tensor:
    """A vector norm over one dimension, or a matrix norm over two (of strings: always)."""
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    pair = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if dim is not None and not isinstance(dim, int) and len(dim) > 2:
        raise RuntimeError("linalg.norm: If dim is specified, it must be of length 1 or 2. Got "
                           f"[{', '.join(map(str, dim))}]")
    if dim is None and A._a.ndim not in (1, 2):
        raise RuntimeError("linalg.norm: If dim is not specified but ord is, the input must be 1D "
                           f"or 2D. Got {A._a.ndim}D.")
    if isinstance(ord, str) or pair or dim is None and A._a.ndim == 2:
        if dim is not None and not pair:
            dim = (dim,) if isinstance(dim, int) else dim
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(A, ord, dim, keepdim, dtype=dtype)


@public("linalg", out=True)
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number with respect to inversion, in the norm ``p`` (2 if not given)."""
    if A._a.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor A must have at least 2 dimensions.")
    if p is None or p in (2, -2):
        s = svdvals(A)
        top, low = s.select(-1, 0), s.select(-1, -1)  # type: ignore[attr-defined]
        return low / top if p == -2 else top / low
    check_matrix("linalg.cond", A)
    if p not in ("fro", "nuc", 1, -1, INF, -INF):
        raise RuntimeError(f"linalg.cond: got unsupported norm type {p}")
    if p == "nuc":
        s = svdvals(A)
        return s.sum(-1) * s.reciprocal().sum(-1)  # type: ignore[attr-defined]
    return matrix_norm(A, p) * matrix_norm(inv(A), p)


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


@public("linalg", out=True)
def matrix_rank(A: Tensor, tol: Any = None, *, atol: Any = None, rtol: Any = None,
                hermitian: bool = False) -> Tensor:
    """The number of singular values above max(``atol``, ``rtol`` times the greatest)."""
    check_matrix("linalg.matrix_rank", A, square=hermitian)
    m, n = A._a.shape[-2:]
    if not m or not n:
        return wrap(np.zeros(A._a.shape[:-2], np.int64))
    plain = A.detach()
    s = FACES["linalg"]["eigvalsh"](plain).abs() if hermitian else svdvals(plain)
    if tol is not None:
        limit = _lifted(tol)
        if not isinstance(limit, Tensor):
            limit = wrap(np.asarray(limit, s._a.dtype))
    else:
        limit = _cutoff(s, atol, rtol, m, n)
    return s.gt(limit).sum(-1)


@public("linalg", out=True)
def pinv(A: Tensor, rcond: Any = None, *, atol: Any = None, rtol: Any = None,
         hermitian: bool = False) -> Tensor:
    """The Moore-Penrose inverse; singular values up to max(atol, rtol * greatest) count as 0."""
    check_matrix("linalg.pinv", A, square=hermitian)
    m, n = A._a.shape[-2:]
    if not m or not n:
        return adjoint_of(A) * 1
    rtol = rcond if rtol is None else rtol
    if hermitian:
        values, vectors = FACES["linalg"]["eigh"](A)
        size = values.abs()
        gone = size.detach().le(_cutoff(size.detach(), atol, rtol, m, n))
        scale = values.reciprocal().masked_fill(gone, 0)
        return matmul(vectors * scale.unsqueeze(-2), adjoint_of(vectors))
    return apply(PINV, (A,), {"limits": (atol, rtol)})


def _pinv_forward(a: ndarray, limits: tuple) -> ndarray:
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    atol, rtol = limits
    limit = _cutoff(wrap(s), atol, rtol, *a.shape[-2:])._a
    scale = np.divide(1, s, where=s > limit, out=np.zeros_like(s))
    found = (u * scale[..., None, :]) @ vh
    return np.ascontiguousarray(np.swapaxes(found, -2, -1).conj())


def _pinv_grad(g: Tensor, input: Tensor, out: Tensor) -> Tensor:
    gh, ph = adjoint_of(g), adjoint_of(out)
    first = matmul(ph, matmul(g, ph)).neg()
    left = matmul(ph, matmul(out, gh))
    right = matmul(gh, matmul(out, ph))
    # the parts outside the ranges of A and of its adjoint
    outside_left = right - matmul(input, matmul(out, right))
    outside_right = left - matmul(matmul(left, out), input)
    return first + outside_left + outside_right


PINV = matrix_op("linalg_pinv", _pinv_forward, grads=(_pinv_grad,), params=("limits",),
                 node="Pinverse")


@public("torch", "Tensor")
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse."""
    return pinv(input, rtol=rcond)


@public("linalg", "torch", "Tensor", out=True)
def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied by itself n times; the inverse's power where n is negative."""
    check_power(A)
    if n < 0:
        A, n = inv(A), -n
    if n == 0:
        eye = wrap(np.eye(A._a.shape[-1], dtype=A._a.dtype))
        return A.masked_fill(wrap(np.array(True)), 0) + eye  # type: ignore[attr-defined]
    found = None
    while n:
        if n & 1:
            found = A if found is None else matmul(found, A)
        n >>= 1
        if n:
            A = matmul(A, A)
    assert found is not None
    return found.clone() if found is A else found


def check_power(A: Tensor) -> None:
    """Raise where ``A`` holds no square matrices."""
    if A._a.ndim < 2:
        raise RuntimeError("linalg.matrix_power: The input tensor A must have at least 2 "
                           "dimensions.")
    if A._a.shape[-1] != A._a.shape[-2]:
        raise RuntimeError("linalg.matrix_power: A must be batches of square matrices, but they "
                           f"are {A._a.shape[-2]} by {A._a.shape[-1]} matrices")


def _exp_forward(a: ndarray) -> ndarray:
    """Scaling and squaring of a Taylor sum of degree 18."""
    if not a.size:
        return np.array(a)
    size = float(np.abs(a).sum(-2).max())
    if not np.isfinite(size):
        return np.full_like(a, np.nan)
    wide = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    squarings = max(0, int(np.ceil(np.log2(size))) + 1) if size > 0.5 else 0
    x = wide / 2.0**squarings
    eye = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    total = eye.astype(wide.dtype)
    for k in range(18, 0, -1):
        total = eye + x @ total / k
    for _ in range(squarings):
        total = total @ total
    return total.astype(a.dtype)


def _exp_grad(g: Tensor, input: Tensor) -> Tensor:
    """The upper right block of the exponential of [[A^H, g], [0, A^H]]."""
    n = input._a.shape[-1]
    back = adjoint_of(input)
    cat = FACES["torch"]["cat"]
    rows = cat([cat([back, g], -1), cat([back * 0, back], -1)], -2)
    return matrix_exp(rows).narrow(-2, 0, n).narrow(-1, n, n)  # type: ignore[attr-defined]


MATRIX_EXP = matrix_op("linalg_matrix_exp", _exp_forward, grads=(_exp_grad,))


@public("linalg", "torch", "Tensor")
def matrix_exp(A: Tensor) -> Tensor:
    """The exponential of square matrices."""
    held = FROM_NUMPY[A._a.dtype]
    if held.category < 2 or A._a.ndim < 2:
        raise RuntimeError("linalg.matrix_exp: Expected a floating point or complex tensor as "
                           f"input. Got {held.title}" if A._a.ndim > 1 else
                           "linalg.matrix_exp: The input tensor A must have at least 2 dimensions.")
    if A._a.shape[-1] != A._a.shape[-2]:
        raise RuntimeError("linalg.matrix_exp: A must be batches of square matrices, but they are "
                           f"{A._a.shape[-2]} by {A._a.shape[-1]} matrices")
    return apply(MATRIX_EXP, (A,))


@public("linalg", out=True)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The dot products along ``dim``, the first conjugated."""
    if x._a.dtype.kind == "c":
        x = x.conj()  # type: ignore[attr-defined]
    return (x * y).sum(dim)


@public("linalg")
def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Rows of the powers 0 to N-1 of each element."""
    x = x if x._a.ndim else x.reshape(1)  # type: ignore[attr-defined]
    count = x._a.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    ones = x.unsqueeze(-1) * 0 + 1
    powers = x.unsqueeze(-1).expand(*x._a.shape, count - 1).cumprod(-1)
    return FACES["torch"]["cat"]([ones.to(powers.dtype), powers], -1)


__all__ = ["PINV", "SVD", "cond", "eig", "eigvals", "matrix_exp", "matrix_norm", "matrix_power",
           "matrix_rank", "pinv", "svd", "svdvals", "vander", "vecdot"]
