"""Normalisation by neighbouring channels, and to unit p-norm."""

from __future__ import annotations

from flambeau.base import dtypes
from flambeau.core.face import public
from flambeau.core.tensor import Tensor
from flambeau.ops.activation import FUNCTIONAL
from flambeau.ops.deviation import vector_norm
from flambeau.ops.join import cat

__all__ = ["local_response_norm", "normalize"]


@public(FUNCTIONAL)
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75,
                        k: float = 1.0) -> Tensor:
    """``x / (k + alpha * mean(x**2))**beta``, the mean over ``size`` neighbouring channels."""
    shape = input._a.shape
    if len(shape) < 3:
        raise ValueError("Expected 3D or higher dimensionality                          input "
                         f"(got {len(shape)} dimensions)")
    if not input._a.size:
        return input
    if size <= 0:
        raise RuntimeError(f"kernel size should be greater than zero, but got kH: {size} kW: 1")
    square = input * input
    before, after = size // 2, (size - 1) // 2
    padded = cat([square.new_zeros((shape[0], before, *shape[2:])), square,
                  square.new_zeros((shape[0], after, *shape[2:]))], 1)
    total = padded[:, :shape[1]]
    for i in range(1, size):
        total = total + padded[:, i:i + shape[1]]
    mean = total / size if input.dtype.category >= dtypes.FLOAT else total // size
    return input / (mean * alpha + k) ** beta


@public(FUNCTIONAL, out=True)
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """``input`` over its p-norms along ``dim``, each norm at least ``eps``."""
    return input / vector_norm(input, p, dim, keepdim=True).clamp_min(eps).expand_as(input)
