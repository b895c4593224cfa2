"""Functions that PyTorch keeps for programs of its first years."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.base import dtypes, naming
from flambeau.base.dtypes import BY_NAME, set_default_dtype
from flambeau.core.face import FACES, public
from flambeau.core.tensor import Tensor

__all__ = ["frobenius_norm", "nuclear_norm", "set_default_tensor_type"]


def _deprecated(name: str, instead: str) -> None:
    warnings.warn(f"at::{name} is deprecated and it is just left for JIT compatibility. It will be "
                  f"removed in a future PyTorch release. Please use `{instead}` instead",
                  UserWarning, stacklevel=3)


@public("torch", out=True)
def frobenius_norm(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """The root of the sum of squared magnitudes over one or two dimensions."""
    _deprecated("frobenius_norm", "linalg.vector_norm(A, 2., dim, keepdim)")
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) > 2:
        raise RuntimeError(f"Expected at most 2 dimensions, but got {len(dims)} dimensions "
                           "instead.")
    return FACES["linalg"]["vector_norm"](input, 2.0, dims or None, keepdim)


@public("torch", out=True)
def nuclear_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum of the singular values of the matrices in two dimensions."""
    _deprecated("nuclear_norm", "linalg.matrix_norm(A, 'nuc', dim, keepdim)")
    if isinstance(dim, bool):
        dim, keepdim = None, dim
    return FACES["linalg"]["matrix_norm"](input, "nuc", (-2, -1) if dim is None else dim, keepdim)


@public("torch")
def set_default_tensor_type(t: Any) -> None:
    """Set the default dtype by one of the old floating tensor types or its dotted name.

    >>> import flambeau as torch
    >>> torch.set_default_tensor_type(torch.DoubleTensor)
    >>> torch.ones(1).dtype is torch.float64
    True
    >>> torch.set_default_tensor_type(torch.FloatTensor)
    """
    warnings.warn(f"{naming.prefix()}.set_default_tensor_type() is deprecated as of PyTorch 2.1, "
                  f"please use {naming.prefix()}.set_default_dtype() and "
                  f"{naming.prefix()}.set_default_device() as alternatives.", UserWarning,
                  stacklevel=2)
    if isinstance(t, str):
        t = _type_named(t)
    held = getattr(t, "dtype", None)
    if not isinstance(t, type) or not isinstance(held, dtypes.dtype):
        raise TypeError("invalid type object: only floating-point types are supported as the "
                        "default type")
    if not held.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    set_default_dtype(held)


def _type_named(name: str) -> Any:
    package, _, kind = name.rpartition(".")
    if package not in ("torch", "flambeau"):
        raise ModuleNotFoundError(f"No module named '{package or name}'")
    found = FACES["torch"].get(kind)
    if found is None:
        raise AttributeError(f"module '{package}' has no attribute '{kind}'")
    return found


@public("torch")
def to_dlpack(tensor: Tensor) -> Any:
    """The memory of ``tensor`` as a DLPack capsule, for ``from_dlpack`` of another library."""
    return tensor.__dlpack__()


@public("torch")
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """A column per power of the elements of ``x``: N-1 to 0, or 0 to N-1 if ``increasing``.

    >>> import flambeau as torch
    >>> torch.vander(torch.tensor([2, 3]))
    tensor([[2, 1],
            [3, 1]])
    """
    if x._a.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x._a.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    held = x.dtype if x.dtype.category >= dtypes.FLOAT else BY_NAME["int64"]
    rows = x._a.shape[0]
    table = x.new_ones((rows, min(count, 1)), dtype=held)
    if count > 1:
        powers = x.to(held).unsqueeze(1).expand(rows, count - 1).cumprod(1)
        table = FACES["torch"]["cat"]((table, powers), 1)
    return table if increasing else table.flip([1])
