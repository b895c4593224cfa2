"""Linear algebra: determinants, inverses, solving, and the decompositions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import broadcast
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public, show
from flambeau.core.kinds import opaque
from flambeau.core.levels import front
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.matmul import matmul
from flambeau.ops.shape import transpose

ndarray = np.ndarray
I32 = np.dtype(np.int32)


class LinAlgError(RuntimeError):
    """A matrix that cannot be inverted or decomposed."""


FACES.setdefault("linalg", {})["LinAlgError"] = LinAlgError


def adjoint_of(t: Tensor) -> Tensor:
    """Matrices transposed and conjugated."""
    return conj_of(transpose(t, -2, -1))


def _batch(op: Op, inputs: Any, dims: Any, **params: Any) -> tuple:
    rank = max(t._a.ndim - (d is not None) for t, d in zip(inputs, dims) if t is not None)
    return apply(op, [front(t, d, rank) for t, d in zip(inputs, dims)], params), 0


def matrix_op(name: str, forward: Callable, **rules: Any) -> Op:
    """Declare an operator on the last two dimensions of its inputs."""
    rules.setdefault("batch", _batch)
    rules.setdefault("node", name.title().replace("_", ""))
    return opaque(name, forward, **rules)


def check_matrix(name: str, t: Any, square: bool = True) -> None:
    """Raise where ``t`` is no (square) matrix of floating or complex numbers."""
    if not isinstance(t, Tensor):
        raise TypeError(f"{name}(): argument 'A' (position 1) must be Tensor, not "
                        f"{type(t).__name__}")
    a = t._a
    if a.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if square and a.shape[-1] != a.shape[-2]:
        raise RuntimeError(f"{name}: A must be batches of square matrices, but they are "
                           f"{a.shape[-2]} by {a.shape[-1]} matrices")
    held = FROM_NUMPY[a.dtype]
    if held.category < 2:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got "
                           f"{held.title}")
    if held.itemsize < 4:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {held.title}")


def column(t: Tensor) -> Tensor:
    """A number per matrix, shaped to scale the matrices."""
    return t.unsqueeze(-1).unsqueeze(-1)


def _det_grad(g: Tensor, input: Tensor, out: Tensor) -> Tensor:
    a = input._a
    if type(a) is ndarray and a.size and not _regular(a):
        return _adjugate_grad(g, input)
    return column(g * conj_of(out)) * adjoint_of(inv(input))


def _regular(a: ndarray) -> bool:
    s = np.linalg.svd(a, compute_uv=False)
    return bool((s[..., -1] > s[..., 0] * np.finfo(a.dtype).eps * a.shape[-1]).all())


def _adjugate_grad(g: Tensor, input: Tensor) -> Tensor:
    """The gradient of the determinant of a singular matrix, from its singular values."""
    u, s, vh = np.linalg.svd(input._a)
    n = s.shape[-1]
    rest = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1)
    phase = np.linalg.det(u) * np.linalg.det(vh)
    adjugate = (u * rest[..., None, :]) @ vh * np.conj(phase)[..., None, None]
    return column(g) * wrap(adjugate.astype(input._a.dtype, copy=False))


DET = matrix_op("linalg_det", lambda a: np.asarray(np.linalg.det(a), a.dtype), grads=(_det_grad,))


@public("torch", "Tensor", "linalg", out=True)
def det(A: Tensor) -> Tensor:
    """The determinants of square matrices.

    >>> import flambeau as torch
    >>> torch.linalg.det(torch.tensor([[2., 0.], [0., 3.]]))
    tensor(6.)
    """
    check_matrix("linalg.det", A)
    return apply(DET, (A,))


def _slogdet_forward(a: ndarray) -> tuple:
    sign, size = np.linalg.slogdet(a)
    return np.asarray(sign, a.dtype), np.asarray(size, a.real.dtype)


def _slogdet_grad(g: Any, input: Tensor, out: Any) -> list:
    scale = g[1]
    if input._a.dtype.kind == "c":
        turn = (conj_of(g[0]) * out[0]).imag
        scale = FACES["torch"]["complex"](scale, turn.neg())
    return [column(scale) * adjoint_of(inv(input))]


SLOGDET = matrix_op("linalg_slogdet", _slogdet_forward, joint=_slogdet_grad, multiple=True)


def _slogdet(A: Tensor) -> tuple:
    check_matrix("linalg.slogdet", A)
    return apply(SLOGDET, (A,))


@public("linalg", name="slogdet", out=True)
def linalg_slogdet(A: Tensor) -> Any:
    """The sign and the logarithm of the size of determinants."""
    return return_types.ALL["linalg_slogdet"](_slogdet(A))


@public("torch", "Tensor", out=True)
def slogdet(input: Tensor) -> Any:
    """The sign and the logarithm of the size of determinants."""
    return return_types.ALL["slogdet"](_slogdet(input))


@public("torch", "Tensor")
def logdet(input: Tensor) -> Tensor:
    """The logarithm of determinants; NaN where they are negative."""
    check_matrix("logdet", input)
    sign, size = apply(SLOGDET, (input,))
    if sign._a.dtype.kind == "c":
        return sign.log() + size
    return size.masked_fill(sign.detach().lt(0), float("nan"))


def _first_zero(a: ndarray) -> tuple[int, int]:
    """The batch and the (1-based) pivot at which Gauss's elimination of ``a`` breaks down."""
    flat = a.reshape(-1, *a.shape[-2:])
    for at, matrix in enumerate(flat):
        m = matrix.copy()
        for k in range(len(m)):
            p = k + int(np.argmax(np.abs(m[k:, k])))
            if m[p, k] == 0:
                return at, k + 1
            m[[k, p]] = m[[p, k]]
            m[k + 1:] -= np.outer(m[k + 1:, k] / m[k, k], m[k])
    return 0, len(flat[0])


