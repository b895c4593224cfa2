"""Convolutions on the pool with channels in the lanes of vectors: for few positions, and strides.

`forward` and `input_gradient` are those of `conv`, of one group of channels and no depth.
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import calls, channel_conv_text, jit
from flambeau.backends.llvm.channel_conv_text import SEEN
from flambeau.backends.llvm.conv import (
    Geometry,
    Window,
    broad_tile,
    forward_windows,
    gradient_windows,
    round_up,
    shared_rows,
)
from flambeau.backends.llvm.program import ITEM_BYTES
from flambeau.backends.llvm.tiles import Tile
from flambeau.backends.llvm.turned_planes import turned_lanes

# Bytes of the turned planes of a block; steps of the depth whose weights stay near.
BLOCK_BYTES = 1 << 17
DEPTH = 256
# Channels of the source, and of the result, from which turning planes over pays.
MIN_CHANNELS, MIN_ROWS = 8, 16

# numbers of rows and columns: always two
Two = tuple[int, ...]


class Phase(NamedTuple):
    """Windows of one kind: taps and where each lies, rows and columns of them, the first result."""

    taps: tuple[int, ...]
    places: tuple[Two, ...]
    extent: Two
    start: Two


class Plan(NamedTuple):
    """What the kernel of one convolution reads, but for its arrays."""

    tile: Tile
    units: int
    # from `plane` to `taps`, as the kernel's context has them
    tables: tuple[np.ndarray, ...]
    # items of a thread's memory, and taps in the order in which a strip has their weights
    slot: int
    order: tuple[int, ...]


def fits(geo: Geometry, channels: int, rows: int) -> bool:
    """Whether there is one group, no depth, and as many channels and rows as pay."""
    if geo.groups != 1 or geo.size[0] != 1 or geo.out[0] != 1 or geo.kernel[0] != 1:
        return False
    return channels >= MIN_CHANNELS and rows >= MIN_ROWS


@functools.cache
def _kernel(tile: Tile) -> int:
    text = channel_conv_text.print_convolve(tile, jit.host().vector_bytes)
    return jit.load(text, ("kernel",)).address("kernel")


def _phase(windows: list[Window], count: tuple[int, ...], start: tuple[int, ...],
           by: Two) -> Phase:
    places = tuple((w.place[1] * by[0] + w.phase[1], w.place[2] * by[1] + w.phase[2])
                   for w in windows)
    return Phase(tuple(w.tap for w in windows), places, count[1:], start[1:])


def _phases(geo: Geometry, is_gradient: bool) -> list[Phase]:
    """The kinds of windows, and where their taps lie from where they begin."""
    if not is_gradient:
        return [_phase(forward_windows(geo), geo.out, (0, 0, 0), geo.stride[1:])]
    starts = itertools.product(*map(range, geo.stride))
    found = [_phase(*gradient_windows(geo, start), (1, 1)) for start in starts]
    return [phase for phase in found if phase.extent[0] * phase.extent[1]]


class Sizes(NamedTuple):
    """Sizes of the source and of the result, and steps between windows in both.

    `before` lies before the source; taps are shifted by `shift`, so as to lie behind their window.
    """

    source: Two
    result: Two
    source_step: Two
    result_step: Two
    before: Two
    shift: Two


def _sizes(geo: Geometry, is_gradient: bool, phases: list[Phase]) -> Sizes:
    size, out, stride, before = (values[1:] for values in (geo.size, geo.out, geo.stride,
                                                          geo.before))
    if not is_gradient:
        return Sizes(size, out, stride, (1, 1), before, (0, 0))
    margin = tuple(max(0, *[-place[axis] for phase in phases for place in phase.places], 0)
                   for axis in range(2))
    return Sizes(out, size, (1, 1), stride, margin, margin)


class Layout(NamedTuple):
    """How a block lies in a thread's memory: images or rows of one, and items of its parts."""

    together: int
    block_rows: int
    # rows of the windows of a column, and the planes' kept channels and columns
    reach: int
    kept: int
    columns: int
    # items of an image's planes, and of its results
    planes: int
    results: int


def _layout(sizes: Sizes, phases: list[Phase], counts: tuple[int, int], tile: Tile,
            thread_count: int) -> Layout:
    images, channels = counts
    down, across = (max(phase.extent[a] for phase in phases) for a in range(2))
    reach = [1 + max([p[a] + sizes.shift[a] for phase in phases for p in phase.places], default=0)
             for a in range(2)]
    kept = round_up(channels, turned_lanes(tile))
    columns = max((across - 1) * sizes.source_step[1] + reach[1],
                  sizes.before[1] + sizes.source[1])
    line = columns * kept
    together, rows = _block(images, down, sizes.source_step[0], reach[0],
                            line * ITEM_BYTES[tile.kind], thread_count)
    return Layout(together, rows, reach[0], kept, columns,
                  round_up(((rows - 1) * sizes.source_step[0] + reach[0]) * line, 16),
                  rows * sizes.result_step[0] * sizes.result[1] * tile.columns)


