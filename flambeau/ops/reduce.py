"""Reductions over dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import large
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, dtype
from flambeau.base.shapes import wrap_dims
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import reduction
from flambeau.core.tensor import Tensor
from flambeau.ops.copy import cast

LARGE = 1 << 15


def kept(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with the dimensions ``dims`` at size 1."""
    return tuple([1 if i in dims else n for i, n in enumerate(shape)])


def spread(g: Tensor, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """``g``, of a result reduced over ``dims``, expanded to ``shape``."""
    if not keepdim and dims and g._a.ndim:
        g = g.reshape(kept(shape, dims))
    return g.expand(shape)


def _sum_forward(a: np.ndarray, dims: tuple[int, ...], keepdim: bool,
                 dtype: np.dtype | None = None) -> np.ndarray:
    if a.size >= LARGE:
        found = large.reduce("sum", a, dims, keepdim)
        if found is not None and (dtype is None or found.dtype == dtype):
            return found
    if a.ndim == len(dims) and not keepdim:
        return np.add.reduce(a, axis=None, dtype=dtype, out=...)
    return np.add.reduce(a, axis=dims, dtype=dtype, keepdims=keepdim, out=...)


SUM = reduction("sum", _sum_forward,
                lambda g, input_shape, dims, keepdim: spread(g, input_shape, dims, keepdim),
                params=("dims", "keepdim", "dtype"))


@public("torch", "Tensor", out=True)
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *,
        dtype: dtype | None = None) -> Tensor:
    """The sum over ``dim`` (every dimension where it is None); integers sum as int64.

    >>> import flambeau as torch
    >>> torch.ones(2, 3).sum(dim=1)
    tensor([3., 3.])
    """
    a = input._a
    held = None
    if dtype is not None:
        input = cast(input, dtype)
    elif a.dtype.kind in "biu":
        held = dtypes.int64.np
    dims = tuple(range(a.ndim)) if dim is None else wrap_dims(dim, a.ndim)
    if not a.ndim:
        dims = ()
    return apply(SUM, (input,), {"dims": dims, "keepdim": keepdim, "dtype": held})


__all__ = ["FROM_NUMPY", "SUM", "kept", "spread", "sum"]
