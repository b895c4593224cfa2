"""Sampling images at points: kernels where much is read, else NumPy."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import conversions, large, memory
from flambeau.backends.numpy import grid as plain

__all__ = ["grid_sample", "grid_sample_grid_grad", "grid_sample_input_grad"]

_FLOATS = (np.float32, np.float64)
_I32 = np.dtype(np.int32)
_MOST_CELLS = 1 << 31


# The mode, the padding, and whether the corners' centers are at -1 and 1.
Sampling = tuple[str, str, bool]


class _Way(NamedTuple):
    """What the taps of points depend on: sizes of the image, mode, padding, alignment."""

    height: int
    width: int
    mode: str
    padding: str
    aligned: bool
    dtype: np.dtype


def _way(x_shape: Sequence[int], grid: np.ndarray, sampling: Sampling, along: Any,
         *others: np.ndarray) -> _Way | None:
    """How a grid is sampled, where kernels do it."""
    mode, padding, aligned = sampling
    if along is not None or len(x_shape) != 4 or mode == "bicubic" or padding == "reflection":
        return None
    items = prod(grid.shape[:-1]) * x_shape[1]
    if items < large.MIN_ITEMS or prod(x_shape[2:]) >= _MOST_CELLS or not prod(x_shape):
        return None
    arrays = (grid, *others)
    if grid.dtype.type not in _FLOATS or not all([
            a.dtype is grid.dtype and a.dtype.isnative and a.flags.aligned for a in arrays]):
        return None
    if large.load() is None:
        return None
    return _Way(x_shape[2], x_shape[3], mode, padding, bool(aligned), grid.dtype)


def grid_sample(x: np.ndarray, grid: np.ndarray, sampling: Sampling,
                along: np.ndarray | None = None) -> np.ndarray:
    """As `numpy.grid.grid_sample`."""
    way = _way(x.shape, grid, sampling, along, x)
    if way is None:
        return plain.grid_sample(x, grid, *sampling, along)
    cells, weights = _taps(way, grid)
    out: np.ndarray = _maps().sample(_planes(x), cells, weights)
    return out.reshape(*x.shape[:2], *grid.shape[1:-1])


def grid_sample_input_grad(g: np.ndarray, grid: np.ndarray, shape: Sequence[int],
                           sampling: Sampling, along: np.ndarray | None = None) -> np.ndarray:
    """As `numpy.grid.grid_sample_input_grad`; sums are rounded as PyTorch does."""
    way = _way(shape, grid, sampling, along, g)
    if way is None:
        return plain.grid_sample_input_grad(g, grid, shape, *sampling, along)
    cells, weights = _taps(way, grid)
    out: np.ndarray = _maps().spread(_planes(g), cells, weights, prod(shape[2:]))
    return out.reshape(*shape)


def grid_sample_grid_grad(g: np.ndarray, x: np.ndarray, grid: np.ndarray, sampling: Sampling,
                          along: np.ndarray | None = None) -> np.ndarray:
    """As `numpy.grid.grid_sample_grid_grad`."""
    way = _way(x.shape, grid, sampling, along, g, x)
    if way is None:
        return plain.grid_sample_grid_grad(g, x, grid, *sampling, along)
    if way.mode == "nearest":
        return np.zeros(grid.shape, grid.dtype)
    cells, _ = _taps(way, grid)
    seen = _maps().seen(_planes(x), _planes(g), cells)
    out = memory.empty((2, *grid.shape[:-1]), grid.dtype)
    _run(_slopes(way), list(out), [*_coordinates(grid), *seen.reshape(4, *out.shape[1:])])
    return np.stack(list(out), -1)


def _maps() -> Any:
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import axis_maps, grid_maps

    return _Maps(axis_maps.sample, grid_maps.spread, grid_maps.seen)


class _Maps(NamedTuple):
    sample: Any
    spread: Any
    seen: Any


def _planes(x: np.ndarray) -> np.ndarray:
    return conversions.in_rows(x).reshape(*x.shape[:2], -1)


def _coordinates(grid: np.ndarray) -> list[np.ndarray]:
    return [grid[..., 0], grid[..., 1]]


def _run(program: Any, outs: list[np.ndarray], ins: list[np.ndarray]) -> None:
    llvm = large.load()
    assert llvm is not None
    flat = [a.reshape(-1) for a in ins]
    if not llvm.strided.run(program, [out.reshape(-1) for out in outs], flat):
        raise AssertionError("kernels take rows of any strides")


def _taps(way: _Way, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Every tap's cells and weights, (taps, images, points); no weights where all are 1."""
    grid = conversions.in_rows(grid)
    images, points = grid.shape[0], prod(grid.shape[1:-1])
    taps = 1 if way.mode == "nearest" else 4
    cells = memory.empty((taps, images, points), _I32)
    weights = None if taps == 1 else memory.empty(cells.shape, grid.dtype)
    outs = [*cells, *(() if weights is None else weights)]
    _run(_program(way), outs, _coordinates(grid))
    return cells, weights


