"""Filling arrays in the order of their memory, whatever their strides."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from flambeau.backends import memory

Dims = tuple[int, ...]


def in_memory_order(a: np.ndarray) -> np.ndarray:
    """`a` with its axes permuted from the largest stride to the smallest; a view."""
    if a.flags.c_contiguous:
        return a
    return a.transpose(memory_axes(a))


def memory_axes(a: np.ndarray) -> list[int]:
    """The axes of `a` from the largest stride to the smallest; equal strides keep their order."""
    return sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))


def result_axes(shape: Dims, operands: Sequence[np.ndarray]) -> list[int] | None:
    """How PyTorch lays out what it computes item by item from `operands`, broadcast to `shape`.

    The axes from the outermost to the innermost, None where they stay as they are: in the order of
    the strides of the first operand that tells two of them apart; one that repeats an item along
    an axis does not.

    >>> a = np.zeros((2, 3))
    >>> result_axes((2, 3), [a, a.T.copy().T]), result_axes((2, 3), [a.T.copy().T, a])
    (None, [1, 0])
    """
    return forms_axes(shape, tuple([(a.shape, a.strides) for a in operands]))


@functools.lru_cache(1 << 10)
def forms_axes(shape: Dims, forms: tuple[tuple[Dims, Dims], ...]) -> list[int] | None:
    """As `result_axes`, for operands of these shapes and strides."""
    rank = len(shape)
    steps = [(0,) * (rank - len(own)) + tuple(
        [0 if n == 1 != m else abs(step) for n, m, step in zip(own, shape[rank - len(own):], had)])
        for own, had in forms]
    inner = list(range(rank - 1, -1, -1))
    for start in range(1, rank):
        at = start
        for before in range(start - 1, -1, -1):
            order = _compared(inner[before], inner[at], shape, steps)
            if order > 0:
                inner[before], inner[at] = inner[at], inner[before]
                at = before
            elif order < 0:
                break
    axes = inner[::-1]
    return None if axes == list(range(rank)) else axes


def _compared(a: int, b: int, shape: Dims, steps: Sequence[Dims]) -> int:
    """Positive where axis `a` lies outside of axis `b`, negative inside, 0 where none tells."""
    for own in steps:
        if not own[a] or not own[b]:
            continue
        if own[a] != own[b]:
            return 1 if own[a] > own[b] else -1
        if shape[a] > shape[b]:
            return 1
    return 0


def empty_in_order(shape: Dims, dtype: np.dtype, axes: Sequence[int] | None) -> np.ndarray:
    """An uninitialised array whose axes lie in memory in the order `axes`, the outermost first.

    >>> empty_in_order((2, 3), np.dtype(np.int8), [1, 0]).strides
    (1, 2)
    """
    if axes is None:
        return memory.empty(shape, dtype)
    dense = memory.empty(tuple([shape[axis] for axis in axes]), dtype)
    return dense.transpose(inverse(axes))


def inverse(axes: Sequence[int]) -> list[int]:
    """The order of axes that undoes `axes`.

    >>> inverse([2, 0, 1])
    [1, 2, 0]
    """
    return sorted(range(len(axes)), key=list(axes).__getitem__)


@functools.lru_cache(1 << 10)
def _dense_strides(shape: Dims, itemsize: int, axes: tuple[int, ...]) -> Dims:
    steps = [0] * len(shape)
    step = itemsize
    for axis in reversed(axes):
        steps[axis] = step
        step *= max(shape[axis], 1)
    return tuple(steps)


def lies_in_order(a: np.ndarray, axes: Sequence[int] | None) -> bool:
    """Whether `a` is dense, and its axes lie in memory in the order `axes`."""
    if axes is None:
        return a.flags.c_contiguous
    return a.strides == _dense_strides(a.shape, a.itemsize, tuple(axes))


def suggests_channels_last(a: np.ndarray) -> bool:
    """Whether the strides of images or volumes have channels innermost, dense or not."""
    return a.ndim in (4, 5) and _suggests(a.shape, a.strides)


@functools.lru_cache(1 << 10)
def _suggests(shape: Dims, strides: Dims) -> bool:
    low = 0
    for axis in (1, *range(len(shape) - 1, 1, -1), 0):
        step = strides[axis]
        if not shape[axis] or step < low or axis == 0 and low == strides[1]:
            return False
        low = step * max(shape[axis], 1)
    return strides[1] != 0


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
    plain = values.dtype == a.dtype or values.dtype == bool and a.dtype.kind == "f"
    if plain and a.flags.c_contiguous:
        a.reshape(-1)[...] = values
        return
    view = in_memory_order(a)
    if plain:
        view[...] = values.reshape(view.shape)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        if is_reduced_float(a.dtype):
            values = values.astype(np.float32, copy=False)
        view[...] = values.reshape(view.shape)
