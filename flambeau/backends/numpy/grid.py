"""Sampling an image at the points of a grid, and affine grids.

Jaderberg et al., Spatial transformer networks, 2015. Coordinates run from -1 to 1 over an axis:
from the centers of the first and last cells (align_corners) or from their outer edges.

Each axis gives a few taps per point: the cell read, its weight, and the weight's slope along the
grid coordinate. The value at a point is the sum over one tap per axis of the product of weights
times the cell. A cell outside the input reads an extra row of zeros.

Each of the three maps (the samples, and the gradients in the image and in the grid) takes
`along`, a direction shaped like the grid: it then gives its own derivative along it. The half
types round after every step, as they do in PyTorch: cells and weights depend on it.
"""

import itertools
from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from flambeau.backends.numpy.windows import widen

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


class Taps(NamedTuple):
    """One axis, all points: each array is (taps, N * points)."""

    cell: np.ndarray  # -1 where nothing is read
    weight: np.ndarray
    slope: np.ndarray
    bend: np.ndarray | None = None  # the slope's slope; None: zero


def grid_sample(
    x: np.ndarray,
    grid: np.ndarray,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    along: np.ndarray | None = None,
) -> np.ndarray:
    """x (N, C, *S) at grid (N, *out, n): (N, C, *out). n is 2 or 3; bicubic is for 2.

    The grid's last axis holds the coordinate along the last spatial axis first. Linear in x.

    >>> grid_sample(np.arange(4.0).reshape(1, 1, 2, 2), np.zeros((1, 1, 1, 2)))
    array([[[[1.5]]]])
    """
    rows = _rows(x)
    taps = _all_taps(x.shape, grid, mode, padding_mode, align_corners)
    total = np.zeros((prod(grid.shape[:-1]), x.shape[1]), rows.dtype)
    if mode == "bicubic" and along is None:
        _add_bicubic(total, rows, taps, x.shape)
        return _from_rows(total, grid.shape[:-1])
    for cells, weight, _ in _corners(taps, x.shape, along):
        part = rows.take(cells, 0)
        part *= weight[:, None]
        total += part
    return _from_rows(total, grid.shape[:-1])


def _add_bicubic(
    total: np.ndarray, rows: np.ndarray, taps: Sequence[Taps], shape: Sequence[int]
) -> None:
    """Four rows, each interpolated by itself, then across: as PyTorch rounds it."""
    image = _first_rows(taps, shape)
    for k, across in enumerate(taps[0].weight):
        line = np.zeros_like(total)
        for i, weight in enumerate(taps[1].weight):
            part = rows.take(_row_of(taps, (k, i), shape, image), 0)
            part *= weight[:, None]
            line += part
        line *= across[:, None]
        total += line


def grid_sample_input_grad(
    g: np.ndarray,
    grid: np.ndarray,
    input_shape: Sequence[int],
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    along: np.ndarray | None = None,
) -> np.ndarray:
    """The transpose of grid_sample in x: g (N, C, *out) scattered into input_shape."""
    taps = _all_taps(input_shape, grid, mode, padding_mode, align_corners)
    channels, size = input_shape[1], input_shape[2:]
    count = input_shape[0] * prod(size)
    values = np.moveaxis(widen(g), 1, 0).reshape(channels, prod(grid.shape[:-1]))
    out = np.zeros((channels, count + 1), values.dtype)
    corners = list(_corners(taps, input_shape, along))
    if corners and g.size:
        cells = np.concatenate([corner[0] for corner in corners])
        weights = np.stack([corner[1] for corner in corners])
        for c in range(channels):
            parts = (weights * values[c]).reshape(-1)
            out[c] = np.bincount(cells, parts.astype(np.float64, copy=False), count + 1)
    image = out[:, :count].reshape(channels, input_shape[0], *size)
    return np.ascontiguousarray(np.moveaxis(image, 0, 1)).astype(g.dtype, copy=False)


