"""Scans along a dimension: cumulative sums, products, extremes and log-sum-exps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import axis_kernels
from flambeau.backends.conversions import in_rows
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, dtype
from flambeau.base.limits import finfo
from flambeau.base.shapes import wrap_dim
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.kinds import linear, opaque
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.copy import cast
from flambeau.ops.pick import along_batch, placed_grad, placed_jvp

ndarray = np.ndarray
LARGE = 1 << 15
_NAMES: dict[np.ufunc, str] = {np.add: "sum", np.multiply: "prod", np.logaddexp: "logsum"}
_WIDE = {np.dtype(np.float32): np.float64}


def _accumulated(ufunc: np.ufunc, a: ndarray, dim: int, dtype: Any, reverse: bool) -> ndarray:
    """A running ``ufunc``; float32 accumulates in float64, as in PyTorch."""
    if not a.ndim:
        return a.astype(dtype or a.dtype)
    if a.size >= LARGE and (dtype is None or a.dtype == dtype):
        found = axis_kernels.running(_NAMES.get(ufunc, ""), a, dim, reverse)
        if found is not None:
            return found
    if reverse:
        a = np.flip(a, dim)
    r = ufunc.accumulate(a, axis=dim, dtype=dtype or _WIDE.get(a.dtype))
    r = r.astype(dtype or a.dtype, copy=False)
    return in_rows(np.flip(r, dim) if reverse else r)


CUMSUM = linear(
    "cumsum", lambda a, dim, dtype, reverse: _accumulated(np.add, a, dim, dtype, reverse),
    lambda g, dim, reverse: _cumsum(g, dim, not reverse), params=("dim", "dtype", "reverse"),
    widen=True, batch=along_batch)


def _cumsum(t: Tensor, dim: int, reverse: bool) -> Tensor:
    return apply(CUMSUM, (t,), {"dim": dim, "dtype": None, "reverse": reverse})


def _cumprod_grad(g: Tensor, input: Tensor, out: Tensor, dim: int) -> Tensor:
    a = input._a
    if not a.ndim:
        return g
    if type(a) is ndarray and a.all():
        return _cumsum(g * conj_of(out), dim, True) / conj_of(input)
    n = a.shape[dim]
    rows = input.movedim(dim, -1).unsqueeze(-2)
    rows = rows.expand(*rows._a.shape[:-2], n, n)
    parts = cumprod(rows.masked_fill(wrap(np.eye(n, dtype=bool)), 1), -1)
    parts = parts * wrap(np.triu(np.ones((n, n), bool)))
    found = (g.movedim(dim, -1).unsqueeze(-2) * conj_of(parts)).sum(-1)
    return found.movedim(-1, dim)


CUMPROD = opaque("cumprod",
                 lambda a, dim, dtype: _accumulated(np.multiply, a, dim, dtype, False),
                 grads=(_cumprod_grad,), params=("dim", "dtype"), widen=True, batch=along_batch)


def _scanned(input: Tensor, dim: int, dtype: dtype | None) -> tuple[Tensor, int, Any]:
    held = None
    if dtype is not None:
        input = cast(input, dtype)
        held = dtype.np if dtype.category < dtypes.FLOAT else None
    elif input._a.dtype.kind in "biu":
        held = dtypes.int64.np
    return input, wrap_dim(dim, input._a.ndim), held


@public("torch", "Tensor", out=True, inplace=True)
def cumsum(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """The running sum along ``dim``; integers sum as int64.

    >>> import flambeau as torch
    >>> torch.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    input, dim, held = _scanned(input, dim, dtype)
    return apply(CUMSUM, (input,), {"dim": dim, "dtype": held, "reverse": False})


@public("torch", "Tensor", out=True, inplace=True)
def cumprod(input: Tensor, dim: int, *, dtype: dtype | None = None) -> Tensor:
    """The running product along ``dim``; integers multiply as int64."""
    input, dim, held = _scanned(input, dim, dtype)
    return apply(CUMPROD, (input,), {"dim": dim, "dtype": held})


