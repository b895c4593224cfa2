"""Norms of matrices, and the condition numbers they give."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY, dtype
from flambeau.base.shapes import wrap_dim
from flambeau.core.face import public
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast
from flambeau.ops.deviation import vector_norm
from flambeau.ops.linalg import check_shape, inv_ex
from flambeau.ops.spectral import svdvals

INF = float("inf")


def _two_dims(A: Tensor, dim: Any) -> tuple[int, int]:
    first, second = (wrap_dim(d, A._a.ndim) for d in dim)
    if first == second:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    return first, second


def _cast(t: Tensor, dtype: dtype) -> Tensor:
    complex_input = t._a.dtype.kind == "c"
    if dtype.category < 2:
        raise RuntimeError("linalg.matrix_norm: dtype should be floating point or complex, but got "
                           f"{dtype.title}")
    if dtype.is_complex != complex_input:
        kind = "complex" if complex_input else "real"
        raise RuntimeError(f"linalg.matrix_norm: dtype should be {kind} for {kind} inputs, but got "
                           f"{dtype.title}")
    return cast(t, dtype)


@public("linalg", out=True)
def matrix_norm(input: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *,
                dtype: dtype | None = None) -> Tensor:
    """The norm of matrices over two dimensions: "fro", "nuc", inf, -inf, 1, -1, 2 or -2."""
    if isinstance(dim, int) or len(dim) != 2:
        raise RuntimeError("linalg.matrix_norm: dim must be a 2-tuple. Got "
                           f"{dim if isinstance(dim, int) else ' '.join(map(str, dim))}")
    check_shape("linalg.matrix_norm", input, square=False)
    held = FROM_NUMPY[input._a.dtype]
    if held.category < 2:
        raise RuntimeError("linalg.matrix_norm: Expected a floating point or complex tensor as "
                           f"input. Got {held.title}")
    first, second = _two_dims(input, dim)
    A = input if dtype is None else _cast(input, dtype)
    if ord == "fro":
        return vector_norm(A, 2, (first, second), keepdim)
    if ord == "nuc" or ord in (2, -2):
        return _spectral_norm(A, ord, first, second, keepdim)
    if ord not in (1, -1, INF, -INF):
        raise RuntimeError(f"linalg.matrix_norm: Order {ord} not supported.")
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
        raise RuntimeError("linalg.matrix_norm: Low precision dtypes not supported. Got "
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
def linalg_norm(input: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *,
                dtype: dtype | None = None) -> Tensor:
    """A vector norm over one dimension, or a matrix norm over two (of strings: always)."""
    if ord is None:
        return vector_norm(input, 2, dim, keepdim, dtype=dtype)
    pair = dim is not None and not isinstance(dim, int) and len(dim) == 2
    if dim is not None and not isinstance(dim, int) and len(dim) > 2:
        raise RuntimeError("linalg.norm: If dim is specified, it must be of length 1 or 2. Got "
                           f"[{', '.join(map(str, dim))}]")
    if dim is None and input._a.ndim not in (1, 2):
        raise RuntimeError("linalg.norm: If dim is not specified but ord is, the input must be 1D "
                           f"or 2D. Got {input._a.ndim}D.")
    if isinstance(ord, str) or pair or dim is None and input._a.ndim == 2:
        if dim is not None and not pair:
            dim = (dim,) if isinstance(dim, int) else dim
        return matrix_norm(input, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    return vector_norm(input, ord, dim, keepdim, dtype=dtype)


def _check_norm(p: Any) -> None:
    if isinstance(p, str):
        if p not in ("fro", "nuc"):
            raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    elif abs(p) not in (1, 2, INF):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {_shown(p)}")


def _shown(p: Any) -> str:
    return p if isinstance(p, str) else f"{float(p):g}"


@public("linalg", out=True)
def cond(input: Tensor, p: Any = None) -> Tensor:
    """The condition number with respect to inversion, in the norm ``p`` (2 if not given).

    >>> import flambeau as torch
    >>> torch.linalg.cond(torch.tensor([[4., 0.], [0., 2.]]))
    tensor(2.)
    """
    if input._a.ndim < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if p is not None and p not in (2, -2):
        check_shape(f"linalg.cond(ord={_shown(p)})", input)
        _check_norm(p)
    if not input._a.size:
        held = np.dtype(input._a.real.dtype if isinstance(input._a, np.ndarray) else float)
        return wrap(np.zeros(input._a.shape[:-2], held))
    if p is None or p in (2, -2):
        s = svdvals(input)
        top, low = s.narrow(-1, 0, 1), s.narrow(-1, -1, 1)  # type: ignore[attr-defined]
        return (low / top if p == -2 else top / low).squeeze(-1)
    if p == "nuc":
        s = svdvals(input)
        return s.sum(-1) * s.reciprocal().sum(-1)  # type: ignore[attr-defined]
    back, info = inv_ex(input)
    found = matrix_norm(input, p) * matrix_norm(back, p)
    singular = info.ne(0)
    return found.masked_fill(singular, INF) if _any(singular) else found


def _any(t: Tensor) -> bool:
    return not isinstance(t._a, np.ndarray) or bool(t._a.any())


__all__ = ["cond", "linalg_norm", "matrix_norm"]
