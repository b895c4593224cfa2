"""A number that tells tensors of different bits apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import wrap_dims
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import reduction
from flambeau.core.tensor import Tensor

ndarray = np.ndarray


def _bits(a: ndarray) -> ndarray:
    """Floating numbers as the bits of a double, integers and bools as those of 64-bit integers."""
    if a.dtype.kind in "iu":
        return a.astype(np.uint64)
    return a.astype(np.uint64) if a.dtype.kind == "b" else a.astype(np.float64).view(np.uint64)


def _forward(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
    found = np.bitwise_xor.reduce(_bits(a), dims, keepdims=keepdim)  # type: ignore[call-overload]
    return np.asarray(found)


HASH = reduction("hash_tensor", _forward, None, widen=False)


@public("torch", "Tensor", out=True)
def hash_tensor(input: Tensor, dim: Any = (), *, keepdim: bool = False, mode: int = 0) -> Tensor:
    """The exclusive or of all elements' bits over ``dim`` (all by default), as uint64.

    The bits are those of float64 or int64. ``mode`` 0 is the only one there is.

    >>> import flambeau as torch
    >>> torch.hash_tensor(torch.tensor([5, 3]))
    tensor(6, dtype=torch.uint64)
    """
    a = input._a
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    dims = wrap_dims(dim, a.ndim)
    if a.dtype.kind == "c":
        raise NotImplementedError(f"\"xor_sum_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[a.dtype].title}'")
    if not a.size:
        if isinstance(dim, (tuple, list)) and not dim:
            raise RuntimeError("hash_tensor: Expected reduction dim to be specified for "
                               "input.numel() == 0. Specify the reduction dim with the 'dim' "
                               "argument.")
        for d in dims:
            if not a.shape[d]:
                raise IndexError(f"hash_tensor: Expected reduction dim {d} to have non-zero size.")
    return apply(HASH, (input,), {"dims": dims if a.ndim else (), "keepdim": keepdim})


__all__ = ["hash_tensor"]