@functools.lru_cache(maxsize=256)
def _plan(geo: Geometry, is_gradient: bool, counts: tuple[int, int, int], tile: Tile,
          thread_count: int) -> Plan:
    """`counts` are the images, and the channels of the source and of the result."""
    images, channels, rows = counts
    phases = _phases(geo, is_gradient)
    sizes = _sizes(geo, is_gradient, phases)
    lies = _layout(sizes, phases, (images, channels), tile, thread_count)
    pieces, spans = _pieces(phases, channels, tile.columns)
    found, positions, places = _tables(phases, sizes, lies, tile.columns, spans)
    line = lies.columns * lies.kept
    taps = [(y + sizes.shift[0]) * line + (x + sizes.shift[1]) * lies.kept
            for phase in phases for y, x in phase.places]
    down = max(phase.extent[0] for phase in phases)
    blocks = -(-down // lies.block_rows)
    every = -(-images // lies.together) * blocks
    part_rows, parts = shared_rows(rows, tile.columns, every, thread_count)
    results_at = round_up(lies.together * lies.planes + tile.lanes, 16)
    slot = SEEN + results_at + round_up(lies.together * lies.results, 16)
    source, result = (a * b for a, b in (sizes.source, sizes.result))
    work = [images, lies.together, blocks, lies.block_rows, down, sizes.source_step[0],
            sizes.result_step[0], lies.reach, channels * source, rows * result, rows, part_rows,
            parts, *sizes.result, results_at, slot, lies.planes, lies.results, len(phases),
            len(taps) * channels * tile.columns]
    plane = [channels, lies.kept, *sizes.source, *sizes.before, lies.columns]
    tables = tuple([np.array(table, np.int64)
                    for table in (plane, work, found, pieces, positions, places, taps)])
    order = tuple([tap for phase in phases for tap in phase.taps])
    return Plan(tile, every * parts, tables, slot, order)


def _block(images: int, rows: int, step: int, reach: int, line: int,
           thread_count: int) -> Two:
    """How many images are made together, or else how many rows of windows of one."""
    whole = ((rows - 1) * step + reach) * line
    if 2 * whole <= BLOCK_BYTES:
        return max(1, min(BLOCK_BYTES // whole, images // (2 * thread_count))), rows
    most = max(1, (BLOCK_BYTES // line - reach) // step + 1)
    return 1, -(-rows // -(-rows // most))


def _pieces(phases: list[Phase], channels: int, columns: int) -> tuple[list[list[int]],
                                                                       list[Two]]:
    """Pieces of the depth, and which of them each phase has: some taps, or channels of one."""
    pieces: list[list[int]] = []
    spans: list[Two] = []
    done = 0
    for phase in phases:
        first, count = len(pieces), len(phase.taps)
        each = max(1, DEPTH // channels)
        size = -(-channels // -(-channels // DEPTH))
        for tap in range(0, count, each):
            for channel in range(0, channels, size):
                pieces.append([done + tap, min(each, count - tap), channel,
                               min(size, channels - channel),
                               ((done + tap) * channels + channel) * columns])
        if not count:
            pieces.append([done, 0, 0, 0, 0])
        spans.append((first, len(pieces) - first))
        done += count
    return pieces, spans


def _tables(phases: list[Phase], sizes: Sizes, lies: Layout, columns: int,
            spans: list[Two]) -> tuple[list[list[int]], list[int], list[int]]:
    """The phases; where windows begin in the planes of a block, and where their results go."""
    line = lies.columns * lies.kept
    found: list[list[int]] = []
    positions: list[int] = []
    places: list[int] = []
    for phase, span in zip(phases, spans, strict=True):
        down, across = phase.extent
        found.append([len(positions), across, down, *span])
        rows = range(min(lies.block_rows, down))
        for image, y, x in itertools.product(range(lies.together), rows, range(across)):
            positions.append(image * lies.planes + y * sizes.source_step[0] * line
                             + x * sizes.source_step[1] * lies.kept)
            row = y * sizes.result_step[0] + phase.start[0]
            column = x * sizes.result_step[1] + phase.start[1]
            places.append(image * lies.results + (row * sizes.result[1] + column) * columns)
    return found, positions, places


def _packed(w: np.ndarray, plan: Plan, turned: bool) -> np.ndarray:
    """Weights (rows, channels, ...) for the kernel: (strips, taps, channels, columns of a tile).

    Where they are `turned` they are (channels, rows, ...).
    """
    flat = w.reshape(*w.shape[:2], -1)
    flat = flat.transpose(2, 0, 1) if turned else flat.transpose(2, 1, 0)
    if plan.order != tuple(range(len(flat))):
        flat = flat[list(plan.order)]
    taps, channels, rows = flat.shape
    columns = plan.tile.columns
    strips = -(-rows // columns)
    if rows % columns:
        padded = np.zeros((taps, channels, strips * columns), w.dtype)
        padded[..., :rows] = flat
        flat = padded
    split = flat.reshape(taps, channels, strips, columns)
    return np.ascontiguousarray(split.transpose(2, 0, 1, 3))


def _convolve(source: np.ndarray, w: np.ndarray, geo: Geometry, is_gradient: bool,
              bias: np.ndarray | None) -> np.ndarray:
    thread_count = threads.get_num_threads()
    rows = w.shape[1 if is_gradient else 0]
    tile = broad_tile(source.dtype)
    plan = _plan(geo, is_gradient, (*source.shape[:2], rows), tile, thread_count)
    start = np.zeros(round_up(rows, tile.columns), source.dtype)
    if bias is not None:
        start[:rows] = bias
    size = geo.size if is_gradient else geo.out
    out = memory.empty((source.shape[0], rows, *size), source.dtype)
    slots = thread_count + 1
    calls.launch(_kernel(tile), plan.units, 1, out, np.ascontiguousarray(source),
                 _packed(w, plan, is_gradient), start, *plan.tables,
                 memory.empty((slots * plan.slot,), source.dtype), np.zeros(slots, np.int64))
    return out


def forward(x: np.ndarray, w: np.ndarray, geo: Geometry,
            bias: np.ndarray | None = None) -> np.ndarray:
    """`conv.forward`."""
    return _convolve(x, w, geo, False, bias)


def input_gradient(g: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray:
    """`conv.input_gradient`."""
    return _convolve(g, w, geo, True, None)
