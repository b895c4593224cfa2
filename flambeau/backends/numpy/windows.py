"""What convolution, pooling and unfolding share: sizes, padding, window views, wide arithmetic."""

from collections.abc import Iterator, Sequence

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided

from flambeau.backends import conversions, fills

LARGE = 1 << 15
Pairs = Sequence[tuple[int, int]]

HALF = frozenset((np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)))


def widen(x: np.ndarray) -> np.ndarray:
    """x in the dtype it is computed in: float32 for the half types, else its own."""
    return x.astype(np.float32) if x.dtype in HALF else x


def per_axis(value: int | Sequence[int], n: int) -> tuple[int, ...]:
    """An int, or a sequence of one or n ints, as n ints."""
    if isinstance(value, (int, np.integer)):
        return (int(value),) * n
    values = tuple(int(v) for v in value)
    return values * n if len(values) == 1 else values


def pad_pairs(padding: int | Sequence[int] | Pairs, n: int) -> Pairs:
    """Padding as (before, after) per axis; an int means the same on both sides."""
    if isinstance(padding, (int, np.integer)):
        return [(int(padding), int(padding))] * n
    pairs = [(int(p), int(p)) if isinstance(p, (int, np.integer)) else p for p in padding]
    return pairs * n if len(pairs) == 1 else pairs


def window_count(size: int, pad: tuple[int, int], kernel: int, stride: int, dilation: int) -> int:
    """How many windows fit along an axis (never negative)."""
    room = size + pad[0] + pad[1] - dilation * (kernel - 1) - 1
    return max(room // stride + 1, 0)


def pad_last(x: np.ndarray, pads: Pairs, value: object = 0) -> np.ndarray:
    """The last len(pads) axes of x padded by a constant; a negative pad crops.

    Returns x itself, or a view of it, where nothing has to be added.
    """
    lead = x.ndim - len(pads)
    crop = [slice(None)] * lead
    inner = [slice(None)] * lead
    shape = list(x.shape[:lead])
    for size, (before, after) in zip(x.shape[lead:], pads, strict=True):
        first = max(-before, 0)
        last = max(size - max(-after, 0), first)
        crop.append(slice(first, last))
        start = max(before, 0)
        inner.append(slice(start, start + last - first))
        shape.append(max(size + before + after, 0))
    if all(before <= 0 and after <= 0 for before, after in pads):
        return x[tuple(crop)]
    if x.size < LARGE:
        out = np.full(shape, value, x.dtype) if value else np.zeros(shape, x.dtype)
    else:
        out = fills.full(tuple(shape), x.dtype, value)
    part, kept = out[tuple(inner)], x[tuple(crop)]
    if x.size < LARGE or not conversions.write(part, kept):
        part[...] = kept
    return out


def window_view(
    x: np.ndarray, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> np.ndarray:
    """All windows of the last axes of x as a view: (*lead, *counts, *kernel).

    Writeable where x is; windows may share memory, the cells of one kernel offset never do.
    """
    n = len(kernel)
    lead = x.ndim - n
    sizes = zip(x.shape[lead:], kernel, stride, dilation, strict=True)
    counts = [window_count(size, (0, 0), k, s, d) for size, k, s, d in sizes]
    steps = x.strides[lead:]
    shape = (*x.shape[:lead], *counts, *kernel)
    jumps = [step * s for step, s in zip(steps, stride, strict=True)]
    inner = [step * d for step, d in zip(steps, dilation, strict=True)]
    return as_strided(x, shape, (*x.strides[:lead], *jumps, *inner))


def slices(length: int, step: int) -> Iterator[slice]:
    """Cut range(length) into slices of step (the last may be shorter)."""
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def tap(offset: int, stride: int, size: int, count: int) -> tuple[slice, slice] | None:
    """Where window cell `offset` falls inside an axis: (slice of windows, slice of the axis).

    Window o reads position o * stride + offset; windows that fall outside are left out.
    None when no window reads inside.
    """
    first = max(-(offset // stride), 0)
    last = min((size - 1 - offset) // stride, count - 1)
    if last < first:
        return None
    start = first * stride + offset
    return slice(first, last + 1), slice(start, start + (last - first) * stride + 1, stride)


def along(ndim: int, axis: int, part: slice | np.ndarray) -> tuple[slice | np.ndarray, ...]:
    """An index that applies `part` to one axis and takes the others whole."""
    index: list[slice | np.ndarray] = [slice(None)] * ndim
    index[axis] = part
    return tuple(index)
