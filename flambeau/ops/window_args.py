"""What convolution, pooling and resampling share: argument checks, layouts, batch dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends.conversions import in_format_of
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.core.dispatch import apply
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor
from flambeau.ops.shape import permute, reshape

__all__ = ["batch_leading", "channels_last", "check_tensor", "expand_front", "fold_front",
           "int_of", "ints_of", "refuse_dtype", "to_front"]


def channels_last(out: np.ndarray, like: np.ndarray) -> np.ndarray:
    """``out`` row by row, or with its channels innermost where ``like`` has them so."""
    return in_format_of(out, like)


def to_front(t: Tensor, dim: int | None) -> Tensor:
    """``t`` with the dimension ``dim`` moved to the front, where there is one."""
    if not dim:
        return t
    return permute(t, [dim, *[i for i in range(t._a.ndim) if i != dim]])


def expand_front(t: Tensor, dim: int | None, size: int) -> Tensor:
    """``t`` with its batch dimension in front, repeated where it has none."""
    return t.expand(size, *t._a.shape) if dim is None else to_front(t, dim)


def fold_front(t: Tensor, dim: int | None, size: int, into: int) -> Tensor:
    """``t`` with its batch merged into the dimension ``into``; unbatched ones are repeated.

    Into dimension 0 nothing is repeated: an unbatched ``t`` comes back as it is.
    """
    if dim is None and into == 0:
        return t
    t = expand_front(t, dim, size)
    shape = t._a.shape
    if into:
        t = t.transpose(0, 1)
        return reshape(t, (shape[1], size * shape[2], *shape[3:]))
    return reshape(t, (size * shape[1], *shape[2:]))


def check_tensor(name: str, argument: str, t: Any, position: int = 1) -> None:
    """TypeError where ``t`` is no tensor."""
    if not isinstance(t, Tensor):
        raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be Tensor, "
                        f"not {type(t).__name__}")


def int_of(name: str, argument: str, value: Any, position: int) -> int:
    """An integer argument; TypeError for anything else."""
    if type(value) is int or isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Tensor) and value._a.ndim == 0 and value._a.dtype.kind in "iu":
        return int(value.item())
    raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be int, not "
                    f"{type(value).__name__}")


def ints_of(name: str, argument: str, value: Any, position: int) -> tuple[int, ...]:
    """An int or a sequence of ints as a tuple; TypeError for anything else."""
    if type(value) is int:
        return (value,)
    if isinstance(value, (list, tuple)):
        for at, v in enumerate(value):
            if type(v) is not int and not isinstance(v, np.integer):
                raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be "
                                f"tuple of ints, but found element of type {type(v).__name__} at "
                                f"pos {at}")
        return tuple([int(v) for v in value])
    if isinstance(value, np.integer):
        return (int(value),)
    if isinstance(value, Tensor) and value._a.ndim == 0:
        return (int(value.item()),)
    raise TypeError(f"{name}(): argument '{argument}' (position {position}) must be tuple of ints,"
                    f" not {type(value).__name__}")


def refuse_dtype(kernel: str, held: np.dtype) -> None:
    """Raise that ``kernel`` is not there for arrays of dtype ``held``."""
    raise NotImplementedError(f"\"{kernel}\" not implemented for '{FROM_NUMPY[held].title}'")


def batch_leading(op: Op, inputs: Sequence[Any], dims: Sequence[int | None],
                  **params: Any) -> tuple:
    """A batching rule for operators that take any number of leading dimensions."""
    if len(inputs) == 1:
        return apply(op, (to_front(inputs[0], dims[0]),), params), 0
    size = next(t._a.shape[d] for t, d in zip(inputs, dims) if d is not None)
    return apply(op, [expand_front(t, d, size) for t, d in zip(inputs, dims)], params), 0
