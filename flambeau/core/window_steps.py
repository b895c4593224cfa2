"""Pooling, padding and interpolation as steps of a plan.

Each gives, of values that stand in for arrays, the bits that the operator's forward gives.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.backends.numpy import mean_pool, pad, resize
from flambeau.backends.numpy.axis_map import AxisMap, in_order
from flambeau.backends.numpy.pool import pool_size
from flambeau.backends.replay_plan import Refused, Value

__all__ = ["WINDOW_STEPS"]

# Windows of more cells are looked through sooner in other ways.
MOST_CELLS = 16
_UPSAMPLED = """
Nearest1D Nearest2D Nearest3D NearestExact1D NearestExact2D NearestExact3D Linear1D Bilinear2D
Trilinear3D Bicubic2D Bilinear2DAa Bicubic2DAa Lanczos2DAa
"""


def _mapped(a: Value, maps: Sequence[AxisMap | None]) -> Value:
    """The last axes mapped."""
    lead, found = a.ndim - len(maps), a
    for i, axis_map in in_order(maps):
        found = _along(found, axis_map, lead + i)
    return a.copy() if found is a else found


def _along(a: Value, axis_map: AxisMap, axis: int) -> Value:
    total: Any = None
    sizes = [-1 if at == axis else 1 for at in range(a.ndim)]
    for tap in axis_map.taps:
        if tap.out is not None or len(axis_map.taps) > MOST_CELLS:
            raise Refused
        index = a.writer.constant(tap.source.astype(np.int64).reshape(sizes))
        shape = [len(tap.source) if at == axis else n for at, n in enumerate(a.shape)]
        part: Any = a.writer.along(a, index.viewed(np.broadcast_to, shape), axis)
        if tap.weight is not None:
            part = part * a.writer.constant(tap.weight.astype(a.dtype).reshape(sizes))
        total = part if total is None else total + part
    if total is None:
        raise Refused
    return total  # type: ignore[no-any-return]


def _resized(a: Value, size: tuple, scaling: Any) -> Value:
    if a.dtype.kind != "f":
        raise Refused
    old = a.shape[a.ndim - len(size):]
    mode, align_corners, scales, antialias = scaling
    return _mapped(a, resize.axis_maps(old, size, mode, align_corners, scales, antialias, a.dtype))


def _bordered(mode: str) -> Callable:
    def find(a: Value, pairs: tuple) -> Value:
        return _mapped(a, pad.axis_maps(a.shape[a.ndim - len(pairs):], pairs, mode))

    return find


def _padded(a: Value, pairs: tuple, value: Any) -> Value:
    lead = a.ndim - len(pairs)
    sizes, inner, kept = [*a.shape[:lead]], [slice(None)] * lead, [slice(None)] * lead
    for n, (before, after) in zip(a.shape[lead:], pairs):
        kept.append(slice(max(-before, 0), n - max(-after, 0)))
        sizes.append(before + n + after)
        start = max(before, 0)
        inner.append(slice(start, start + n + min(before, 0) + min(after, 0)))
    part = a[tuple(kept)]
    if not part.size:
        raise Refused
    out = a.writer.value(tuple(sizes), a.dtype)
    a.writer.copy(out, np.array(value or 0, a.dtype), out.shape)
    out[tuple(inner)] = part
    return out


def _means(a: Value, window: Any) -> Value:
    """Means of windows that all have as many cells."""
    kernel, stride, padding, *rest = window
    lead = a.ndim - len(kernel)
    axes = tuple(zip(a.shape[lead:], kernel, stride, padding, strict=True))
    plan = mean_pool.mean_plan(axes, None, *rest)
    if plan.cells.ndim or a.dtype.kind != "f" or not all([line.every for line in plan.lines]):
        raise Refused
    total: Any = a
    for axis, line in enumerate(plan.lines, lead):
        total = mean_pool.sum_windows(total, axis, line)
    return total / plan.cells.astype(a.dtype)  # type: ignore[no-any-return]


def _means_of_parts(a: Value, size: tuple) -> Value:
    old = a.shape[a.ndim - len(size):]
    if any([not new or n % new for n, new in zip(old, size)]):
        raise Refused
    parts = tuple([n // new for n, new in zip(old, size)])
    return _means(a, (parts, parts, (0,) * len(size), False, True, None))


def _maxima(a: Value, window: Any) -> tuple[Value, Value]:
    """Maxima of windows that are all inside, and where they are; the last NaN, the first else."""
    kernel, stride, padding, dilation, ceil_mode = window
    lead = a.ndim - len(kernel)
    old = a.shape[lead:]
    axes = zip(old, kernel, stride, padding, dilation, strict=True)
    counts = [pool_size(n, k, s, p, d, ceil_mode) for n, k, s, p, d in axes]
    ends = [(c - 1) * s + (k - 1) * d + 1 for c, s, k, d in zip(counts, stride, kernel, dilation)]
    if any(padding) or any([end > n for end, n in zip(ends, old)]) or prod(kernel) > MOST_CELLS:
        raise Refused
    numbers = np.arange(prod(old)).reshape(old)
    best: Any = None
    for cell in itertools.product(*map(range, kernel)):
        part = tuple([slice(at * d, at * d + (c - 1) * s + 1, s)
                      for at, d, c, s in zip(cell, dilation, counts, stride)])
        value: Any = a[(..., *part)]
        place = a.writer.constant(np.ascontiguousarray(numbers[part]))
        place = place.viewed(np.broadcast_to, value.shape)
        if best is None:
            best, where = value.copy(), place.copy()
            continue
        better = (value > best) | (value != value)
        best = a.writer.choice(better, value, best)
        where = a.writer.choice(better, place, where)
    return best, where


WINDOW_STEPS: dict[str, Callable] = {
    "constant_pad_nd": _padded, "pad_circular": _bordered("circular"),
    **{f"reflection_pad{n}d": _bordered("reflect") for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _bordered("replicate") for n in (1, 2, 3)},
    **{f"resize_Upsample{name}": _resized for name in _UPSAMPLED.split()},
    **{f"avg_pool{n}d": _means for n in (2, 3)},
    **{f"adaptive_avg_pool{n}d": _means_of_parts for n in (2, 3)},
    **{f"max_pool{n}d_with_indices": _maxima for n in (2, 3)}}
