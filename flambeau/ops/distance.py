"""Similarities and distances between vectors: cosine, p-norm, all pairs of rows."""

from __future__ import annotations

import math

import numpy as np

from flambeau.base import dtypes
from flambeau.base.shapes import broadcast
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import composite
from flambeau.core.promote import result_type
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import FUNCTIONAL
from flambeau.ops.copy import cast
from flambeau.ops.deviation import norm, vector_norm
from flambeau.ops.where import where

__all__ = ["cosine_similarity", "pairwise_distance", "pdist"]


@public("torch", FUNCTIONAL)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """``x1 . x2 / (|x1| * |x2|)`` along ``dim``; each norm at least ``eps``.

    >>> import flambeau as torch
    >>> torch.cosine_similarity(torch.ones(1, 2), torch.ones(1, 2))
    tensor([1.0000])
    """
    held = result_type((x1, x2))
    if held.category < dtypes.FLOAT:
        raise RuntimeError("expected common dtype to be floating point, yet common dtype is "
                           f"{held.title}")
    shape = broadcast(x1._a.shape, x2._a.shape)
    x1, x2 = cast(x1, held).expand(shape), cast(x2, held).expand(shape)
    size1 = vector_norm(x1, 2, dim, True).clamp_min(eps)
    size2 = vector_norm(x2, 2, dim, True).clamp_min(eps)
    return ((x1 / size1) * (x2 / size2)).sum(dim)


@public("torch", FUNCTIONAL)
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6,
                      keepdim: bool = False) -> Tensor:
    """The p-norm of ``x1 - x2 + eps`` along the last dimension."""
    shape = broadcast(x1._a.shape, x2._a.shape)
    return norm(x1 - x2 + eps, p, len(shape) - 1, keepdim)


def _pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.triu_indices(n, 1)


def _norms(d: np.ndarray, p: float) -> np.ndarray:
    """The p-norms of the rows of ``d``."""
    size = np.abs(d)
    if p == 0:
        return (size != 0).sum(1).astype(d.dtype)
    if p == 1:
        return size.sum(1)
    if p == 2:
        return np.sqrt((size * size).sum(1))
    if p == math.inf:
        return size.max(1) if d.shape[1] else np.zeros(len(d), d.dtype)
    return (size ** p).sum(1) ** (1 / p)


def _pdist_forward(x: np.ndarray, p: float) -> np.ndarray:
    first, second = _pairs(len(x))
    return _norms(x[first] - x[second], p)


def _pair_tensors(x: Tensor) -> tuple[Tensor, Tensor]:
    first, second = _pairs(x._a.shape[0])
    return wrap(first.astype(np.int64)), wrap(second.astype(np.int64))


def _pdist_compose(x: Tensor, p: float) -> Tensor:
    first, second = _pair_tensors(x)
    return vector_norm(x[first] - x[second], p, 1, False)


def _pdist_grad(g: Tensor, input: Tensor, out: Tensor, p: float) -> Tensor:
    first, second = _pair_tensors(input)
    d = input[first] - input[second]
    share = norm_slope(d, out.unsqueeze(1), p) * g.unsqueeze(1)
    zero = input * 0
    return zero.index_add(0, first, share).index_add(0, second, -share)


def norm_slope(d: Tensor, norm: Tensor, p: float) -> Tensor:
    """The derivative of the p-norm of ``d``; zero where the norm is."""
    if p == 0:
        return d * 0
    if p == 1:
        return d.sign()
    if p == math.inf:
        peak = d.abs() == norm
        return where(peak, d.sign(), 0.0) / peak.sum(1, keepdim=True)
    safe = where(norm == 0, 1.0, norm)
    if p == 2:
        return d / safe
    size = d.abs()
    power = where(size == 0, 0.0, where(size == 0, 1.0, size) ** (p - 1))
    return d.sign() * power / safe ** (p - 1)


PDIST = composite("pdist", _pdist_compose, _pdist_forward, inputs=("input",), params=("p",),
                  grads=(_pdist_grad,))


@public("torch", FUNCTIONAL)
def pdist(input: Tensor, p: float = 2) -> Tensor:
    """The p-norm distances of all pairs of rows, in the order (0, 1), (0, 2), ..., (n-2, n-1)."""
    rank = input._a.ndim
    if rank != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {rank}D")
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    return apply(PDIST, (input,), {"p": float(p)})