def grid_sample_grid_grad(
    g: np.ndarray,
    x: np.ndarray,
    grid: np.ndarray,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = False,
    along: np.ndarray | None = None,
) -> np.ndarray:
    """The gradient of <g, grid_sample(x, grid)> in grid, shaped like grid.

    Zero for the nearest mode, and along an axis where a point is clipped to the border.
    """
    rows = _rows(widen(x))
    taps = _all_taps(x.shape, grid, mode, padding_mode, align_corners)
    values = np.moveaxis(widen(g), 1, -1).reshape(prod(grid.shape[:-1]), x.shape[1])
    total = np.zeros((prod(grid.shape[:-1]), len(taps)), rows.dtype)
    for cells, _, slopes in _corners(taps, x.shape, along):
        seen = np.einsum("pc,pc->p", rows.take(cells, 0), values)
        for axis, slope in enumerate(slopes):
            total[:, len(taps) - 1 - axis] += slope * seen
    return total.reshape(grid.shape).astype(grid.dtype, copy=False)


def affine_base_grid(
    size: Sequence[int], align_corners: bool = False, dtype: np.dtype | type = np.float32
) -> np.ndarray:
    """The points of the identity grid over spatial `size`, homogeneous: (prod(size), n + 1).

    >>> affine_base_grid((1, 2))
    array([[-0.5,  0. ,  1. ],
           [ 0.5,  0. ,  1. ]], dtype=float32)
    """
    n = len(size)
    base = np.ones((*size, n + 1), dtype)
    for axis, count in enumerate(size):
        line = _line(count, align_corners, np.dtype(dtype).type)
        base[..., n - 1 - axis] = line.reshape((-1,) + (1,) * (n - 1 - axis))
    return base.reshape(-1, n + 1)


def affine_grid(theta: np.ndarray, size: Sequence[int], align_corners: bool = False) -> np.ndarray:
    """The identity grid moved by theta (N, n, n + 1): (N, *size[2:], n). Linear in theta.

    size is the output's whole shape, (N, C, *S).

    >>> affine_grid(np.array([[[1.0, 0, 0], [0, 1, 0]]]), (1, 1, 1, 2))
    array([[[[-0.5,  0. ],
             [ 0.5,  0. ]]]])
    """
    wide = widen(theta)
    base = affine_base_grid(size[2:], align_corners, wide.dtype)
    grid = np.matmul(base, wide.swapaxes(1, 2))
    return grid.reshape(theta.shape[0], *size[2:], theta.shape[1]).astype(theta.dtype, copy=False)


def affine_grid_transpose(
    g: np.ndarray, size: Sequence[int], align_corners: bool = False
) -> np.ndarray:
    """The transpose of affine_grid: g (N, *S, n) brought back to theta's (N, n, n + 1)."""
    wide = widen(g)
    base = affine_base_grid(size[2:], align_corners, wide.dtype)
    flat = wide.reshape(g.shape[0], base.shape[0], g.shape[-1])
    return np.matmul(flat.swapaxes(1, 2), base).astype(g.dtype, copy=False)