class _Axis(NamedTuple):
    """What a program knows of a point on one axis: cells as floats, weights and slopes of taps."""

    cells: list[Any]
    weights: list[Any]
    slopes: list[Any]


def _points(way: _Way, more: int = 0) -> tuple[Any, list[_Axis], list[Any]]:
    """A builder, the axes (the height, then the width), and further inputs."""
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    kind = llvm.calls.KINDS[way.dtype]
    across, down = b.input(kind), b.input(kind)
    others = [b.input(kind) for _ in range(more)]
    return b, [_axis(way, b, down, way.height), _axis(way, b, across, way.width)], others


def _axis(way: _Way, b: Any, c: Any, size: int) -> _Axis:
    """The taps on one axis, rounded as NumPy's and PyTorch's are."""
    where, last = b.on.where, float(size - 1)
    factor = (last if way.aligned else float(size)) / 2
    place = (c + 1.0) * factor
    if not way.aligned:
        place = place - 0.5
    slope = b.lift(factor, place.kind)
    if way.padding == "border":
        slope = where((place > 0.0) & (place < last), slope, 0.0)
        # what is no number reads the first cell
        place = where(place > 0.0, place, 0.0)
        place = where(place < last, place, last)
    if way.mode == "nearest":
        return _Axis([b.on.round(place)], [], [])
    low = b.on.floor(place)
    upper = place - low
    return _Axis([low, low + 1.0], [1.0 - upper, upper], [-slope, slope])


def _cell(way: _Way, b: Any, down: Any, across: Any) -> Any:
    """The number of a cell in its image; -1 where it is outside."""
    inside = (down >= 0.0) & (down < float(way.height))
    inside = inside & (across >= 0.0) & (across < float(way.width))
    row, column = (b.on.where(inside, part, 0.0).cast("i32") for part in (down, across))
    return b.on.where(inside, row * way.width + column, -1)


@functools.cache
def _program(way: _Way) -> Any:
    """The program of cells and weights, from coordinates along the width and the height."""
    b, axes, _ = _points(way)
    cells = [_cell(way, b, down, across) for down in axes[0].cells for across in axes[1].cells]
    if way.mode == "nearest":
        return b.pointwise(*cells)
    weights = [across * down for down in axes[0].weights for across in axes[1].weights]
    return b.pointwise(*cells, *weights)


@functools.cache
def _slopes(way: _Way) -> Any:
    """The program of gradients in coordinates, from them and what the four taps have seen."""
    b, (down, across), seen = _points(way, 4)
    pairs = [(k, j) for k in range(2) for j in range(2)]
    along_width = [across.slopes[j] * down.weights[k] * s for (k, j), s in zip(pairs, seen)]
    along_height = [across.weights[j] * down.slopes[k] * s for (k, j), s in zip(pairs, seen)]
    return b.pointwise(*[((t[0] + t[1]) + t[2]) + t[3] for t in (along_width, along_height)])
