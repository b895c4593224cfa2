"""Random tensors for tests."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from flambeau.base import dtypes
from flambeau.base.dtypes import dtype
from flambeau.base.limits import finfo, iinfo
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor

__all__ = ["make_tensor"]

_TINY = (dtypes.float8_e4m3fn, dtypes.float8_e5m2, dtypes.float8_e4m3fnuz, dtypes.float8_e5m2fnuz)
_torch = FACES["torch"]


def make_tensor(
    *shape: Any,
    dtype: dtype,
    device: Any,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Uniform values in [low, high), by default [-9, 9) (bools: 0 and 1; unsigned: from 0 on).

    ``noncontiguous`` gives every other element of a row; ``exclude_zero`` puts 1, or the smallest
    normal number, in the place of zeros. Raises ValueError where the bounds are NaN, out of order
    or beyond what the dtype holds, TypeError for dtypes without numbers.

    >>> import flambeau as torch
    >>> t = torch.testing.make_tensor(2, 3, dtype=torch.int64, device="cpu", low=5, high=6)
    >>> t
    tensor([[5, 5, 5],
            [5, 5, 5]])
    """
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        shape = tuple(shape[0])
    floating = dtype.category >= dtypes.FLOAT
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually "
            f"exclusive, but got noncontiguous={noncontiguous!r} and "
            f"memory_format={memory_format!r}"
        )
    if requires_grad and not floating:
        raise ValueError(
            "`requires_grad=True` is not supported for boolean and integral dtypes, "
            f"but got dtype={dtype!r}"
        )
    apart = noncontiguous and math.prod(shape) > 1
    sizes = (*shape[:-1], 2 * shape[-1]) if apart else shape
    low, high = _bounds(low, high, dtype)
    result = _drawn(sizes, dtype, device, low, high)
    if apart:
        result = result[..., 1::2]
    elif memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        result[result == 0] = finfo(dtype).tiny if floating else 1
    if requires_grad and dtype not in _TINY:
        result.requires_grad_()
    return result


def _drawn(sizes: Sequence[int], dtype: dtype, device: Any, low: Any, high: Any) -> Any:
    if dtype.category < dtypes.FLOAT:
        return _torch["randint"](low, high, sizes, device=device, dtype=dtype)
    made = dtypes.float32 if dtype in _TINY else dtype
    result = _torch["empty"](sizes, device=device, dtype=made)
    parts = _torch["view_as_real"](result) if made.is_complex else result
    if high - low >= finfo(parts.dtype).max:
        # the width itself would overflow
        parts.uniform_(low / 2, high / 2).mul_(2)
    else:
        parts.uniform_(low, high)
    return result.to(dtype) if dtype in _TINY else result


def _bounds(low: float | None, high: float | None, dtype: dtype) -> tuple[Any, Any]:
    """The bounds that the dtype can hold, of those given or usual."""
    usual_low, usual_high = -9, 10
    if dtype is dtypes.bool_:
        least, beyond, usual_low, usual_high = 0.0, 2.0, 0, 2
    elif dtype.category < dtypes.FLOAT:
        limits = iinfo(dtype)
        least, beyond = limits.min, limits.max + (dtype is not dtypes.int64)
    elif dtype in _TINY or dtype in _DRAWN:
        least, beyond, usual_high = finfo(dtype).min, finfo(dtype).max, 9
    else:
        raise TypeError(
            f"The requested dtype '{dtype}' is not supported by "
            "torch.testing.make_tensor(). To request support, file an issue at: "
            "https://github.com/pytorch/pytorch/issues"
        )
    low = usual_low if low is None else low
    high = usual_high if high is None else high
    if any(isinstance(x, float) and math.isnan(x) for x in (low, high)):
        raise ValueError(f"`low` and `high` cannot be NaN, but got low={low!r} and high={high!r}")
    if low == high and dtype in _DRAWN:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex "
            "types is deprecated since 2.1 and will be removed in 2.3. Use "
            "`torch.full(...)` instead.",
            FutureWarning,
            stacklevel=3,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < least or low >= beyond:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), "
            f"but {dtype} only supports [{int(least) if dtype is dtypes.bool_ else least}, "
            f"{int(beyond) if dtype is dtypes.bool_ else beyond})"
        )
    low, high = (min(max(x, least), beyond) for x in (low, high))
    if dtype.category < dtypes.FLOAT:
        return math.ceil(low), math.ceil(high)
    return low, high


_DRAWN = (
    dtypes.float16,
    dtypes.bfloat16,
    dtypes.float32,
    dtypes.float64,
    dtypes.complex64,
    dtypes.complex128,
)