def _inv_forward(a: ndarray) -> ndarray:
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        at, pivot = _first_zero(a)
        batch = f"(Batch element {at}): " if a.ndim > 2 else ""
        raise LinAlgError(f"linalg.inv: {batch}The diagonal element {pivot} is zero, the inversion "
                          "could not be completed because the input matrix is singular.") from None


def _inv_grad(g: Tensor, out: Tensor) -> Tensor:
    back = adjoint_of(out)
    return matmul(matmul(back, g), back).neg()


INV = matrix_op("linalg_inv", _inv_forward, grads=(_inv_grad,), node="LinalgInvEx")


@public("linalg", out=True)
def inv(A: Tensor) -> Tensor:
    """The inverses of square matrices; LinAlgError where one is singular.

    >>> import flambeau as torch
    >>> torch.linalg.inv(torch.tensor([[2., 0.], [0., 4.]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    check_matrix("linalg.inv", A)
    return apply(INV, (A,))


show(inv, "inverse", "torch", "Tensor")


def _info(shape: tuple[int, ...]) -> Tensor:
    return wrap(np.zeros(shape, I32))


@public("linalg", out=True)
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """The inverses, and per matrix 0 (LinAlgError is raised where one is singular)."""
    check_matrix("linalg.inv_ex", A)
    return return_types.ALL["linalg_inv_ex"]((apply(INV, (A,)), _info(A._a.shape[:-2])))


def is_vector(a: Any, b: Any) -> bool:
    """Whether ``b`` holds one right-hand side per matrix of ``a``, as PyTorch decides."""
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])


def _solve_forward(a: ndarray, b: ndarray) -> ndarray:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        at = _first_zero(a)[0]
        batch = f"(Batch element {at}): " if a.ndim > 2 else ""
        raise LinAlgError(f"torch.linalg.solve: {batch}The solver failed because the input matrix "
                          "is singular.") from None


def _solve_left(g: Tensor, A: Tensor, out: Tensor) -> Tensor:
    back = apply(SOLVE, (adjoint_of(A), g))
    return matmul(back, adjoint_of(out)).neg()


SOLVE = matrix_op("linalg_solve", _solve_forward, inputs=("A", "B"), node="LinalgSolveEx",
                  grads=(_solve_left, lambda g, A: apply(SOLVE, (adjoint_of(A), g))))


def _solved(A: Tensor, B: Tensor, left: bool, name: str) -> Tensor:
    check_matrix(name, A)
    a, b = A._a, B._a
    if a.dtype != b.dtype:
        raise RuntimeError(f"{name}: Expected A and B to have the same dtype, but found A of type "
                           f"{FROM_NUMPY[a.dtype].title} and B of type "
                           f"{FROM_NUMPY[b.dtype].title} instead")
    vector = is_vector(a, b)
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not "
                           "supported for left=False. In this case linalg.solve is equivalent to "
                           "B / A.squeeze(-1)")
    if vector:
        B = B.unsqueeze(-1)
    side = B._a.shape[-2] if left else B._a.shape[-1]
    if side != a.shape[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation "
                           f"{'AX = B' if left else 'XA = B'} ({a.shape[-2]}x{a.shape[-1]} and "
                           f"{B._a.shape[-2]}x{B._a.shape[-1]})")
    broadcast(a.shape[:-2], B._a.shape[:-2])
    if left:
        found = apply(SOLVE, (A, B))
        return found.squeeze(-1) if vector else found
    return transpose(apply(SOLVE, (transpose(A, -2, -1), transpose(B, -2, -1))), -2, -1)


@public("linalg", out=True)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (X A = B where not ``left``); LinAlgError where A is singular."""
    return _solved(A, B, left, "linalg.solve")


