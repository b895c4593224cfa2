"""Powers and exponentials of matrices; their diagonals, dot products, rows of powers."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops import views
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.linalg import adjoint_of, check_shape, inv, matrix_op
from flambeau.ops.matmul import matmul

ndarray = np.ndarray


@public("linalg", "torch", "Tensor", out=True)
def matrix_power(input: Tensor, n: int) -> Tensor:
    """A matrix multiplied by itself n times; the inverse's power where n is negative.

    >>> import flambeau as torch
    >>> torch.linalg.matrix_power(torch.tensor([[1., 1.], [0., 1.]]), 5)
    tensor([[1., 5.],
            [0., 1.]])
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise TypeError("linalg_matrix_power(): argument 'n' (position 2) must be int, not "
                        f"{type(n).__name__}")
    check_shape("linalg.matrix_power", input)
    A, n = (inv(input), -n) if n < 0 else (input, n)
    if n == 0:
        eye = wrap(np.eye(A._a.shape[-1], dtype=np.dtype(A._a.dtype.type)))
        return A.masked_fill(wrap(np.array(True)), 0) + eye  # type: ignore[attr-defined]
    found = None
    while n:
        if n & 1:
            found = A if found is None else matmul(found, A)
        n >>= 1
        if n:
            A = matmul(A, A)
    assert found is not None
    return found.clone() if found is input else found


# The sum of the exponential's series up to the power 18 in five products: Bader, Blanes and Casas,
# Mathematics 7 (2019), 1174. Rows have the coefficients of 1, A, A^2, A^3 and A^6.
_SUMS = (
    (0.0, -0.10036558103014462001, -0.00802924648241156960, -0.00089213849804572995, 0.0),
    (0.0, 0.39784974949964507614, 1.36783778460411719922, 0.49828962252538267755,
     -0.00063789819459472330),
    (-10.9676396052962062593, 1.68015813878906197182, 0.05717798464788655127,
     -0.00698210122488052084, 0.00003349750170860705),
    (-0.09043168323908105619, -0.06764045190713819075, 0.06759613017704596460,
     0.02955525704293155274, -0.00001391802575160607),
    (0.0, 0.0, -0.09233646193671185927, -0.01693649390020817171, -0.00001400867981820361),
)
# Up to these 1-norms the sum is exact to the last bit.
_REACH = {4: 3.010066362817634, 8: 1.090863719290036}


def _series(a: ndarray) -> ndarray:
    square = a @ a
    cube = square @ a
    powers = [np.eye(a.shape[-1], dtype=a.dtype), a, square, cube, cube @ cube]
    b1, b2, b3, b4, b5 = (sum(p * f for p, f in zip(powers, row) if f) for row in _SUMS)
    inner = b1 @ b5 + b4
    return b2 + (b3 + inner) @ inner


def _exp_forward(a: ndarray) -> ndarray:
    if not a.size:
        return np.array(a)
    stack = a.reshape(-1, *a.shape[-2:])
    size = np.abs(stack).sum(-2).max(-1)
    reach = _REACH[4 if a.dtype == np.float32 else 8]
    times = np.nan_to_num(np.ceil(np.log2(size / reach)), posinf=0.0).clip(0).astype(int)
    scale = np.ldexp(1.0, -times)[:, None, None].astype(a.real.dtype)
    found = _series(stack * scale)
    for k in range(times.max()):
        more = times > k
        found[more] = found[more] @ found[more]
    return found.reshape(a.shape)


def _exp_grad(g: Tensor, input: Tensor) -> Tensor:
    """The upper right block of the exponential of [[A^H, g], [0, A^H]]."""
    n = input._a.shape[-1]
    back: Any = adjoint_of(input)
    cat = FACES["torch"]["cat"]
    rows = cat([cat([back, g], -1), cat([back * 0, back], -1)], -2)
    return matrix_exp(rows).narrow(-2, 0, n).narrow(-1, n, n)  # type: ignore[attr-defined]


MATRIX_EXP = matrix_op("linalg_matrix_exp", _exp_forward, grads=(_exp_grad,), widen=True)


@public("linalg", "torch", "Tensor")
def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of square matrices, by scaling and squaring.

    Half types are computed in float32. (PyTorch 2.13 gives NaN and infinities for most of them.)

    >>> import flambeau as torch
    >>> torch.linalg.matrix_exp(torch.tensor([[0., 1.], [0., 0.]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    check_shape("linalg.matrix_exp", input)
    held = FROM_NUMPY[input._a.dtype]
    if held.category < 2:
        raise RuntimeError("linalg.matrix_exp: Expected a floating point or complex tensor as "
                           f"input. Got {held.title}")
    return apply(MATRIX_EXP, (input,))


@public("linalg", out=True)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The dot products along ``dim``, the first conjugated.

    >>> import flambeau as torch
    >>> torch.linalg.vecdot(torch.tensor([1., 2.]), torch.tensor([[3., 4.], [5., 6.]]))
    tensor([11., 17.])
    """
    held = FROM_NUMPY[x._a.dtype]
    if held.category < 2:
        raise RuntimeError("linalg.vecdot: Expected a floating point or complex tensor as input. "
                           f"Got {held.title}")
    if x._a.dtype != y._a.dtype:
        raise RuntimeError("linalg.vecdot: Expected x and y to have the same dtype, but found x of "
                           f"type {held.title} and y of type {FROM_NUMPY[y._a.dtype].title} "
                           "instead")
    if x._a.ndim == y._a.ndim == 1:
        wrap_dim(dim, 1)
        return FACES["torch"]["vdot"](x, y)
    return (conj_of(x) * y).sum(dim)


@public("linalg")
def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonals of matrices, ``offset`` above (or below) the main one."""
    return views.diagonal(A, offset, dim1, dim2)


@public("linalg")
def vander(x: Tensor, N: int | None = None) -> Tensor:
    """Rows of the powers 0 to N-1 of each element (N: as many as there are elements).

    >>> import flambeau as torch
    >>> torch.linalg.vander(torch.tensor([1, 2, 3]))
    tensor([[1, 1, 1],
            [1, 2, 4],
            [1, 3, 9]])
    """
    if x._a.dtype.kind == "b":
        raise RuntimeError("linalg.vander supports floating point, complex, and integer tensors, "
                           "but got Bool")
    x = x if x._a.ndim else x.reshape(1)  # type: ignore[attr-defined]
    count = x._a.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    ones = x.unsqueeze(-1) * 0 + 1
    powers = x.unsqueeze(-1).expand(*x._a.shape, count - 1).cumprod(-1)
    return FACES["torch"]["cat"]([ones.to(powers.dtype), powers], -1)


__all__ = ["diagonal", "matrix_exp", "matrix_power", "vander", "vecdot"]
