"""Making tensors from values: tensor, zeros, ones, full, arange and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.base.device import as_device
from flambeau.base.dtypes import FROM_NUMPY, dtype, from_numpy as dtype_from_numpy
from flambeau.base.dtypes import get_default_dtype
from flambeau.core.face import public
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.shape import sizes_of


def finish_new(array: np.ndarray, device: Any, requires_grad: bool) -> Tensor:
    """A leaf over ``array`` on ``device``, recording where asked."""
    as_device(device)
    t = wrap(array)
    if requires_grad:
        if array.dtype.kind in "biu":
            raise RuntimeError("Only Tensors of floating point and complex dtype can require "
                               "gradients\n\n  integers have no slope: give dtype=torch.float32, "
                               "or write 1.0 for 1.")
        t.requires_grad_(True)
    return t


def _zeros_like_shape(size: tuple, value: Any, dtype: dtype | None) -> np.ndarray:
    held = (dtype or get_default_dtype()).np
    return np.full(tuple(size), value, held)


@public("torch", out=True)
def zeros(*size: Any, dtype: dtype | None = None, layout: Any = None, device: Any = None,
          requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Zeros of a shape given as integers or one sequence.

    >>> import flambeau as torch
    >>> torch.zeros(2)
    tensor([0., 0.])
    """
    held = (dtype or get_default_dtype()).np
    return finish_new(np.zeros(tuple(sizes_of(size)), held), device, requires_grad)


@public("torch", out=True)
def ones(*size: Any, dtype: dtype | None = None, layout: Any = None, device: Any = None,
         requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Ones of a shape given as integers or one sequence."""
    held = (dtype or get_default_dtype()).np
    return finish_new(np.ones(tuple(sizes_of(size)), held), device, requires_grad)


@public("torch")
def tensor(data: Any, *, dtype: dtype | None = None, device: Any = None,
           requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A new leaf that copies ``data``: a number, nested sequences, an array or a tensor.

    Python floats become the default dtype, integers int64; arrays keep their dtype.

    >>> import flambeau as torch
    >>> torch.tensor([[1.0, 2.0]]).shape
    torch.Size([1, 2])
    """
    return finish_new(array_of(data, dtype), device, requires_grad)


def array_of(data: Any, to: dtype | None) -> np.ndarray:
    """A fresh array of ``data``, in dtype ``to`` or the one PyTorch infers."""
    if isinstance(data, Tensor):
        return np.array(data._a, dtype=None if to is None else to.np)
    if isinstance(data, (np.ndarray, np.generic)):
        held = dtype_from_numpy(np.asarray(data).dtype) if to is None else to
        return np.array(data, dtype=held.np)
    array = np.array(data)
    if to is not None:
        return array.astype(to.np)
    if array.dtype.kind == "f":
        return array.astype(get_default_dtype().np)
    if array.dtype.kind == "c":
        return array.astype(get_default_dtype().to_complex().np)
    return array


@public("torch")
def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over the array's own memory: a change of either shows in both."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtype_from_numpy(ndarray.dtype)
    return wrap(ndarray if type(ndarray) is np.ndarray else ndarray.view(np.ndarray))


Tensor._from_array = staticmethod(from_numpy)  # type: ignore[attr-defined]

__all__ = ["FROM_NUMPY", "array_of", "dtypes", "finish_new", "from_numpy", "ones", "tensor",
           "zeros"]