@public("linalg", out=True)
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """X with A X = B, and per matrix 0 (LinAlgError is raised where one is singular)."""
    found = _solved(A, B, left, "linalg.solve")
    return return_types.ALL["linalg_solve_ex"]((found, _info(A._a.shape[:-2])))


def _cholesky_forward(a: ndarray, upper: bool) -> ndarray:
    lower = np.swapaxes(a, -2, -1).conj() if upper else a
    try:
        found = np.linalg.cholesky(lower)
    except np.linalg.LinAlgError:
        raise _not_positive(lower) from None
    return np.swapaxes(found, -2, -1).conj() if upper else found


def _not_positive(a: ndarray) -> LinAlgError:
    flat = a.reshape(-1, *a.shape[-2:])
    for at, m in enumerate(flat):
        for k in range(1, len(m) + 1):
            try:
                np.linalg.cholesky(m[:k, :k])
            except np.linalg.LinAlgError:
                batch = f"(Batch element {at}): " if a.ndim > 2 else ""
                return LinAlgError(f"linalg.cholesky: {batch}The factorization could not be "
                                   "completed because the input is not positive-definite (the "
                                   f"leading minor of order {k} is not positive-definite).")
    return LinAlgError("linalg.cholesky: The factorization could not be completed.")


def _halved(t: Tensor) -> Tensor:
    """The lower triangle, its diagonal halved."""
    n = t._a.shape[-1]
    mask = np.tril(np.ones((n, n), t._a.real.dtype if type(t._a) is ndarray else t._a.dtype))
    np.fill_diagonal(mask, 0.5)
    return t * wrap(mask)


def _cholesky_grad(g: Tensor, out: Tensor, upper: bool) -> Tensor:
    if upper:
        g, out = adjoint_of(g), adjoint_of(out)
    middle = _halved(matmul(adjoint_of(out), g))
    back = inv(out)
    found = matmul(adjoint_of(back), matmul(middle + adjoint_of(middle), back))
    return (found + adjoint_of(found)) * 0.25


CHOLESKY = matrix_op("linalg_cholesky", _cholesky_forward, grads=(_cholesky_grad,),
                     params=("upper",), node="LinalgCholeskyEx")


@public("linalg", out=True)
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The triangular L with L L^H = A, of positive-definite matrices (or L^H where ``upper``)."""
    check_matrix("linalg.cholesky", A)
    return apply(CHOLESKY, (A,), {"upper": upper})


@public("linalg", out=True)
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> Any:
    """Cholesky's factor, and per matrix 0 (LinAlgError is raised where there is none)."""
    check_matrix("linalg.cholesky_ex", A)
    found = apply(CHOLESKY, (A,), {"upper": upper})
    return return_types.ALL["linalg_cholesky_ex"]((found, _info(A._a.shape[:-2])))


