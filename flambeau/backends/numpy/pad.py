"""Padding of the last axes: by a constant, or by repeating, mirroring or wrapping the input.

Pads are (before, after) pairs, one for each of the last axes in order; a negative pad crops.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from flambeau.backends.conversions import dense_copy
from flambeau.backends.numpy.axis_map import AxisMap, apply_maps, apply_transposed
from flambeau.backends.numpy.windows import Pairs, pad_last


def pad(x: np.ndarray, pads: Pairs, mode: str = "constant", value: object = 0) -> np.ndarray:
    """x padded; mode is constant, reflect, replicate or circular. Always a new array.

    reflect needs pads smaller than the axis, circular no larger than it.

    >>> pad(np.array([1, 2, 3]), [(2, 1)], "reflect")
    array([3, 2, 1, 2, 3, 2])
    """
    if mode == "constant":
        out = pad_last(x, pads, value)
        return dense_copy(out) if np.may_share_memory(out, x) else out
    return apply_maps(x, _maps(x.shape[x.ndim - len(pads) :], pads, mode))


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
    return apply_transposed(g, _maps(size, pads, mode))


def _maps(size: Sequence[int], pads: Pairs, mode: str) -> list[AxisMap | None]:
    pairs = zip(size, pads, strict=True)
    return [pad_map(n, *pair, mode) if any(pair) else None for n, pair in pairs]


@lru_cache(maxsize=256)
def pad_map(size: int, before: int, after: int, mode: str) -> AxisMap:
    """The padding of one axis."""
    place = np.arange(-before, size + after)
    if mode == "replicate":
        source = np.clip(place, 0, size - 1)
    elif mode == "circular":
        # What a negative pad cuts off takes no part in the cycle.
        first = max(-before, 0)
        source = first + (place - first) % (size - first - max(-after, 0))
    elif mode == "reflect":
        source = np.abs(place)
        source = np.where(source >= size, 2 * (size - 1) - source, source)
    else:
        raise ValueError(f"unknown padding mode {mode!r}")
    return AxisMap(place.size, size, np.arange(place.size), source)
