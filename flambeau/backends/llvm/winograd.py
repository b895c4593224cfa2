"""Winograd's convolution on the pool: 3x3 windows side by side, in 16 products instead of 36.

The three maps are those of `conv`, which it falls back to where the answer would not be as good:
a tile's items are added up before they are multiplied, so that what is not finite, or very much
larger than its neighbours, would be felt in results that it has no part in.
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import calls, jit, winograd_units
from flambeau.backends.llvm.conv import Geometry, registers
from flambeau.backends.llvm.strided_tiles import tallest
from flambeau.backends.llvm.tiles import Tile
from flambeau.backends.llvm.winograd_text import MADE, PLACES, SIDE

# Bytes of the changed tiles of a block; units of work that a weight gradient has.
BLOCK_BYTES = 1 << 18
UNITS = 8
# How much larger than the mean of the others in its block an item may be.
MOST_OVER_MEAN = 4096
# Channels from which changing tiles pays; products of both counts of channels up to which a weight
# gradient's sums stay near.
MIN_CHANNELS = 16
MOST_WEIGHTS = 1 << 14

# Lavin and Gray's G for F(2x2, 3x3), on both axes at once: (16, 9).
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
G = np.kron(_G, _G)


class Shapes(NamedTuple):
    """One convolution as tiles: images, channels, rows (of the result), sizes, what is before."""

    images: int
    channels: int
    rows: int
    size: tuple[int, ...]
    out: tuple[int, ...]
    before: tuple[int, ...]

    @property
    def tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles of an image."""
        return -(-self.out[0] // MADE), -(-self.out[1] // MADE)


def fits(geo: Geometry, channels: int, rows: int, weighs: bool = False) -> bool:
    """Whether windows are 3x3, side by side, and padding is no more than they reach.

    And whether there are as many channels and rows as pay, and for a weight gradient not too many.
    """
    if min(channels, rows) < MIN_CHANNELS or (weighs and channels * rows > MOST_WEIGHTS):
        return False
    if geo.kernel != (1, 3, 3) or geo.stride != (1, 1, 1) or geo.dilation != (1, 1, 1):
        return False
    if geo.groups != 1 or geo.size[0] != 1 or geo.out[0] != 1:
        return False
    after = [o - s - b + 2 for o, s, b in zip(geo.out, geo.size, geo.before, strict=True)]
    return all(0 <= pad <= 2 for pad in (*after[1:], *geo.before[1:]))


@functools.cache
def _kernel(tile: Tile, weighs: bool) -> int:
    print_module = winograd_units.print_weigh if weighs else winograd_units.print_convolve
    return jit.load(print_module(tile, jit.host().vector_bytes), ("kernel",)).address("kernel")


def _tile(dtype: np.dtype) -> Tile:
    return tallest(calls.KINDS[dtype], jit.host().vector_bytes, registers())


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _pitch(items: int) -> int:
    """As many items at least, so that places of a tile do not share theirs in the caches."""
    return _up(items, 16) + 16 * (_up(items, 16) // 16 % 2 == 0)


def _block_rows(shapes: Shapes, kept: int, itemsize: int) -> int:
    """Rows of tiles that are made together: blocks are about alike, and stay near."""
    rows, columns = shapes.tiles
    most = max(1, BLOCK_BYTES // (PLACES * kept * itemsize * columns))
    return -(-rows // -(-rows // most))


def _plane(shapes: Shapes, kept: int) -> np.ndarray:
    columns = shapes.tiles[1] * MADE + SIDE - MADE
    return np.array([shapes.channels, kept, *shapes.size, *shapes.before, columns], np.int64)


def _changed_weights(w: np.ndarray, tile: Tile) -> np.ndarray:
    """Weights (rows, channels, 3, 3) for the kernel: (strips, places, channels, tile's columns)."""
    rows, channels = w.shape[:2]
    flat = w.reshape(rows, channels, 9).transpose(2, 1, 0).reshape(9, -1)
    changed = (G.astype(w.dtype) @ flat).reshape(PLACES, channels, rows)
    strips = -(-rows // tile.columns)
    if rows % tile.columns:
        padded = np.zeros((PLACES, channels, strips * tile.columns), w.dtype)
        padded[..., :rows] = changed
        changed = padded
    split = changed.reshape(PLACES, channels, strips, tile.columns)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3))


def _convolve(x: np.ndarray, w: np.ndarray, shapes: Shapes,
              bias: np.ndarray | None) -> np.ndarray | None:
    tile = _tile(x.dtype)
    kept = _up(shapes.channels, tile.lanes)
    block = _block_rows(shapes, kept, x.itemsize)
    tile_rows, tile_columns = shapes.tiles
    blocks, count = -(-tile_rows // block), block * tile_columns
    plane = _plane(shapes, kept)
    changed_pitch, products_pitch = _pitch(count * kept), _pitch(count * tile.columns)
    changed_at = _up((MADE * block + 2) * int(plane[-1]) * kept, 16)
    products_at = changed_at + PLACES * changed_pitch
    strip_at = products_at + PLACES * products_pitch
    slot = _up(strip_at + MADE * MADE * count * tile.columns, 16)
    pixels = math.prod(shapes.out)
    work = np.array([blocks, block, tile_rows, tile_columns, x[0].size, shapes.rows * pixels,
                     shapes.rows, *shapes.out, changed_at, products_at, strip_at, slot,
                     changed_pitch, products_pitch], np.int64)
    start = np.zeros(_up(shapes.rows, tile.columns), x.dtype)
    if bias is not None:
        start[:shapes.rows] = bias
    slots = threads.get_num_threads() + 1
    units = shapes.images * blocks
    seen = np.zeros((units, 3), x.dtype)
    out = memory.empty((shapes.images, shapes.rows, 1, *shapes.out), x.dtype)
    calls.launch(_kernel(tile, False), units, 1, out, np.ascontiguousarray(x),
                 _changed_weights(w, tile), start, plane, work,
                 memory.empty((slots * slot,), x.dtype), np.zeros(slots, np.int64), seen)
    items = block * MADE * math.prod(shapes.size[1:]) * shapes.channels
    return out if _is_even(seen, items) else None


def _is_even(seen: np.ndarray, items: int) -> bool:
    """Whether all results are finite, and no block has items far larger than the others."""
    largest, others, flaw = seen.T
    return not flaw.any() and bool((largest * items <= MOST_OVER_MEAN * others).all())


def forward(x: np.ndarray, w: np.ndarray, geo: Geometry,
            bias: np.ndarray | None = None) -> np.ndarray | None:
    """`conv.forward`; None where the definition is to be followed."""
    shapes = Shapes(x.shape[0], x.shape[1], w.shape[0], geo.size[1:], geo.out[1:], geo.before[1:])
    return _convolve(x, w.reshape(*w.shape[:2], 3, 3), shapes, bias)


def input_gradient(g: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray | None:
    """`conv.input_gradient`; None where the definition is to be followed."""
    before = (2 - geo.before[1], 2 - geo.before[2])
    shapes = Shapes(g.shape[0], g.shape[1], w.shape[1], geo.out[1:], geo.size[1:], before)
    turned = w.reshape(*w.shape[:2], 3, 3)[..., ::-1, ::-1].swapaxes(0, 1)
    return _convolve(g, turned, shapes, None)


def weight_gradient(g: np.ndarray, x: np.ndarray, geo: Geometry) -> np.ndarray | None:
    """`conv.weight_gradient`; None where the definition is to be followed.

    Which sums are added to which depends on the shapes alone.
    """
    shapes = Shapes(x.shape[0], x.shape[1], g.shape[1], geo.size[1:], geo.out[1:], geo.before[1:])
    tile = _tile(x.dtype)
    kept, slopes_kept = _up(shapes.channels, tile.columns), _up(shapes.rows, tile.lanes)
    block = _block_rows(shapes, max(kept, slopes_kept), x.itemsize)
    tile_rows, tile_columns = shapes.tiles
    blocks, count = -(-tile_rows // block), block * tile_columns
    plane = _plane(shapes, kept)
    gradient = np.array([shapes.rows, slopes_kept, *shapes.out, 0, 0, MADE * tile_columns],
                        np.int64)
    changed_pitch, slopes_pitch = _pitch(count * kept), _pitch(count * slopes_kept)
    changed_at = _up(max((MADE * block + 2) * int(plane[-1]) * kept,
                         MADE * MADE * count * slopes_kept), 16)
    slopes_at = changed_at + PLACES * changed_pitch
    slot = 16 + slopes_at + PLACES * slopes_pitch
    every = shapes.images * blocks
    chunk = -(-every // UNITS)
    units = -(-every // chunk)
    work = np.array([every, chunk, blocks, block, tile_rows, tile_columns, x[0].size, g[0].size,
                     shapes.rows, changed_at, slopes_at, slot, changed_pitch, slopes_pitch,
                     PLACES * shapes.rows * kept], np.int64)
    result = np.zeros((units, PLACES, shapes.rows, kept), x.dtype)
    slots = threads.get_num_threads() + 1
    calls.launch(_kernel(tile, True), units, 1, result, np.ascontiguousarray(x),
                 np.ascontiguousarray(g), plane, gradient, work,
                 memory.empty((slots * slot,), x.dtype), np.zeros(slots, np.int64))
    total = result[0] if units == 1 else np.add.reduce(result, axis=0)
    changed = total[..., :shapes.channels].reshape(PLACES, -1)
    found = (G.T.astype(x.dtype) @ changed).T.reshape(shapes.rows, shapes.channels, 1, 3, 3)
    return np.ascontiguousarray(found) if np.isfinite(found).all() else None
