"""Type promotion over tensors and Python numbers, and numbers as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, category_of, default_for, dtype, promote_types
from flambeau.core.tensor import Tensor

__all__ = ["NUMBERS", "number_array", "result_type"]

NUMBERS = (bool, int, float, complex, np.number, np.bool_)


def result_type(operands: Iterable[Any]) -> dtype:
    """PyTorch's result dtype of tensors and Python numbers used together.

    Tensors with dimensions decide first; 0-dim tensors, then Python numbers, only raise the
    result to their category (bool, integer, floating, complex), never its width.
    """
    dims: dtype | None = None
    zero: dtype | None = None
    number = -1
    for x in operands:
        if isinstance(x, Tensor):
            held = FROM_NUMPY[x._a.dtype]
            if x._a.ndim:
                dims = held if dims is None else promote_types(dims, held)
            else:
                zero = held if zero is None else promote_types(zero, held)
        elif x is not None:
            number = max(number, category_of(x))
    return _combine(dims, zero, number)


def _combine(dims: dtype | None, zero: dtype | None, number: int) -> dtype:
    found = dims
    if zero is not None and (found is None or zero.category > found.category):
        found = zero if found is None else _raised(found, zero)
    if number >= 0 and (found is None or number > found.category):
        by_number = default_for(number)
        found = by_number if found is None else _raised(found, by_number)
    assert found is not None
    return found


def _raised(low: dtype, high: dtype) -> dtype:
    if high.is_complex and low.is_floating_point:
        return promote_types(low.to_complex(), high) if low is dtypes.float64 else high
    return high


def number_array(value: Any, held: np.dtype) -> np.ndarray:
    """A 0-dim array of a Python number; integers wrap around as in PyTorch."""
    if held.kind in "iu" and isinstance(value, int):
        if not -2**63 <= value < 2**64:
            raise RuntimeError("value cannot be converted to type int64_t without overflow")
        info = np.iinfo(held)
        if not info.min <= value <= info.max:
            value &= (1 << 8 * held.itemsize) - 1
            if held.kind == "i" and value > info.max:
                value -= 1 << 8 * held.itemsize
    return np.asarray(value, held)
