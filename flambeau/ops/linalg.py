"""Linear algebra: determinants, inverses, solving; what all operators on matrices share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import factor
from flambeau.backends.lapack import LETTERS
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import broadcast
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public, show
from flambeau.core.kinds import opaque
from flambeau.core.levels import front, tested
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.matmul import matmul
from flambeau.ops.shape import transpose

ndarray = np.ndarray
I32 = np.dtype(np.int32)


class LinAlgError(RuntimeError):
    """A matrix that cannot be inverted or decomposed."""


# What PyTorch's tracebacks call it.
LinAlgError.__name__ = LinAlgError.__qualname__ = "_LinAlgError"
show(LinAlgError, "LinAlgError", "linalg")


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


def check_matrix(name: str, t: Any, square: bool = True, kernel: str | None = None) -> None:
    """Raise where ``t`` is no (square) matrix of floating or complex numbers.

    Half types are refused too, as not implemented by ``kernel`` where that is given.
    """
    check_shape(name, t, square)
    held = FROM_NUMPY[t._a.dtype]
    if held.category < 2:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got "
                           f"{held.title}")
    if kernel is not None:
        check_lapack(kernel, t)
    elif t._a.dtype not in LETTERS:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {held.title}")


def check_shape(name: str, t: Any, square: bool = True, argument: str = "A") -> None:
    """Raise where ``t`` holds no (square) matrices."""
    if not isinstance(t, Tensor):
        raise TypeError(f"{name.removeprefix('torch.').replace('.', '_')}(): argument "
                        f"'{argument}' (position 1) must be Tensor, not {type(t).__name__}")
    shape = t._a.shape
    lead = f"{name}: " if name else ""
    if len(shape) < 2:
        raise RuntimeError(f"{lead}The input tensor {argument} must have at least 2 dimensions.")
    if square and shape[-1] != shape[-2]:
        raise RuntimeError(f"{lead}{argument} must be batches of square matrices, but they are "
                           f"{shape[-2]} by {shape[-1]} matrices")


def check_lapack(kernel: str, t: Tensor) -> None:
    """Raise where LAPACK has no routine for the dtype of ``t``."""
    if t._a.dtype not in LETTERS:
        raise NotImplementedError(f"\"{kernel}\" not implemented for "
                                  f"'{FROM_NUMPY[t._a.dtype].title}'")


def check_same(name: str, argument: str, A: Tensor, B: Tensor) -> None:
    """Raise where two matrices are of different dtypes."""
    if A._a.dtype != B._a.dtype:
        raise RuntimeError(f"{name}: Expected {argument} and B to have the same dtype, but found "
                           f"{argument} of type {FROM_NUMPY[A._a.dtype].title} and B of type "
                           f"{FROM_NUMPY[B._a.dtype].title} instead")


def check_sides(name: str, A: Tensor, B: Tensor, left: bool) -> None:
    """Raise where A X = B (X A = B where not ``left``) does not fit."""
    check_shape(name, A)
    check_shape(name, B, False, "B")
    a, b = A._a.shape, B._a.shape
    if a[-1] != b[-2 if left else -1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation "
                           f"{'AX = B' if left else 'XA = B'} ({a[-2]}x{a[-1]} and "
                           f"{b[-2]}x{b[-1]})")


def check_old_sides(name: str, A: Tensor, B: Tensor) -> None:
    """``check_sides``, and what else the older functions check and say."""
    a, b = A._a.shape, B._a.shape
    if a[-1] != a[-2]:
        check_shape("" if "." not in name else name, A)
    if a[-1] != b[-2]:
        raise RuntimeError(f"Incompatible matrix sizes for {name}: each A matrix is {a[-1]} by "
                           f"{a[-1]} but each b matrix is {b[-2]} by {b[-1]}")
    if A._a.dtype != B._a.dtype:
        raise RuntimeError("Expected b and A to have the same dtype, but found b of type "
                           f"{FROM_NUMPY[B._a.dtype].title} and A of type "
                           f"{FROM_NUMPY[A._a.dtype].title} instead.")


def first_info(info: ndarray) -> tuple[str, int]:
    """Where in the batch the first matrix failed, as errors say it, and its info."""
    flat = info.reshape(-1)
    at = int(np.flatnonzero(flat)[0])
    return f"(Batch element {at}): " if info.ndim else "", int(flat[at])


def is_zero(g: Tensor) -> bool:
    """Whether a gradient is known to be zero, to any order."""
    return g._node is None and type(g._a) is ndarray and not g._a.any()


def column(t: Tensor) -> Any:
    """A number per matrix, shaped to scale the matrices."""
    return t.unsqueeze(-1).unsqueeze(-1)


def _det_grad(g: Any, input: Any, out: Any) -> Any:
    a = tested(input, _singular)
    if a is not None and _singular(a):
        return _adjugate_grad(g, input)
    return column(g * conj_of(out)) * adjoint_of(inv(input))


def _singular(a: ndarray) -> bool:
    return a.size > 0 and not _regular(a)


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


@public("linalg", out=True)
def det(A: Tensor) -> Tensor:
    """The determinants of square matrices.

    >>> import flambeau as torch
    >>> torch.linalg.det(torch.tensor([[2., 0.], [0., 3.]]))
    tensor(6.)
    """
    check_matrix("linalg.det", A, kernel="lu_cpu")
    return apply(DET, (A,))


@public("torch", "Tensor", name="det")
def _det(input: Tensor) -> Tensor:
    """The determinants of square matrices."""
    return det(input)


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


def _by_lu(a: ndarray, b: ndarray) -> tuple[ndarray, ndarray]:
    """X with A X = B, infinite or NaN where A is singular, and infos."""
    packed, pivots, info = factor.lu(a)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    order = np.broadcast_to(factor.permutation(pivots, a.shape[-1]), (*batch, a.shape[-1]))
    rows = np.take_along_axis(np.broadcast_to(b, (*batch, *b.shape[-2:])), order[..., None], -2)
    found = factor.solve_triangular(packed, rows, False, True)
    return factor.solve_triangular(packed, found, True, False), info


def _inv_forward(a: ndarray, fails: str | None) -> tuple:
    try:
        return np.linalg.inv(a), np.zeros(a.shape[:-2], I32)
    except np.linalg.LinAlgError:
        found, info = _by_lu(a, np.eye(a.shape[-1], dtype=a.dtype))
    if fails is not None:
        raise singular(fails, info)
    return found, info


def singular(name: str, info: ndarray) -> LinAlgError:
    """The error for inverting a matrix that has a zero on a factor's diagonal."""
    at, number = first_info(info)
    return LinAlgError(f"{name}: {at}The diagonal element {number} is zero, the inversion could "
                       "not be completed because the input matrix is singular.")


