"""How much to prune: the checks of amounts, as numbers of elements or as shares."""

from __future__ import annotations

import numbers
from typing import Any

from flambeau.core.tensor import Tensor

__all__ = ["check_amount", "check_count", "check_structured", "count_of"]


def check_amount(amount: Any) -> None:
    """Raise where ``amount`` is neither a share in [0, 1] nor a count."""
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    whole = isinstance(amount, numbers.Integral)
    if whole and amount < 0 or not whole and not 0.0 <= float(amount) <= 1.0:
        raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a "
                         "non-negative integer")


def count_of(amount: Any, size: int) -> int:
    """The number of elements that an amount of ``size`` is."""
    whole = isinstance(amount, numbers.Integral)
    return amount if whole else round(amount * size)  # type: ignore[return-value]


def check_count(count: int, size: int) -> None:
    """Raise where there are fewer elements than shall be pruned."""
    if count > size:
        raise ValueError(f"amount={count} should be smaller than the number of parameters to "
                         f"prune={size}")


def check_structured(t: Tensor, dim: int, amount: Any) -> tuple[int, int]:
    """The number of slices along ``dim``, and how many are pruned; raises where it makes none."""
    shape = t.shape
    if len(shape) <= 1:
        raise ValueError("Structured pruning can only be applied to multidimensional tensors. "
                         f"Found tensor of shape {shape} with {len(shape)} dims")
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {shape}")
    size = shape[dim]
    count = count_of(amount, size)
    check_count(count, size)
    return size, count
