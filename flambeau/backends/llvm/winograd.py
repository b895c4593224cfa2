"""Winograd's convolution on the pool: 3x3 windows side by side, in 16 products instead of 36.

The three maps are those of `conv`, which it falls back to where the answer would not be as good:
a tile's items are added up before they are multiplied, so that what is not finite, or very much
larger than its neighbours, would be felt in results that it has no part in.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import calls, jit, winograd_units, winograd_weights
from flambeau.backends.llvm.conv import Geometry, broad_tile, round_up, shared_rows
from flambeau.backends.llvm.tiles import Tile
from flambeau.backends.llvm.winograd_text import MADE, PLACES, SIDE

# Bytes of the changed tiles of a block, and how many tiles it has at least, where there are so many
BLOCK_BYTES = 1 << 18
BLOCK_TILES = 64
# Units of work that a weight gradient has, and bytes that their sums may take.
UNITS = 8
SUMS_BYTES = 1 << 22
# How much larger than the mean of the others in its block an item may be.
MOST_OVER_MEAN = 4096
# Channels, and tiles in all, from which changing tiles and weights pays.
MIN_CHANNELS = 16
MIN_TILES = 8


class Shapes(NamedTuple):
    """One convolution as tiles; rows are the channels of the result, `before` is padding."""

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


@functools.lru_cache(maxsize=256)
def fits(geo: Geometry, images: int, channels: int, rows: int) -> bool:
    """Whether windows are 3x3, side by side, and padding is no more than they reach.

    And whether there are as many channels, rows and tiles as pay.
    """
    if geo.kernel != (1, 3, 3) or geo.stride != (1, 1, 1) or geo.dilation != (1, 1, 1):
        return False
    if geo.groups != 1 or geo.size[0] != 1 or geo.out[0] != 1:
        return False
    down, across = Shapes(images, channels, rows, geo.size[1:], geo.out[1:], geo.before[1:]).tiles
    if min(channels, rows) < MIN_CHANNELS or images * down * across < MIN_TILES:
        return False
    after = [o - s - b + 2 for o, s, b in zip(geo.out, geo.size, geo.before, strict=True)]
    return all(0 <= pad <= 2 for pad in (*after[1:], *geo.before[1:]))


@functools.cache
def _kernel(print_module: Callable[..., str], *which: Tile | bool) -> int:
    return jit.load(print_module(*which, jit.host().vector_bytes), ("kernel",)).address("kernel")


def _pitch(items: int) -> int:
    """As many items at least, so that places of a tile do not share theirs in the caches."""
    return round_up(items, 16) + 16 * (round_up(items, 16) // 16 % 2 == 0)


class Blocks(NamedTuple):
    """How tiles are taken together: some rows of one image, or some whole images."""

    together: int
    blocks: int
    block_rows: int

    def count(self, images: int) -> int:
        """How many there are."""
        return -(-images // self.together) * self.blocks


def _blocks(shapes: Shapes, tile_bytes: int, most: int) -> Blocks:
    """Blocks of about as many tiles as stay near, of `most` images at the most."""
    down, across = shapes.tiles
    wanted = max(BLOCK_TILES, BLOCK_BYTES // (PLACES * tile_bytes))
    if 2 * down * across <= wanted:
        return Blocks(max(1, min(most, wanted // (down * across))), 1, down)
    count = -(-down // max(1, wanted // across))
    rows = -(-down // count)
    return Blocks(1, -(-down // rows), rows)


def _plane(shapes: Shapes, kept: int) -> np.ndarray:
    columns = shapes.tiles[1] * MADE + SIDE - MADE
    return np.array([shapes.channels, kept, *shapes.size, *shapes.before, columns], np.int64)


class Plan(NamedTuple):
    """What the kernel of one convolution reads, but for its arrays."""

    units: int
    plane: np.ndarray
    work: np.ndarray
    # items of a thread's memory, and of its changed weights
    slot: int
    weights: int
    # sizes of what is seen, and about how many items a block has
    seen: int
    items: int


@functools.lru_cache(maxsize=256)
def _plan(shapes: Shapes, tile: Tile, itemsize: int, thread_count: int) -> Plan:
    kept = round_up(shapes.channels, tile.lanes)
    most = max(1, shapes.images // (2 * thread_count))
    cut = _blocks(shapes, kept * itemsize, most)
    down, across = shapes.tiles
    tiles = cut.block_rows * across
    every = cut.count(shapes.images)
    part_rows, parts = shared_rows(shapes.rows, tile.columns, every, thread_count)
    plane = _plane(shapes, kept)
    changed_pitch = _pitch(cut.together * tiles * kept)
    products_pitch = _pitch(cut.together * tiles * tile.columns)
    weights_pitch = _pitch(shapes.channels * tile.columns)
    changed_at = round_up((MADE * cut.block_rows + 2) * int(plane[-1]) * kept, 16)
    products_at = changed_at + PLACES * changed_pitch
    strip_at = products_at + PLACES * products_pitch
    slot = round_up(strip_at + MADE * MADE * tiles * tile.columns, 16)
    height, width = shapes.out
    image = shapes.channels * shapes.size[0] * shapes.size[1]
    work = np.array([shapes.images, *cut, down, across, image, shapes.rows * height * width,
                     shapes.rows, part_rows, parts, height, width, changed_at, products_at,
                     strip_at, slot, changed_pitch, products_pitch, weights_pitch], np.int64)
    strips = -(-shapes.rows // tile.columns)
    return Plan(every * parts, plane, work, slot, strips * PLACES * weights_pitch,
                parts * shapes.images * cut.blocks,
                cut.block_rows * MADE * shapes.size[1] * shapes.channels)


def _changed_weights(w: np.ndarray, shapes: Shapes, tile: Tile, plan: Plan,
                     turned: bool) -> np.ndarray:
    """Weights for the kernel: (strips, places, channels, a tile's columns of rows).

    They are (rows, channels, 3, 3), or, where they are `turned`, (channels, rows, 3, 3).
    """
    changed = memory.empty((plan.weights,), w.dtype)
    steps = (9, shapes.rows * 9) if turned else (shapes.channels * 9, 9)
    blocks = -(-shapes.channels // winograd_weights.CHANNELS)
    strips = -(-shapes.rows // tile.columns)
    calls.launch(_kernel(winograd_weights.print_change, tile, turned), strips * blocks, 1, changed,
                 np.ascontiguousarray(w), shapes.rows, shapes.channels, *steps, blocks,
                 int(plan.work[-1]))
    return changed


def _convolve(x: np.ndarray, w: np.ndarray, shapes: Shapes, turned: bool,
              bias: np.ndarray | None) -> np.ndarray | None:
    tile, slots = broad_tile(x.dtype), threads.get_num_threads() + 1
    plan = _plan(shapes, tile, x.itemsize, threads.get_num_threads())
    start = np.zeros(round_up(shapes.rows, tile.columns), x.dtype)
    if bias is not None:
        start[:shapes.rows] = bias
    seen = np.zeros((plan.seen, 3), x.dtype)
    out = memory.empty((shapes.images, shapes.rows, 1, *shapes.out), x.dtype)
    calls.launch(_kernel(winograd_units.print_convolve, tile), plan.units, 1, out,
                 np.ascontiguousarray(x), _changed_weights(w, shapes, tile, plan, turned), start,
                 plan.plane, plan.work, memory.empty((slots * plan.slot,), x.dtype),
                 np.zeros(slots, np.int64), seen)
    return out if _is_even(seen, plan.items) else None


def _is_even(seen: np.ndarray, items: int) -> bool:
    """Whether all results are finite, and no block has items far larger than the others."""
    largest, others, flaw = seen.T
    return not flaw.any() and bool((largest * items <= MOST_OVER_MEAN * others).all())


def forward(x: np.ndarray, w: np.ndarray, geo: Geometry,
            bias: np.ndarray | None = None) -> np.ndarray | None:
    """`conv.forward`; None where the definition is to be followed."""
    shapes = Shapes(x.shape[0], x.shape[1], w.shape[0], geo.size[1:], geo.out[1:], geo.before[1:])
    return _convolve(x, w, shapes, False, bias)


def input_gradient(g: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray | None:
    """`conv.input_gradient`; None where the definition is to be followed."""
    before = (2 - geo.before[1], 2 - geo.before[2])
    shapes = Shapes(g.shape[0], g.shape[1], w.shape[1], geo.out[1:], geo.size[1:], before)
    return _convolve(g, w, shapes, True, None)


class WeightPlan(NamedTuple):
    """What the kernel of one weight gradient reads, but for its arrays."""

    units: int
    plane: np.ndarray
    # of a part of the gradient's channels, and of the last part
    gradient_planes: np.ndarray
    work: np.ndarray
    slot: int
    # sums, their channels
    sums: int
    kept: int


@functools.lru_cache(maxsize=256)
def _weight_plan(shapes: Shapes, tile: Tile, itemsize: int) -> WeightPlan:
    kept = round_up(shapes.channels, tile.columns)
    sum_items = PLACES * shapes.rows * kept
    chunks = min(UNITS, max(1, SUMS_BYTES // (sum_items * itemsize)))
    part_rows = min(shapes.rows, round_up(-(-shapes.rows * chunks // UNITS), 4 * tile.lanes))
    parts = -(-shapes.rows // part_rows)
    slopes_kept = round_up(part_rows, tile.lanes)
    cut = _blocks(shapes, (kept + slopes_kept) * itemsize, -(-shapes.images // chunks))
    down, across = shapes.tiles
    tiles = cut.block_rows * across
    plane = _plane(shapes, kept)
    last = shapes.rows - (parts - 1) * part_rows
    gradient = [[rows, slopes_kept, *shapes.out, 0, 0, MADE * across]
                for rows in (part_rows, last)]
    changed_pitch = _pitch(cut.together * tiles * kept)
    slopes_pitch = _pitch(cut.together * tiles * slopes_kept)
    changed_at = round_up(max((MADE * cut.block_rows + 2) * int(plane[-1]) * kept,
                         MADE * MADE * tiles * slopes_kept), 16)
    slopes_at = changed_at + PLACES * changed_pitch
    slot = winograd_units.SEEN + slopes_at + PLACES * slopes_pitch
    every = cut.count(shapes.images)
    chunk = -(-every // chunks)
    sums = -(-every // chunk)
    pixels = shapes.out[0] * shapes.out[1]
    work = np.array([shapes.images, *cut, down, across,
                     shapes.channels * shapes.size[0] * shapes.size[1], every, chunk,
                     shapes.rows * pixels, pixels, shapes.rows, part_rows, parts, changed_at,
                     slopes_at, slot, changed_pitch, slopes_pitch, sum_items], np.int64)
    return WeightPlan(sums * parts, plane, np.array(gradient, np.int64), work, slot, sums, kept)


def weight_gradient(g: np.ndarray, x: np.ndarray, geo: Geometry) -> np.ndarray | None:
    """`conv.weight_gradient`; None where the definition is to be followed.

    Which sums are added to which depends on the shapes alone.
    """
    shapes = Shapes(x.shape[0], x.shape[1], g.shape[1], geo.size[1:], geo.out[1:], geo.before[1:])
    tile, slots = broad_tile(x.dtype), threads.get_num_threads() + 1
    plan = _weight_plan(shapes, tile, x.itemsize)
    sums = memory.empty((plan.sums, PLACES, shapes.rows, plan.kept), x.dtype)
    calls.launch(_kernel(winograd_units.print_weigh, tile), plan.units, 1, sums,
                 np.ascontiguousarray(x), np.ascontiguousarray(g), plan.plane,
                 plan.gradient_planes, plan.work, memory.empty((slots * plan.slot,), x.dtype),
                 np.zeros(slots, np.int64))
    found = memory.empty((shapes.rows, shapes.channels, 1, 3, 3), x.dtype)
    seen = np.empty(shapes.rows, x.dtype)
    calls.launch(_kernel(winograd_weights.print_restore, tile), shapes.rows, 4, found, sums, seen,
                 shapes.rows, shapes.channels, plan.kept, plan.sums, sums[0].size)
    return None if seen.any() else found
