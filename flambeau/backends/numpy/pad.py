"""Padding of the last axes: by a constant, or by repeating, mirroring or wrapping the input.

Pads are (before, after) pairs, one for each of the last axes in order; a negative pad crops.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from flambeau.backends import conversions, memory
from flambeau.backends.conversions import dense_copy
from flambeau.backends.numpy.axis_map import AxisMap, apply_maps, apply_transposed
from flambeau.backends.numpy.windows import Pairs, pad_last

# from so many items borders are copied apart, as most of what is padded is the input itself
MIN_ITEMS = 1 << 12


def pad(x: np.ndarray, pads: Pairs, mode: str = "constant", value: object = 0) -> np.ndarray:
    """x padded; mode is constant, reflect, replicate or circular. Always a new array.

    reflect needs pads smaller than the axis, circular no larger than it.

    >>> pad(np.array([1, 2, 3]), [(2, 1)], "reflect")
    array([3, 2, 1, 2, 3, 2])
    """
    if mode == "constant":
        out = pad_last(x, pads, value)
        return dense_copy(out) if np.may_share_memory(out, x) else out
    if x.size >= MIN_ITEMS and min(map(min, pads)) >= 0:
        return _with_borders(x, pads, mode)
    return apply_maps(x, axis_maps(x.shape[x.ndim - len(pads) :], pads, mode))


def _with_borders(x: np.ndarray, pads: Pairs, mode: str) -> np.ndarray:
    """x padded by a copy of it, and then, axis by axis, copies of what borders repeat."""
    first = x.ndim - len(pads)
    sizes = [n + before + after for n, (before, after) in zip(x.shape[first:], pads)]
    out = memory.empty((*x.shape[:first], *sizes), x.dtype)
    inner = out[_inside(x.shape[first:], pads)]
    if not conversions.write(inner, x):
        inner[...] = x
    for axis, pair in enumerate(pads, first):
        rows = np.moveaxis(out, axis, 0)
        for places, sources in _borders(x.shape[axis], *pair, mode):
            rows[places] = rows[sources]
    return out


def _without_borders(g: np.ndarray, size: Sequence[int], pads: Pairs, mode: str) -> np.ndarray:
    """The transpose of `_with_borders`: borders are added to what they repeat, and cut off."""
    narrow = g.dtype.itemsize == 2
    total = conversions.astype(g, np.dtype(np.float32)) if narrow else dense_copy(g)
    for axis in range(g.ndim - 1, g.ndim - len(pads) - 1, -1):
        rows = np.moveaxis(total, axis, 0)
        at = axis - g.ndim
        for places, sources in _borders(size[at], *pads[at], mode):
            if mode == "replicate":
                rows[sources[0]] += rows[places].sum(0)
            else:
                rows[sources] += rows[places]
    found = dense_copy(total[_inside(size, pads)])
    return conversions.astype(found, g.dtype) if narrow else found


def _inside(size: Sequence[int], pads: Pairs) -> tuple:
    return (..., *[slice(before, before + n) for n, (before, _) in zip(size, pads)])


def _borders(
    size: int, before: int, after: int, mode: str
) -> list[tuple[slice, np.ndarray]]:
    """The places in front and behind on an axis, each with those inside that it repeats."""
    sources = before + _sources(np.arange(-before, size + after), size, before, after, mode)
    sides = [slice(0, before), slice(before + size, before + size + after)]
    return [(places, sources[places]) for places in sides if places.stop > places.start]


def pad_transpose(g: np.ndarray, pads: Pairs, mode: str = "constant") -> np.ndarray:
    """The transpose of pad (with value 0): g brought back to the shape of x.

    The half types are summed in float32 and rounded once.

    >>> pad_transpose(np.ones(6), [(2, 1)], "reflect")
    array([1., 3., 2.])
    """
    if mode == "constant":
        return pad(g, [(-before, -after) for before, after in pads])
    padded = g.shape[g.ndim - len(pads) :]
    size = [n - before - after for n, (before, after) in zip(padded, pads, strict=True)]
    if g.size >= MIN_ITEMS and min(map(min, pads)) >= 0 and g.dtype.kind in "fV":
        return _without_borders(g, size, pads, mode)
    return apply_transposed(g, axis_maps(size, pads, mode))


def axis_maps(size: Sequence[int], pads: Pairs, mode: str) -> list[AxisMap | None]:
    pairs = zip(size, pads, strict=True)
    return [pad_map(n, *pair, mode) if any(pair) else None for n, pair in pairs]


@lru_cache(maxsize=256)
def pad_map(size: int, before: int, after: int, mode: str) -> AxisMap:
    """The padding of one axis."""
    place = np.arange(-before, size + after)
    source = _sources(place, size, before, after, mode)
    return AxisMap(place.size, size, np.arange(place.size), source)


def _sources(place: np.ndarray, size: int, before: int, after: int, mode: str) -> np.ndarray:
    """The places on an axis that others, counted from its first, repeat."""
    if mode == "replicate":
        return np.clip(place, 0, size - 1)
    if mode == "circular":
        # What a negative pad cuts off takes no part in the cycle.
        first = max(-before, 0)
        return first + (place - first) % (size - first - max(-after, 0))
    if mode == "reflect":
        source = np.abs(place)
        return np.where(source >= size, 2 * (size - 1) - source, source)
    raise ValueError(f"unknown padding mode {mode!r}")
