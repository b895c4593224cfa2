"""Interpolation to another size: separable, linear in x, each axis a sparse map.

PyTorch's coordinate rules. Output cell i reads the input around

    align_corners:  i * (in - 1) / (out - 1)
    otherwise:      (i + 1/2) * scale - 1/2,   scale = in / out, or 1 / the scale factor given

The coordinates are computed in the dtype PyTorch uses (float32, or float64 for float64 arrays
and bytes; always float32 for the nearest modes): a cell on a boundary falls by the last bit.
Cubic weights: Keys, Cubic convolution interpolation, 1981, with a = -3/4 (-1/2 when antialiased).
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from flambeau.backends.numpy.axis_map import AxisMap, apply_maps, apply_transposed
from flambeau.backends.numpy.mean_pool import (
    adaptive_avg_pool_nd,
    adaptive_avg_pool_nd_transpose,
)

Scales = Sequence[float | None] | None

LINEAR = frozenset(("linear", "bilinear", "trilinear"))
CUBIC = "bicubic"
LANCZOS = "lanczos"
NEAREST = frozenset(("nearest", "nearest-exact"))

# Up to this height plus width, "nearest" in 2-D ignores a scale that leaves or doubles an axis.
SMALL_IMAGE = 128


def resize(
    x: np.ndarray,
    size: Sequence[int],
    mode: str = "nearest",
    align_corners: bool = False,
    scales: Scales = None,
    antialias: bool = False,
) -> np.ndarray:
    """x (*lead, *S) interpolated to (*lead, *size).

    mode: nearest, nearest-exact, linear, bilinear, trilinear, bicubic, area, or lanczos (only
    antialiased). scales: the scale
    factors as given, where the coordinates shall follow them rather than the sizes (None: the
    sizes). The half types are computed in float32 and rounded once; uint8 uses
    fixed-point weights, as PyTorch does.

    >>> resize(np.array([1.0, 2.0]), (4,), "linear")
    array([1.  , 1.25, 1.75, 2.  ])
    """
    if mode == "area":
        return adaptive_avg_pool_nd(x, size)
    old = x.shape[x.ndim - len(size) :]
    maps = axis_maps(old, size, mode, align_corners, scales, antialias, x.dtype)
    if x.dtype == np.uint8 and mode not in NEAREST:
        return _resize_bytes(x, maps)
    return apply_maps(x, maps)


def _resize_bytes(x: np.ndarray, maps: Sequence[AxisMap | None]) -> np.ndarray:
    """Bytes with 16-bit fixed-point weights, rounded and clipped after each axis, last first."""
    for i, axis_map in reversed(list(enumerate(maps))):
        if axis_map is None:
            continue
        out, source, weight = axis_map.entries
        keys, merged = np.unique(out * axis_map.inputs + source, return_inverse=True)
        weight = np.bincount(merged, weight)
        # The most fraction bits that keep every weight within 16 bits.
        bits = 0
        while bits < 22 and 0.5 + weight.max() * 2.0 ** (bits + 1) < 2**15:
            bits += 1
        scaled = weight * 2.0**bits
        fixed = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int32)
        inputs = axis_map.inputs
        exact = AxisMap(axis_map.outputs, inputs, keys // inputs, keys % inputs, fixed)
        total = exact.apply(x.astype(np.int32), x.ndim - len(maps) + i) + (1 << bits >> 1)
        x = np.clip(total >> bits, 0, 255).astype(np.uint8)
    return x


def resize_transpose(
    g: np.ndarray,
    size: Sequence[int],
    mode: str = "nearest",
    align_corners: bool = False,
    scales: Scales = None,
    antialias: bool = False,
) -> np.ndarray:
    """The transpose of resize: g (*lead, *out) brought back to the input's (*lead, *size).

    >>> resize_transpose(np.ones(4), (2,), "linear")
    array([2., 2.])
    """
    if mode == "area":
        return adaptive_avg_pool_nd_transpose(g, size)
    new = g.shape[g.ndim - len(size) :]
    maps = axis_maps(size, new, mode, align_corners, scales, antialias, g.dtype)
    return apply_transposed(g, maps)


def axis_maps(
    old: Sequence[int],
    new: Sequence[int],
    mode: str,
    align_corners: bool,
    scales: Scales,
    antialias: bool,
    dtype: np.dtype,
) -> list[AxisMap | None]:
    """One map per axis; None where the axis does not change."""
    scales = scales or (None,) * len(new)
    if mode == "nearest" and len(new) == 2 and sum(new) <= SMALL_IMAGE:
        whole = zip(old, new, scales, strict=True)
        scales = [None if o in (i, 2 * i) else scale for i, o, scale in whole]
    # Bytes are weighed in fixed point, from weights in full precision.
    real = "float64" if dtype in (np.float64, np.uint8) else "float32"
    maps: list[AxisMap | None] = []
    for i, o, scale in zip(old, new, scales, strict=True):
        # These copy an axis that keeps its size, whatever scale was given.
        plain = scale is None or align_corners or antialias or mode in LINEAR
        if i == o and plain:
            maps.append(None)
        else:
            maps.append(resize_map(i, o, mode, align_corners, scale, antialias, real))
    return maps


@lru_cache(maxsize=256)
def resize_map(
    old: int,
    new: int,
    mode: str,
    align_corners: bool = False,
    scale: float | None = None,
    antialias: bool = False,
    dtype: str = "float32",
) -> AxisMap:
    """The interpolation of one axis from `old` cells to `new`."""
    if mode in NEAREST:
        return AxisMap(new, old, np.arange(new), _nearest(old, new, mode, scale))
    real = np.dtype(dtype).type
    step = _step(old, new, align_corners, scale, real)
    if antialias:
        return _antialiased(old, new, mode, step, real)
    if mode in LINEAR:
        return _linear(old, new, align_corners, step, real)
    if mode == CUBIC:
        return _cubic(old, new, align_corners, step, real)
    raise ValueError(f"unknown interpolation mode {mode!r}")


def _step(
    old: int, new: int, align_corners: bool, scale: float | None, real: type[np.floating]
) -> np.floating:
    """Input cells per output cell."""
    if align_corners:
        return real(old - 1) / real(new - 1) if new > 1 else real(0)
    if scale is not None and scale > 0:
        return real(1.0 / scale)
    return real(old) / real(new)


def _nearest(old: int, new: int, mode: str, scale: float | None) -> np.ndarray:
    step = _step(old, new, False, scale, np.float32)
    half = np.float32(0.5 if mode == "nearest-exact" else 0)
    source = np.floor((np.arange(new).astype(np.float32) + half) * step)
    return np.minimum(source.astype(np.int64), old - 1)


def _coordinates(
    new: int, align_corners: bool, step: np.floating, real: type[np.floating]
) -> np.ndarray:
    cells = np.arange(new).astype(real)
    if align_corners:
        return step * cells
    return step * (cells + real(0.5)) - real(0.5)


def _linear(
    old: int, new: int, align_corners: bool, step: np.floating, real: type[np.floating]
) -> AxisMap:
    place = np.maximum(_coordinates(new, align_corners, step, real), real(0))
    low = np.minimum(place.astype(np.int64), old - 1)
    high = np.minimum(low + 1, old - 1)
    upper = np.clip(place - low.astype(real), real(0), real(1))
    cells = np.arange(new)
    return AxisMap(
        new,
        old,
        np.concatenate((cells, cells)),
        np.concatenate((low, high)),
        np.concatenate((real(1) - upper, upper)),
    )


def _cubic(
    old: int, new: int, align_corners: bool, step: np.floating, real: type[np.floating]
) -> AxisMap:
    place = _coordinates(new, align_corners, step, real)
    low = np.floor(place)
    part = np.clip(place - low, real(0), real(1))
    source = low.astype(np.int64) + np.arange(-1, 3)[:, None]
    distances = (part + real(1), part, real(1) - part, real(2) - part)
    weights = np.stack([_cubic_weight(d, real(-0.75)) for d in distances])
    cells = np.broadcast_to(np.arange(new), source.shape)
    source = np.clip(source, 0, old - 1)
    return AxisMap(new, old, cells.reshape(-1), source.reshape(-1), weights.reshape(-1))


def _cubic_weight(x: np.ndarray, a: np.floating) -> np.ndarray:
    """Keys's kernel at distance x >= 0; zero from 2 on."""
    one = type(a)(1)
    near = ((a + 2 * one) * x - (a + 3 * one)) * x * x + one
    far = ((x - 5 * one) * x + 8 * one) * x * a - 4 * one * a
    return np.where(x <= 1, near, np.where(x < 2, far, type(a)(0)))


