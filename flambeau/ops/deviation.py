"""Variance, standard deviation, norms and what else measures spread and size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.backends import spread_kernels
from flambeau.backends.replay import as_array, replayed
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, dtype, get_default_dtype
from flambeau.base.errors import warn_user
from flambeau.core.derive import vjp_of
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.inplace import write_out
from flambeau.core.kinds import composite, linear, reduction
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast
from flambeau.ops.reduce import LARGE, count_of, dims_of, spread, unreduced

ndarray = np.ndarray
INF = float("inf")
F32 = np.dtype(np.float32)
# Its declared types know keepdims=True and keepdims=False, but no bool that may be either.
_total: Any = np.add.reduce


def _moments(a: ndarray, dims: tuple[int, ...], keepdim: bool, correction: float) -> tuple:
    """Variance and mean over ``dims``, computed in double precision as PyTorch does."""
    if a.size >= LARGE and (found := spread_kernels.moments(a, dims, keepdim)) is not None:
        n = count_of(a.shape, dims)
        return np.divide(found[1], np.float64(max(n - correction, 0))), found[0]
    real = np.float64 if a.dtype.kind != "c" else np.complex128
    wide = a.astype(real, copy=False)
    n = count_of(a.shape, dims)
    middle = np.add.reduce(wide, axis=dims, keepdims=True) / np.float64(n)
    off = np.subtract(wide, middle, out=...)
    square = (off.real ** 2 + off.imag ** 2) if a.dtype.kind == "c" else np.square(off, out=off)
    found = _total(square, axis=dims, keepdims=keepdim)
    spare = np.float64(n - correction if n > correction else 0)
    return np.divide(found, spare), middle.reshape(found.shape)


@replayed
def _small_spread(a: ndarray, dims: tuple[int, ...], keepdim: bool, correction: float,
                  root: bool) -> Any:
    """The variance, or its root, in the fewest steps."""
    n = count_of(a.shape, dims)
    wide = a.astype(np.float64, copy=False)
    off = wide - _total(wide, axis=dims, keepdims=True) / n
    square = np.multiply(off, off, out=off) if dims else off * off
    found = _total(square, axis=dims, keepdims=keepdim) / max(n - correction, 0.0)
    return (np.sqrt(found) if root else found).astype(a.dtype)


def _variance(a: ndarray, dims: tuple[int, ...], keepdim: bool, correction: float,
              root: bool) -> ndarray:
    """As ``_moments``, of the variance alone or its root."""
    if a.size >= LARGE or a.dtype.kind == "c":
        found = _moments(a, dims, keepdim, correction)[0]
        return np.asarray(np.sqrt(found) if root else found, _real_type(a))
    found = _small_spread(a, dims=dims, keepdim=keepdim, correction=correction, root=root)
    return as_array(found)


def _real_type(a: ndarray) -> np.dtype:
    return a.dtype if a.dtype.kind == "f" else np.dtype(a.real.dtype)


def _var_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool, correction: float) -> ndarray:
    return _variance(a, dims, keepdim, correction, False)


def _std_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool, correction: float) -> ndarray:
    return _variance(a, dims, keepdim, correction, True)


def _var_mean_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool,
                      correction: float) -> tuple:
    found, middle = _moments(a, dims, keepdim, correction)
    return as_array(found, _real_type(a)), as_array(middle, a.dtype)


def _std_mean_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool,
                      correction: float) -> tuple:
    found, middle = _moments(a, dims, keepdim, correction)
    return as_array(np.sqrt(found), _real_type(a)), as_array(middle, a.dtype)


def _var_grad(g: Tensor, input: Tensor, dims: tuple[int, ...], keepdim: bool,
              correction: float) -> Tensor:
    shape = input._a.shape
    spare = count_of(shape, dims) - correction
    if spare <= 0:
        g = g * float("nan")
        spare = 1
    off = input - input.mean(dims, True) if dims else input - input
    return unreduced(g, shape, dims, keepdim) * (2.0 / spare) * off


def _std_grad(g: Tensor, input: Tensor, out: Tensor, dims: tuple[int, ...], keepdim: bool,
              correction: float) -> Tensor:
    g = (g / (out * 2)).masked_fill(out.detach().eq(0), 0)
    return _var_grad(g, input, dims, keepdim, correction)


def _var_mean_grad(g: Any, input: Tensor, dims: tuple[int, ...], keepdim: bool,
                   correction: float) -> list:
    return [_var_grad(g[0], input, dims, keepdim, correction)
            + _mean_grad(g[1], input._a.shape, dims, keepdim)]


def _std_mean_grad(g: Any, input: Tensor, out: Any, dims: tuple[int, ...], keepdim: bool,
                   correction: float) -> list:
    return [_std_grad(g[0], input, out[0], dims, keepdim, correction)
            + _mean_grad(g[1], input._a.shape, dims, keepdim)]


def _mean_grad(g: Tensor, shape: tuple, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    return spread(g / count_of(shape, dims), shape, dims, keepdim)


_PARAMS = ("dims", "keepdim", "correction")
VAR = reduction("var", _var_forward, _var_grad, params=_PARAMS)
STD = reduction("std", _std_forward, _std_grad, params=_PARAMS)
VAR_MEAN = reduction("var_mean", _var_mean_forward, _var_mean_grad, params=_PARAMS, multiple=True)
STD_MEAN = reduction("std_mean", _std_mean_forward, _std_mean_grad, params=_PARAMS, multiple=True)


def _spread(op: Op, input: Tensor, dim: Any, unbiased: Any, keepdim: bool,
            correction: float | None) -> Any:
    if isinstance(dim, bool):  # var(input, unbiased)
        dim, unbiased = None, dim
    if input._a.dtype.kind in "biu":
        raise RuntimeError(f"{op.name if 'mean' in op.name else 'std and var'} only support "
                           "floating point and complex dtypes")
    if correction is None:
        correction = 1 if unbiased is None or unbiased else 0
    dims = dims_of(dim, input._a.ndim)
    if count_of(input._a.shape, dims) - correction <= 0:
        warn_user(f"{op.name}(): degrees of freedom is <= 0. Correction should be strictly less "
                  "than the reduction factor (input numel divided by output numel).")
    return apply(op, (input,), {"dims": dims, "keepdim": keepdim, "correction": correction})


@public("torch", "Tensor", out=True)
def var(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None) -> Tensor:
    """The variance over ``dim``: squared distances from the mean over (n - ``correction``).

    ``correction`` is 1 if not given; ``unbiased=False`` is ``correction=0``.

    >>> import flambeau as torch
    >>> torch.tensor([1., 2., 3.]).var(), torch.tensor([1., 2., 3.]).var(correction=0)
    (tensor(1.), tensor(0.6667))
    """
    return _spread(VAR, input, dim, unbiased, keepdim, correction)


@public("torch", "Tensor", out=True)
def std(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None) -> Tensor:
    """The standard deviation over ``dim``, the root of ``var``."""
    return _spread(STD, input, dim, unbiased, keepdim, correction)


@public("torch")
def var_mean(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False,
             *, correction: float | None = None) -> tuple[Tensor, Tensor]:
    """The variance and the mean over ``dim``."""
    return _spread(VAR_MEAN, input, dim, unbiased, keepdim, correction)


@public("torch")
def std_mean(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False,
             *, correction: float | None = None) -> tuple[Tensor, Tensor]:
    """The standard deviation and the mean over ``dim``."""
    return _spread(STD_MEAN, input, dim, unbiased, keepdim, correction)


@replayed
def _small_logsumexp(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> Any:
    top = np.maximum.reduce(a, axis=dims, keepdims=True)
    top = np.where(np.isinf(top), 0, top)
    found = np.log(np.add.reduce(np.exp(a - top), axis=dims, keepdims=True)) + top
    return found if keepdim else np.squeeze(found, dims)


def _logsumexp_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
    if a.size >= LARGE:
        large_sum = spread_kernels.logsumexp(a, dims, keepdim)
        if large_sum is not None:
            return large_sum.astype(a.dtype)
    if not a.size:
        return np.log(np.add.reduce(np.exp(a), axis=dims, keepdims=keepdim, out=...))
    if a.dtype.kind == "f":
        return as_array(_small_logsumexp(a, dims=dims, keepdim=keepdim))
    top = np.maximum.reduce(a.real, axis=dims, keepdims=True)
    top = np.where(np.isinf(top), 0, top).astype(top.dtype)
    found = np.log(np.add.reduce(np.exp(a - top), axis=dims, keepdims=True)) + top
    return np.asarray(found if keepdim else np.squeeze(found, dims), a.dtype)


def _logsumexp_grad(g: Tensor, input: Tensor, out: Tensor, dims: tuple[int, ...],
                    keepdim: bool) -> Tensor:
    shape = input._a.shape
    part = (input - unreduced(out, shape, dims, keepdim)).exp()
    if input._a.dtype.kind == "c":
        part = part.conj()
    return unreduced(g, shape, dims, keepdim) * part


LOGSUMEXP = reduction("logsumexp", _logsumexp_forward, _logsumexp_grad)


@public("torch", "Tensor", "special", out=True)
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """The log of the sum of exponentials over ``dim``, without overflow.

    >>> import flambeau as torch
    >>> torch.tensor([1000., 1000.]).logsumexp(0)
    tensor(1000.6932)
    """
    if input._a.dtype.kind in "biu":
        input = cast(input, get_default_dtype())
    return apply(LOGSUMEXP, (input,), {"dims": dims_of(dim, input._a.ndim), "keepdim": keepdim})


def _norm_forward(a: ndarray, ord: float, dims: tuple[int, ...], keepdim: bool) -> ndarray:
    if a.size >= LARGE:
        large_norm = spread_kernels.norm(a, ord, dims, keepdim)
        if large_norm is not None:
            return large_norm.astype(a.dtype)
    elif ord == 2 and a.dtype.kind == "f":
        wide = a.astype(np.float64)
        if len(dims) == a.ndim and not keepdim and a.dtype is F32:
            wide = wide.reshape(-1)
            return as_array(np.sqrt(wide.dot(wide)), F32)
        np.multiply(wide, wide, out=wide)
        return as_array(np.sqrt(_total(wide, axis=dims, keepdims=keepdim)), a.dtype)
    size = np.abs(a)
    if ord == INF or ord == -INF:
        pick = np.maximum if ord > 0 else np.minimum
        return pick.reduce(size, axis=dims, keepdims=keepdim, out=...)
    wide = size.astype(np.float64, copy=False) if size.size < LARGE else size
    if ord == 0:
        found = _total(size != 0, axis=dims, keepdims=keepdim, dtype=np.float64)
    elif ord == 1:
        found = _total(wide, axis=dims, keepdims=keepdim)
    elif ord == 2:
        found = np.sqrt(_total(np.square(wide), axis=dims, keepdims=keepdim))
    else:
        found = _total(wide ** ord, axis=dims, keepdims=keepdim) ** (1.0 / ord)
    return as_array(found, size.dtype)


def _norm_grad(g: Tensor, input: Tensor, out: Tensor, ord: float, dims: tuple[int, ...],
               keepdim: bool) -> Tensor:
    shape = input._a.shape
    g, out = (unreduced(x, shape, dims, keepdim) for x in (g, out))
    if ord == 0:
        return input * 0
    if ord == 1:
        return input.sgn() * g
    if ord == 2:
        return g * (input / out).masked_fill(out.detach().eq(0), 0)
    if ord == INF or ord == -INF:
        size = input.abs()
        where = size.detach().eq(out.detach()).logical_or(
            size.detach().isnan().logical_and(out.detach().isnan()))
        return input.sgn() * (g / where.sum(dims, True) if dims else g) * where
    size = input.abs()
    if ord < 1:
        part = input.sgn() * size.pow(ord - 1).masked_fill(input.detach().eq(0), 0)
        return part * g * out.pow(1 - ord)
    if ord < 2:
        part = input.sgn() * size.pow(ord - 1)
        scale = out.pow(ord - 1)
        return part * (g / scale).masked_fill(scale.detach().eq(0), 0)
    part = input * size.pow(ord - 2)
    scale = out.pow(ord - 1)
    return part * (g / scale).masked_fill(scale.detach().eq(0), 0)


VECTOR_NORM = reduction("vector_norm", _norm_forward, _norm_grad,
                        params=("ord", "dims", "keepdim"), node="LinalgVectorNorm")


@public("linalg", out=True)
def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *,
                dtype: dtype | None = None) -> Tensor:
    """The ``ord``-norm of vectors over ``dim`` (all elements where it is None).

    >>> import flambeau as torch
    >>> torch.linalg.vector_norm(torch.tensor([3., 4.]))
    tensor(5.)
    """
    held = FROM_NUMPY[x._a.dtype]
    if held.category < dtypes.FLOAT:
        raise RuntimeError("linalg.vector_norm: Expected a floating point or complex tensor as "
                           f"input. Got {held.title}")
    if dtype is not None:
        _check_norm_dtype(held, dtype)
        x = cast(x, dtype)
    dims = dims_of(dim, x._a.ndim)
    if (ord < 0 or ord == INF) and not count_of(x._a.shape, dims):
        if dim is None or dim == ():
            raise RuntimeError(f"linalg.vector_norm cannot compute the {_shown(ord)} norm on an "
                               "empty tensor because the operation does not have an identity")
        raise RuntimeError(f"linalg.vector_norm cannot compute the {_shown(ord)} norm on the "
                           f"dimension {dims[0]} because this dimension is empty and the "
                           "operation does not have an identity")
    return apply(VECTOR_NORM, (x,), {"ord": float(ord), "dims": dims, "keepdim": keepdim})


def _shown(ord: float) -> str:
    return f"{ord:g}"


def _check_norm_dtype(held: dtype, wanted: dtype) -> None:
    if wanted.category < dtypes.FLOAT:
        raise RuntimeError("linalg.vector_norm: dtype should be floating point or complex. Got "
                           f"{wanted.title}")
    if held.is_complex != wanted.is_complex:
        kind = "complex" if held.is_complex else "real"
        raise RuntimeError(f"linalg.vector_norm: dtype should be {kind} for {kind} inputs, but "
                           f"got {wanted.title}")
    if wanted.itemsize < held.itemsize:
        raise RuntimeError(f"linalg.vector_norm: the dtype of the input ({held.title}) should be "
                           f"convertible without narrowing to the specified dtype "
                           f"({wanted.title})")


@public("torch", "Tensor")
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Any = None,
         dtype: dtype | None = None) -> Tensor:
    """The ``p``-norm over ``dim``: of vectors for numbers and "fro", of matrices for "nuc"."""
    if p == "nuc":
        found = FACES["linalg"]["matrix_norm"](
            input, "nuc", dim=(-2, -1) if dim is None else dim, keepdim=keepdim, dtype=dtype)
    elif isinstance(p, str) and p != "fro":
        raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found {p}")
    else:
        order = 2.0 if p in ("fro", None) else float(p)
        found = vector_norm(input, order, dim, keepdim, dtype=dtype)
    return found if out is None else write_out("norm", out, found)


def _dist(input: Tensor, other: Tensor, p: float) -> Tensor:
    return vector_norm(input - other, p)


DIST = composite("dist", _dist, lambda a, b, p: _norm_forward(
    np.asarray(a - b), p, tuple(range(np.broadcast(a, b).ndim)), False),
    inputs=("input", "other"), params=("p",))


@public("torch", "Tensor", out=True)
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The ``p``-norm of ``input - other``."""
    return apply(DIST, (input, other), {"p": float(p)})