def _line(count: int, align_corners: bool, real: type[np.floating]) -> np.ndarray:
    """Cell centers of one axis, built from both ends so that it is symmetric."""
    if count <= 1:
        return np.zeros(count, real)
    step = real(2) / real(count - 1)
    i = np.arange(count)
    line = np.where(i < count // 2, step * i.astype(real) - real(1), 0).astype(real)
    late = real(1) - step * (count - 1 - i).astype(real)
    line = np.where(i < count // 2, line, late)
    return line if align_corners else line * real(count - 1) / real(count)


def _rows(x: np.ndarray) -> np.ndarray:
    """x (N, C, *S) as one row of channels per cell, and a row of zeros at the end."""
    channels = x.shape[1]
    out = np.zeros((x.shape[0] * prod(x.shape[2:]) + 1, channels), x.dtype)
    out[:-1] = np.moveaxis(x, 1, -1).reshape(out.shape[0] - 1, channels)
    return out


def _from_rows(rows: np.ndarray, points: Sequence[int]) -> np.ndarray:
    """(N * points, C) as (N, C, *out)."""
    return np.ascontiguousarray(np.moveaxis(rows.reshape(*points, rows.shape[1]), -1, 1))


def _all_taps(
    shape: Sequence[int], grid: np.ndarray, mode: str, padding_mode: str, align_corners: bool
) -> list[Taps]:
    """The taps of each spatial axis, in the order of the axes."""
    n = len(shape) - 2
    flat = grid.reshape(-1, n)
    reader = {"bilinear": _linear_taps, "nearest": _nearest_taps, "bicubic": _cubic_taps}[mode]
    if mode == "bilinear" and n == 3:
        reader = _trilinear_taps
    taps = []
    for axis, size in enumerate(shape[2:]):
        place, factor = _to_cells(flat[:, n - 1 - axis], size, align_corners, n)
        taps.append(reader(place, factor, size, padding_mode, align_corners))
    return taps


def _corners(
    taps: Sequence[Taps], shape: Sequence[int], along: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """Every choice of one tap per axis: (row read, weight, slope along each axis).

    With `along`, weight and slopes are their derivatives in that direction.
    """
    image = _first_rows(taps, shape)
    moves = None if along is None else along.reshape(image.size, -1).T[::-1]
    for choice in itertools.product(*(range(t.cell.shape[0]) for t in taps)):
        row = _row_of(taps, choice, shape, image)
        weights = [t.weight[k] for t, k in zip(taps, choice, strict=True)]
        slopes = [t.slope[k] for t, k in zip(taps, choice, strict=True)]
        if moves is None:
            each = [_swapped(weights, {i: slope}) for i, slope in enumerate(slopes)]
            yield row, _swapped(weights, {}), each
        else:
            bends = [None if t.bend is None else t.bend[k] for t, k in zip(taps, choice)]
            yield row, *_derived(weights, slopes, bends, moves)


def _first_rows(taps: Sequence[Taps], shape: Sequence[int]) -> np.ndarray:
    """The first row of each point's image."""
    points = taps[0].cell.shape[1] // max(shape[0], 1)
    return np.repeat(np.arange(shape[0]) * prod(shape[2:]), points)


def _row_of(
    taps: Sequence[Taps], choice: Sequence[int], shape: Sequence[int], image: np.ndarray
) -> np.ndarray:
    """The row that one tap per axis reads at each point."""
    first, *others = [t.cell[k] for t, k in zip(taps, choice, strict=True)]
    row, inside = first, first >= 0
    for cell, size in zip(others, shape[3:], strict=True):
        row = row * size + cell
        inside &= cell >= 0
    return np.where(inside, row + image, shape[0] * prod(shape[2:]))


def _swapped(weights: Sequence[np.ndarray], others: dict[int, np.ndarray]) -> np.ndarray:
    """The product of the weights, the last axis's first, with some replaced."""
    last = len(weights) - 1
    total = others.get(last, weights[last])
    for i in reversed(range(last)):
        total = total * others.get(i, weights[i])
    return total


def _derived(
    weights: list[np.ndarray],
    slopes: list[np.ndarray],
    bends: list[np.ndarray | None],
    moves: np.ndarray,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The derivatives of a corner's weight, and of its slopes, along `moves` (one per axis)."""
    each = [_swapped(weights, {i: slope}) for i, slope in enumerate(slopes)]
    weight = sum((m * slope for m, slope in zip(moves, each)), np.zeros_like(weights[0]))
    turned = []
    for i, slope in enumerate(slopes):
        total = np.zeros_like(weight)
        for k, other in enumerate(slopes):
            if k != i:
                total += moves[k] * _swapped(weights, {i: slope, k: other})
        bend = bends[i]
        if bend is not None:
            total += moves[i] * _swapped(weights, {i: bend})
        turned.append(total)
    return weight, turned


def _to_cells(
    c: np.ndarray, size: int, align_corners: bool, n: int
) -> tuple[np.ndarray, np.floating]:
    """Grid coordinates in units of cells, and the factor between the two."""
    real = c.dtype.type
    span = real(size - 1) if align_corners else real(size)
    factor = span / real(2)
    # Rounding as PyTorch's 4-D and 5-D kernels each do it.
    if align_corners:
        place = (c + real(1)) * factor if n == 2 else (c + real(1)) / real(2) * span
    elif n == 2:
        place = (c + real(1)) * factor - real(0.5)
    else:
        place = ((c + real(1)) * span - real(1)) / real(2)
    return place, factor


def _into_range(
    place: np.ndarray, size: int, padding_mode: str, align_corners: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates clipped or reflected into the input, and the slope of doing so."""
    slope = np.ones_like(place)
    if padding_mode == "zeros":
        return place, slope
    if padding_mode == "reflection":
        place, slope = _reflect(place, size, align_corners)
    real = place.dtype.type
    slope = np.where((place > 0) & (place < size - 1), slope, real(0))
    # fmax, so that NaN reads the first cell, as in PyTorch.
    return np.fmin(np.fmax(place, real(0)), real(size - 1)), slope


def _reflect(place: np.ndarray, size: int, align_corners: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mirror at the first and last cells' centers (align_corners) or outer edges."""
    real = place.dtype.type
    low = real(0) if align_corners else real(-0.5)
    span = real(size - 1) if align_corners else real(size)
    if span == 0:
        return np.zeros_like(place), np.zeros_like(place)
    shifted = place - low
    distance = np.abs(shifted)
    extra = np.fmod(distance, span)
    odd = np.fmod(np.floor(distance / span), real(2)) == 1
    sign = np.where(shifted < 0, real(-1), real(1))
    mirrored = np.where(odd, span - extra, extra) + low
    return mirrored, np.where(odd, -sign, sign)


def _cells(place: np.ndarray, size: int) -> np.ndarray:
    """Whole coordinates as cell numbers, -1 outside the input (and for NaN)."""
    inside = (place >= 0) & (place < size)
    return np.where(inside, place, place.dtype.type(-1)).astype(np.int64)


def _linear_taps(
    place: np.ndarray, factor: np.floating, size: int, padding_mode: str, align_corners: bool
) -> Taps:
    place, slope = _into_range(place, size, padding_mode, align_corners)
    slope = slope * factor
    low = np.floor(place)
    upper = place - low
    return Taps(
        np.stack((_cells(low, size), _cells(low + low.dtype.type(1), size))),
        np.stack((low.dtype.type(1) - upper, upper)),
        np.stack((-slope, slope)),
    )


def _trilinear_taps(
    place: np.ndarray, factor: np.floating, size: int, padding_mode: str, align_corners: bool
) -> Taps:
    """The same, its lower weight rounded as PyTorch's 5-D kernel does."""
    taps = _linear_taps(place, factor, size, padding_mode, align_corners)
    place, _ = _into_range(place, size, padding_mode, align_corners)
    low = np.floor(place)
    lower = low + low.dtype.type(1) - place
    return taps._replace(weight=np.stack((lower, taps.weight[1])))


def _nearest_taps(
    place: np.ndarray, factor: np.floating, size: int, padding_mode: str, align_corners: bool
) -> Taps:
    place, _ = _into_range(place, size, padding_mode, align_corners)
    cell = _cells(np.rint(place), size)[None]
    ones = np.ones(cell.shape, place.dtype)
    return Taps(cell, ones, np.zeros_like(ones))


def _cubic_taps(
    place: np.ndarray, factor: np.floating, size: int, padding_mode: str, align_corners: bool
) -> Taps:
    """Keys's cubic with a = -3/4; each of the four cells is brought into range by itself."""
    low = np.floor(place)
    t = place - low
    cells, weights, slopes, bends = [], [], [], []
    for k in range(-1, 3):
        cell, _ = _into_range(low + low.dtype.type(k), size, padding_mode, align_corners)
        cells.append(_cells(np.trunc(cell), size))
        weight, slope, bend = _cubic(t - t.dtype.type(k))
        weights.append(weight)
        slopes.append(slope * factor)
        bends.append(bend * factor * factor)
    return Taps(np.stack(cells), np.stack(weights), np.stack(slopes), np.stack(bends))


def _cubic(d: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cubic kernel at signed distance d, its slope, and the slope's slope."""
    real = d.dtype.type
    a, one, two, three, six = (real(v) for v in (-0.75, 1, 2, 3, 6))
    x = np.abs(d)
    near = ((a + two) * x - (a + three)) * x * x + one
    far = ((a * x - real(5) * a) * x + real(8) * a) * x - real(4) * a
    near_slope = (three * (a + two) * x - two * (a + three)) * x
    far_slope = a * ((three * x - real(10)) * x + real(8))
    near_bend = six * (a + two) * x - two * (a + three)
    far_bend = a * (six * x - real(10))
    close = x <= one
    slope = np.sign(d) * np.where(close, near_slope, far_slope)
    return np.where(close, near, far), slope, np.where(close, near_bend, far_bend)