def _running(ufunc: np.ufunc) -> Callable:
    def forward(a: ndarray, dim: int) -> tuple:
        if not a.ndim:
            return np.array(a), np.zeros((), np.int64)
        if a.size >= LARGE:
            found = axis_kernels.running_extremes(a, dim, ufunc is np.maximum)
            if found is not None:
                return found
        values = ufunc.accumulate(a, axis=dim)
        same = (a == values) | ((a != a) & (values != values))
        steps = np.arange(a.shape[dim]).reshape([-1 if i == dim else 1 for i in range(a.ndim)])
        places = np.where(same, steps, 0)
        return values, np.maximum.accumulate(places, axis=dim).astype(np.int64, copy=False)

    return forward


def _running_op(name: str, ufunc: np.ufunc) -> Op:
    op = opaque(name, _running(ufunc), joint=placed_grad, params=("dim",), multiple=True,
                jvp=placed_jvp, batch=along_batch)
    op.in_rows = True
    return op


CUMMAX = _running_op("cummax", np.maximum)
CUMMIN = _running_op("cummin", np.minimum)


def _run(op: Op, input: Tensor, dim: int) -> Any:
    if input._a.dtype.kind == "c":
        raise NotImplementedError(f"\"{op.name}_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[input._a.dtype].title}'")
    found = apply(op, (input,), {"dim": wrap_dim(dim, input._a.ndim)})
    return return_types.ALL[op.name](found)


@public("torch", "Tensor", out=True)
def cummax(input: Tensor, dim: int) -> Any:
    """The greatest element so far along ``dim``, and its (last) index."""
    return _run(CUMMAX, input, dim)


@public("torch", "Tensor", out=True)
def cummin(input: Tensor, dim: int) -> Any:
    """The smallest element so far along ``dim``, and its (last) index."""
    return _run(CUMMIN, input, dim)


def _log_forward(a: ndarray, dim: int, reverse: bool) -> ndarray:
    if not a.ndim:
        return np.array(a)
    if a.dtype.kind != "c":
        return _accumulated(np.logaddexp, a, dim, a.dtype, reverse)
    moved = np.moveaxis(a, dim, 0)
    r = np.array(moved)
    order = range(len(r))[::-1] if reverse else range(len(r))
    for before, i in zip(order, order[1:]):
        r[i] = _log_add(r[before], moved[i])
    return np.ascontiguousarray(np.moveaxis(r, 0, dim))


def _log_add(a: ndarray, b: ndarray) -> ndarray:
    top = np.where(a.real > b.real, a, b)
    low = np.where(a.real > b.real, b, a)
    found = top + np.log1p(np.exp(low - top))
    return np.where(np.isneginf(low.real), top, found)


def _log_grad(g: Tensor, input: Tensor, out: Tensor, dim: int, reverse: bool) -> Tensor:
    """In logarithms, positive and negative gradients apart, so that nothing overflows."""
    if not g._a.ndim:
        return g
    back = not reverse
    if input._a.dtype.kind == "c":
        return (_log_scan(g.log() - out.conj(), dim, back) + input.conj()).exp()
    rest = finfo(input.dtype).min
    above = g.log().masked_fill(g.detach().le(0), rest)
    below = g.neg().log().masked_fill(g.detach().ge(0), rest)
    parts = [(_log_scan(p - out, dim, back) + input).exp() for p in (above, below)]
    return parts[0] - parts[1]


def _log_scan(t: Tensor, dim: int, reverse: bool) -> Tensor:
    return apply(LOGCUMSUMEXP, (t,), {"dim": dim, "reverse": reverse})


def _log_jvp(tangents: Any, out: Tensor, input: Tensor, *, dim: int, reverse: bool) -> Tensor:
    """The tangents weighted by softmax over what each result sums."""
    t = tangents[0]
    if not input._a.ndim:
        return t
    n = input._a.shape[dim]
    seen = np.triu(np.ones((n, n), bool)) if reverse else np.tril(np.ones((n, n), bool))
    x, y, t = (v.movedim(dim, -1) for v in (input, out, t))
    logs = (x.unsqueeze(-2) - y.unsqueeze(-1)).masked_fill(wrap(~seen), float("-inf"))
    return (logs.exp() * t.unsqueeze(-2)).sum(-1).movedim(-1, dim)