def _lanczos_weight(x: np.ndarray) -> np.ndarray:
    """The sinc function under the middle of a sinc three times as wide."""
    return np.where(x < 3, np.sinc(x) * np.sinc(x / x.dtype.type(3)), x.dtype.type(0))


def _linear_weight(x: np.ndarray) -> np.ndarray:
    return np.maximum(x.dtype.type(1) - x, x.dtype.type(0))


def _antialiased(
    old: int, new: int, mode: str, step: np.floating, real: type[np.floating]
) -> AxisMap:
    """A kernel stretched by the step where it shrinks, its weights scaled to sum to one."""
    radius = real({CUBIC: 2, LANCZOS: 3}.get(mode, 1))
    stretch = max(step, real(1))
    support = radius * stretch
    center = step * (np.arange(new).astype(real) + real(0.5))
    first = np.maximum((center - support + real(0.5)).astype(np.int64), 0)
    last = np.minimum((center + support + real(0.5)).astype(np.int64), old)
    counts = np.maximum(last - first, 0)
    cells = np.repeat(np.arange(new), counts)
    offsets = np.arange(cells.size) - np.repeat(np.cumsum(counts) - counts, counts)
    source = np.repeat(first, counts) + offsets
    shift = np.repeat(first.astype(real) - center + real(0.5), counts)
    distance = np.abs((offsets.astype(real) + shift) * (real(1) / stretch))
    if mode == CUBIC:
        weight = _cubic_weight(distance, real(-0.5))
    elif mode == LANCZOS:
        weight = _lanczos_weight(distance)
    else:
        weight = _linear_weight(distance)
    total = np.zeros(new, real)
    np.add.at(total, cells, weight)
    weight = weight / np.where(total == 0, real(1), total)[cells]
    return AxisMap(new, old, cells, source, weight)
