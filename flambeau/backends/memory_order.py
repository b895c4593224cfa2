"""Filling arrays in the order of their memory, whatever their strides."""

from __future__ import annotations

import numpy as np


def in_memory_order(a: np.ndarray) -> np.ndarray:
    """`a` with its axes permuted from the largest stride to the smallest; a view."""
    if a.flags.c_contiguous:
        return a
    return a.transpose(memory_axes(a))


def memory_axes(a: np.ndarray) -> list[int]:
    """The axes of `a` from the largest stride to the smallest; equal strides keep their order."""
    return sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))


def is_channels_last(a: np.ndarray) -> bool:
    """Whether images or volumes lie with their channels side by side."""
    return a.ndim in (4, 5) and a.transpose(0, *range(2, a.ndim), 1).flags.c_contiguous


def is_reduced_float(dtype: np.dtype) -> bool:
    """Whether `dtype` is a floating type of 16 bits or fewer (float16, bfloat16, float8)."""
    return dtype == np.float16 or (dtype.kind == "V" and dtype.itemsize <= 2)


def elements(a: np.ndarray) -> np.ndarray:
    """A view of `a` as real numbers: complex (..., ) becomes real (..., 2), others stay."""
    if a.dtype.kind != "c":
        return a
    part = a.real
    shape = (*a.shape, 2)
    return np.lib.stride_tricks.as_strided(part, shape, (*a.strides, part.itemsize))


def store(a: np.ndarray, values: np.ndarray) -> None:
    """Write flat `values` into `a` in memory order, cast as C++ would.

    Types of 16 bits are reached through float32, as PyTorch's conversions are.
    """
    view = in_memory_order(a)
    if values.dtype == a.dtype or values.dtype == bool and a.dtype.kind == "f":
        view[...] = values.reshape(view.shape)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if is_reduced_float(a.dtype):
            values = values.astype(np.float32, copy=False)
        view[...] = values.reshape(view.shape)
