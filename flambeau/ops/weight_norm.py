"""Weights as length times direction (Salimans and Kingma, NeurIPS 2016)."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import composite
from flambeau.core.tensor import Tensor

__all__ = ["norm_except_dim", "weight_norm"]


@public("torch")
def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norms of the slices of ``v`` along ``dim``, with the other sizes 1; of all for -1.

    >>> import flambeau as torch
    >>> torch.norm_except_dim(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[5.],
            [1.]])
    """
    rank = v._a.ndim
    if dim == -1:
        return v.norm(pow)
    if dim == 0:
        return v.contiguous().view(v.size(0), -1).norm(pow, 1).view(-1, *(1,) * (rank - 1))
    if dim == rank - 1:
        return v.contiguous().view(-1, v.size(dim)).norm(pow, 0).view(*(1,) * (rank - 1), -1)
    return norm_except_dim(v.swapaxes(0, dim), pow, 0).swapaxes(0, dim)


def _compose(v: Tensor, g: Tensor, dim: int) -> Tensor:
    return v * (g / norm_except_dim(v, 2, dim))


def _forward(v: np.ndarray, g: np.ndarray, dim: int) -> np.ndarray:
    axes = tuple(i for i in range(v.ndim) if i != dim)
    return v * (g / np.sqrt(np.square(v).sum(axes, keepdims=True)))


WEIGHT_NORM = composite("_weight_norm_interface", _compose, _forward, inputs=("v", "g"),
                        params=("dim",), node="WeightNormInterface")


@public("torch", name="_weight_norm")
def weight_norm(v: Tensor, g: Tensor, dim: Any = 0) -> Tensor:
    """``v`` with the norms ``g`` of its slices along ``dim``."""
    if dim in (0, v._a.ndim - 1) and v.dtype.name not in ("float16", "bfloat16"):
        return apply(WEIGHT_NORM, (v, g), {"dim": dim})
    return _compose(v, g, dim)