LOGCUMSUMEXP = opaque("logcumsumexp", _log_forward, grads=(_log_grad,), params=("dim", "reverse"),
                      widen=True, batch=along_batch, jvp=_log_jvp)
LOGCUMSUMEXP.in_rows = True


@public("torch", "Tensor", out=True)
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """The log of the running sum of exponentials along ``dim``."""
    if input._a.dtype.kind in "biu":
        raise NotImplementedError("\"logcumsumexp_out_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[input._a.dtype].title}'")
    return _log_scan(input, wrap_dim(dim, input._a.ndim), False)


def _cat(parts: list, dim: int) -> Tensor:
    return FACES["torch"]["cat"](parts, dim)


@public("torch", "Tensor", out=True)
def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None,
         append: Tensor | None = None) -> Tensor:
    """The ``n``-th difference of neighbours along ``dim``, of ``prepend``, input and ``append``.

    >>> import flambeau as torch
    >>> torch.tensor([1, 4, 9]).diff()
    tensor([3, 5])
    """
    if not input._a.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    dim = wrap_dim(dim, input._a.ndim)
    parts = [t for t in (prepend, input, append) if t is not None]
    for t in parts:
        _check_joined(t, input, dim)
    if n == 0:
        return input.clone()
    t = parts[0] if len(parts) == 1 else _cat(parts, dim)
    for _ in range(n):
        size = t._a.shape[dim]
        left, right = t.narrow(dim, 0, max(size - 1, 0)), t.narrow(dim, min(1, size),
                                                                 max(size - 1, 0))
        t = right.logical_xor(left) if t._a.dtype.kind == "b" else right - left
    return t


def _check_joined(t: Tensor, input: Tensor, dim: int) -> None:
    if t._a.ndim != input._a.ndim:
        raise RuntimeError("diff expects prepend or append to be the same dimension as input")
    for i, (n, m) in enumerate(zip(t._a.shape, input._a.shape)):
        if i != dim and n != m:
            raise RuntimeError("diff expects the shape of tensor to prepend or append to match "
                               "that of input except along the differencing dimension; input.size"
                               f"({i}) = {m}, but got tensor.size({i}) = {n}")


def _steps(x: Tensor, y: Tensor, dim: int, name: str) -> Tensor:
    """The distances between sample points, shaped to go with ``y``."""
    n = y._a.shape[dim]
    if x._a.ndim == 1:
        if x._a.shape[0] != n:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        return diff(x).reshape([-1 if i == dim else 1 for i in range(y._a.ndim)])
    if x._a.ndim < y._a.ndim:
        x = x.reshape((*[1] * (y._a.ndim - x._a.ndim), *x._a.shape))
    if x._a.shape[dim] != n:
        raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
    return diff(x, dim=dim)


def _areas(y: Tensor, x: Tensor | None, dx: Any, dim: int, name: str) -> tuple[Tensor, Any]:
    """Sums of neighbours, and what to multiply them by."""
    if y._a.dtype.kind == "b":
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    if isinstance(x, Tensor) and x._a.dtype.kind == "b":
        raise RuntimeError(f"{name}: received a bool input for `x`, but bool is not supported")
    n = y._a.shape[dim]
    pairs = y.narrow(dim, 1, n - 1) + y.narrow(dim, 0, n - 1)
    return pairs, dx if x is None else _steps(x, y, dim, name)


@public("torch", aliases=("trapz",))
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1, dim: int = -1) -> Tensor:
    """The integral of samples ``y`` along ``dim`` by trapezoids, spaced ``dx`` or at ``x``."""
    dim = wrap_dim(dim, y._a.ndim)
    if not y._a.shape[dim]:
        return y.sum(dim) * 0.0
    pairs, widths = _areas(y, x, dx, dim, "trapezoid")
    return (pairs * widths).sum(dim) / 2.0


@public("torch")
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = 1,
                         dim: int = -1) -> Tensor:
    """The running integral of samples ``y`` along ``dim`` by trapezoids."""
    dim = wrap_dim(dim, y._a.ndim)
    pairs, widths = _areas(y, x, dx, dim, "cumulative_trapezoid")
    return cumsum(pairs * widths / 2.0, dim)