def _trace_grad(g: Tensor, input_shape: tuple) -> Tensor:
    return g * wrap(np.eye(*input_shape, dtype=bool))


TRACE = linear("trace", lambda a: np.asarray(np.trace(
    a, dtype=np.int64 if a.dtype.kind in "biu" else None)), _trace_grad, widen=True)


@public("torch", "Tensor", out=True)
def trace(input: Tensor) -> Tensor:
    """The sum of the diagonal of a matrix."""
    if input._a.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input._a.ndim}")
    return apply(TRACE, (input,))


def _renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    others = tuple([i for i in range(input._a.ndim) if i != dim])
    size = vector_norm(input, p, others, True)
    factor = (maxnorm / (size + 1e-7)).masked_fill(size.detach().le(maxnorm), 1)
    return input * factor


def _renorm_forward(a: ndarray, p: float, dim: int, maxnorm: float) -> ndarray:
    others = tuple([i for i in range(a.ndim) if i != dim])
    size = _norm_forward(a, p, others, True)
    factor = np.where(size > maxnorm, maxnorm / (size + 1e-7), 1)
    return (a * factor).astype(a.dtype)


def _renorm_grad(g: Tensor, needs: tuple, input: Tensor, p: float, dim: int,
                 maxnorm: float) -> list:
    if input._a.dtype != np.complex64 or p != math.inf:
        return vjp_of(lambda t: _renorm(t, p, dim, maxnorm), (input,), needs, g)
    # PyTorch looks for the norm, of double precision, among magnitudes of single precision. It
    # finds none, and divides by their number.
    others = tuple([i for i in range(input._a.ndim) if i != dim])
    over = vector_norm(input.detach(), p, others, True).gt(maxnorm)
    return [g.masked_fill(over, complex(math.nan, math.nan))]  # type: ignore[attr-defined]


RENORM = composite("renorm", _renorm, _renorm_forward, inputs=("input",), joint=_renorm_grad,
                   params=("p", "dim", "maxnorm"))
RENORM.in_rows = True


@public("torch", "Tensor", out=True, inplace=True)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """``input`` with each slice along ``dim`` whose ``p``-norm exceeds ``maxnorm`` scaled to it."""
    rank = input._a.ndim
    if rank < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {rank} dimensions")
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    dim = dims_of(dim, rank)[0]
    return apply(RENORM, (input,), {"p": float(p), "dim": dim, "maxnorm": float(maxnorm)})


__all__ = ["LOGSUMEXP", "VECTOR_NORM", "dist", "logsumexp", "norm", "renorm", "std", "std_mean",
           "trace", "var", "var_mean", "vector_norm"]