@public("torch", "Tensor", name="cholesky", out=True)
def old_cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """Cholesky's factor of positive-definite matrices."""
    return cholesky(input, upper=upper)


def _qr_forward(a: ndarray, mode: str) -> tuple:
    if mode == "r":
        r = np.linalg.qr(a, "r")
        return np.zeros((0,), a.dtype), r
    q, r = np.linalg.qr(a, mode)
    return q, r


def _symmetric(x: Tensor) -> Tensor:
    """X + X^H with the diagonal counted once and real."""
    eye = wrap(np.eye(x._a.shape[-1], dtype=bool))
    whole = x + adjoint_of(x)
    return whole - (whole * 0.5) * eye


def _qr_square(gq: Tensor, gr: Tensor, q: Tensor, r: Tensor) -> Tensor:
    middle = matmul(gr, adjoint_of(r)) - matmul(adjoint_of(q), gq)
    inner = gq + matmul(q, _symmetric(middle.triu()))  # type: ignore[attr-defined]
    return adjoint_of(apply(SOLVE, (r, adjoint_of(inner))))


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


@public("linalg", name="qr", out=True)
def qr(A: Tensor, mode: str = "reduced") -> Any:
    """Q with orthonormal columns and R upper triangular, Q R = A; "reduced", "complete", "r"."""
    check_matrix("linalg.qr", A, square=False)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' "
                           "(default), 'r', or 'complete'")
    return return_types.ALL["linalg_qr"](apply(QR, (A,), {"mode": mode}))


@public("torch", "Tensor", name="qr", out=True)
def old_qr(input: Tensor, some: bool = True) -> Any:
    """Q with orthonormal columns and R upper triangular, Q R = input."""
    return return_types.ALL["qr"](tuple(qr(input, "reduced" if some else "complete")))


def _eigh_forward(a: ndarray, UPLO: str) -> tuple:
    values, vectors = np.linalg.eigh(a, UPLO)
    return values, vectors


def gaps(values: Tensor) -> Tensor:
    """E[j, k] = values[k] - values[j], with ones on the diagonal."""
    e = values.unsqueeze(-2) - values.unsqueeze(-1)
    return e + wrap(np.eye(values._a.shape[-1], dtype=bool))


def scaled_diagonal(t: Tensor) -> Tensor:
    """Matrices with ``t`` on the diagonal."""
    return t.unsqueeze(-1) * wrap(np.eye(t._a.shape[-1], dtype=bool))


def _eigh_grad(g: Any, out: Any) -> list:
    values, vectors = out
    back = adjoint_of(vectors)
    n = values._a.shape[-1]
    off = wrap(~np.eye(n, dtype=bool))
    inner = matmul(back, g[1]) / gaps(values) * off + scaled_diagonal(g[0])
    return [matmul(vectors, matmul(inner, back))]


EIGH = matrix_op("linalg_eigh", _eigh_forward, joint=_eigh_grad, params=("UPLO",), multiple=True)


def _uplo(UPLO: str) -> dict:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return {"UPLO": UPLO.upper()}


@public("linalg", out=True)
def eigh(A: Tensor, UPLO: str = "L") -> Any:
    """The eigenvalues, rising, and eigenvectors of symmetric (Hermitian) matrices."""
    check_matrix("linalg.eigh", A)
    return return_types.ALL["linalg_eigh"](apply(EIGH, (A,), _uplo(UPLO)))


@public("linalg", out=True)
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues, rising, of symmetric (Hermitian) matrices."""
    check_matrix("linalg.eigvalsh", A)
    return apply(EIGH, (A,), _uplo(UPLO))[0]


__all__ = ["EIGH", "INV", "LinAlgError", "QR", "SOLVE", "adjoint_of", "check_matrix", "cholesky",
           "column", "det", "eigh", "eigvalsh", "gaps", "inv", "inv_ex", "is_vector", "logdet",
           "matrix_op", "qr", "scaled_diagonal", "slogdet", "solve", "solve_ex"]