@public("torch")
def gradient(input: Tensor, *, spacing: Any = None, dim: Any = None,
             edge_order: int = 1) -> tuple[Tensor, ...]:
    """Estimates of the derivative along each of ``dim``, by central differences."""
    rank = input._a.ndim
    dims = list(range(rank)) if dim is None else (
        [wrap_dim(d, rank) for d in dim] if isinstance(dim, (tuple, list))
        else [wrap_dim(dim, rank)])
    spaces = _spacings(spacing, dims, rank, dim)
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    for d in dims:
        if input._a.shape[d] < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least "
                               "edge_order+1")
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"dim {dims[-1]} appears multiple times in the list of dims")
    return tuple([_gradient(input, d, s, edge_order) for d, s in zip(dims, spaces)])


def _spacings(spacing: Any, dims: list, rank: int, dim: Any) -> list:
    if spacing is None:
        return [1] * len(dims)
    if not isinstance(spacing, (tuple, list)):
        if isinstance(spacing, Tensor) and spacing._a.ndim and len(dims) > 1:
            raise RuntimeError("torch.gradient expected a list of coordinate tensors")
        return [spacing] * len(dims)
    if len(spacing) == len(dims):
        return list(spacing)
    why = (f"'self.dim() = {rank}', since dim argument was not given" if dim is None else
           f"'dim', which has {len(dims)} elements")
    raise RuntimeError("torch.gradient expected spacing to be unspecified, a scalar, or a list of "
                       f"length equal to {why}, but got a list of length {len(spacing)}")


def _gradient(t: Tensor, dim: int, space: Any, edge_order: int) -> Tensor:
    """Second-order inside, one-sided at the ends; ``space`` a step or the coordinates."""
    n = t._a.shape[dim]
    steps = np.full(n - 1, space, np.float64) if not isinstance(space, Tensor) or not (
        space._a.ndim) else None
    if steps is None:
        steps = np.diff(space._a.astype(np.float64))
    elif isinstance(space, Tensor):
        steps = np.full(n - 1, float(space._a))
    held = np.promote_types(t._a.dtype, np.float32) if t._a.dtype.kind in "fc" else np.float32
    low, high = steps[:-1], steps[1:]

    def shaped(values: ndarray) -> Tensor:
        kind = held if t._a.dtype.itemsize > 2 or t._a.dtype.kind not in "fV" else t._a.dtype
        return wrap(values.astype(kind).reshape([-1 if i == dim else 1
                                                 for i in range(t._a.ndim)]))

    a, b, c = (t.narrow(dim, k, n - 2) for k in range(3)) if n > 2 else (None, None, None)
    parts = [_edge(t, dim, steps, edge_order, True)]
    if n > 2:
        parts.append(a * shaped(-high / (low * (low + high)))
                     + b * shaped((high - low) / (low * high))
                     + c * shaped(low / (high * (low + high))))
    parts.append(_edge(t, dim, steps, edge_order, False))
    return _cat(parts, dim)


def _edge(t: Tensor, dim: int, steps: ndarray, order: int, first: bool) -> Tensor:
    n = t._a.shape[dim]
    at = [t.narrow(dim, k if first else n - 1 - k, 1) for k in range(order + 1)]
    h = steps if first else steps[::-1]
    sign = 1.0 if first else -1.0
    if order == 1:
        return (at[1] - at[0]) * (sign / float(h[0]))
    h0, h1 = float(h[0]), float(h[1])
    weights = (-(2 * h0 + h1) / (h0 * (h0 + h1)), (h0 + h1) / (h0 * h1), -h0 / (h1 * (h0 + h1)))
    total = at[0] * (sign * weights[0])
    return total + at[1] * (sign * weights[1]) + at[2] * (sign * weights[2])


__all__ = ["CUMPROD", "CUMSUM", "cummax", "cummin", "cumprod", "cumsum", "cumulative_trapezoid",
           "diff", "gradient", "logcumsumexp", "trapezoid"]