def _inv_grad(g: Any, out: Any) -> list:
    back = adjoint_of(out[0])
    return [matmul(matmul(back, g[0]), back).neg()]


INV = matrix_op("linalg_inv_ex", _inv_forward, joint=_inv_grad, multiple=True, params=("fails",))


@public("linalg", out=True)
def inv(A: Tensor) -> Tensor:
    """The inverses of square matrices; LinAlgError where one is singular.

    >>> import flambeau as torch
    >>> torch.linalg.inv(torch.tensor([[2., 0.], [0., 4.]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    check_matrix("linalg.inv", A)
    return apply(INV, (A,), {"fails": "linalg.inv"})[0]


@public("torch", "Tensor", out=True)
def inverse(input: Tensor) -> Tensor:
    """The inverses of square matrices; LinAlgError where one is singular."""
    return inv(input)


@public("linalg", out=True)
def inv_ex(A: Tensor, *, check_errors: bool = False) -> Any:
    """The inverses, and per matrix 0, or the number of its first zero pivot: it is singular."""
    check_matrix("linalg.inv", A)
    fails = "linalg.inv_ex" if check_errors else None
    return return_types.ALL["linalg_inv_ex"](apply(INV, (A,), {"fails": fails}))


def is_vector(a: Any, b: Any) -> bool:
    """Whether ``b`` holds one right-hand side per matrix of ``a``, as PyTorch decides."""
    return b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])


def _solve_forward(a: ndarray, b: ndarray, left: bool, fails: str | None) -> tuple:
    if not left:
        back, info = _solve_forward(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), True, fails)
        return np.swapaxes(back, -1, -2), info
    try:
        return np.linalg.solve(a, b), np.zeros(a.shape[:-2], I32)
    except np.linalg.LinAlgError:
        found, info = _by_lu(a, b)
    if fails is not None:
        raise LinAlgError(f"{fails}: {first_info(info)[0]}The solver failed because the input "
                          "matrix is singular.")
    return found, info


def _solve_grad(g: Any, needs: tuple, A: Tensor, out: Any, left: bool) -> list:
    back = solved(adjoint_of(A), g[0], left)
    if not needs[0]:
        return [None, back]
    forth = adjoint_of(out[0])
    return [(matmul(back, forth) if left else matmul(forth, back)).neg(), back]


SOLVE = matrix_op("linalg_solve_ex", _solve_forward, inputs=("A", "B"), joint=_solve_grad,
                  multiple=True, params=("left", "fails"))


def solved(A: Tensor, B: Tensor, left: bool = True) -> Tensor:
    """X with A X = B (X A = B where not ``left``), of square A and matrices B."""
    return apply(SOLVE, (A, B), {"left": left, "fails": "torch.linalg.solve"})[0]


def _solve(A: Tensor, B: Tensor, left: bool, fails: str | None) -> tuple:
    check_matrix("linalg.solve", A, kernel="lu_cpu")
    check_same("linalg.solve", "A", A, B)
    vector = is_vector(A._a, B._a)
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not "
                           "supported for left=False. In this case linalg.solve is equivalent to "
                           "B / A.squeeze(-1)")
    if vector:
        B = B.unsqueeze(-1)
    check_sides("linalg.solve", A, B, left)
    broadcast(B._a.shape[:-2], A._a.shape[:-2])
    found, info = apply(SOLVE, (A, B), {"left": left, "fails": fails})
    return found.squeeze(-1) if vector else found, info


@public("linalg", out=True)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (X A = B where not ``left``); LinAlgError where A is singular.

    >>> import flambeau as torch
    >>> torch.linalg.solve(torch.tensor([[2., 0.], [0., 4.]]), torch.tensor([2., 2.]))
    tensor([1.0000, 0.5000])
    """
    return _solve(A, B, left, "torch.linalg.solve")[0]


@public("linalg", out=True)
def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> Any:
    """X with A X = B, and per matrix 0, or the number of its first zero pivot: it is singular."""
    fails = "torch.linalg.solve_ex" if check_errors else None
    return return_types.ALL["linalg_solve_ex"](_solve(A, B, left, fails))


__all__ = ["INV", "LinAlgError", "SOLVE", "adjoint_of", "check_lapack", "check_matrix",
           "check_old_sides", "check_same", "check_shape", "check_sides", "column", "det",
           "first_info", "inv", "inv_ex", "inverse", "is_vector", "is_zero", "logdet", "matrix_op",
           "singular", "slogdet", "solve", "solve_ex", "solved"]
