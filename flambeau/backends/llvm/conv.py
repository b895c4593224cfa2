"""Convolutions on the pool: geometry as tables, packed weights, scratch memory for each thread.

Arrays are (N, C, depth, height, width); functions for fewer axes are for the caller. The three maps
are those of `backends.numpy.conv`: forward, input gradient, weight gradient.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import calls, conv_text, conv_weight_text, jit
from flambeau.backends.llvm.strided_tiles import tallest
from flambeau.backends.llvm.tiles import Tile, wide_tile

# always three numbers
Three = tuple[int, ...]
# parts of an image at the most, where threads are no more, and what it costs, in images, to read
# one; bytes of the buffer for all channels of some positions; what it costs, in tiles, to make rows
# of positions apart; and steps of the depth that are packed at once
UNITS, READ = 8, 0.1
BUFFER_BYTES = 1 << 16
APART = 0.02
DEPTH = 192
# multiplications from which an image is made in parts
SHARED = 1 << 18


class Geometry(NamedTuple):
    """Sizes of the input, of the kernel and of the result, and how windows lie."""

    size: Three
    kernel: Three
    out: Three
    stride: Three
    dilation: Three
    before: Three
    groups: int


class Planes(NamedTuple):
    """Padded planes of a source: their sizes, phases used on each axis, and items of a channel."""

    size: Three
    phases: tuple[Three, ...]
    pitch: int
    table: tuple[int, ...]


class Window(NamedTuple):
    """One tap as a product sees it: its number in the kernel, its phase, its place in the plane."""

    tap: int
    phase: Three
    place: Three


def registers() -> int:
    """How many vector registers the host has."""
    host = jit.host()
    return 32 if host.vector_bytes == 64 or not host.triple.startswith("x86") else 16


def round_up(count: int, unit: int) -> int:
    """The least multiple of a unit that is no less."""
    return -(-count // unit) * unit


def broad_tile(dtype: np.dtype) -> Tile:
    """The tile of products that have many columns, on this host."""
    return tallest(calls.KINDS[dtype], jit.host().vector_bytes, registers())


def shared_rows(rows: int, columns: int, units: int, thread_count: int) -> tuple[int, int]:
    """How many channels of a result a unit of work makes, and in how many parts that is.

    They are strips of `columns`, shared out where there are fewer units than threads can take.
    """
    strips = -(-rows // columns)
    parts = min(strips, max(1, -(-2 * thread_count // units)))
    part = -(-strips // parts) * columns
    return part, -(-rows // part)


def _product(sizes: Sequence[int]) -> int:
    return math.prod(sizes)


def _planes(source: Three, stride: Three, before: Three, windows: list[Window], reach: Three,
            channels: int) -> Planes:
    """Planes of which every window covers `reach` positions."""
    phases = tuple(sorted({window.phase for window in windows}))
    size = tuple(max(w.place[axis] for w in windows) + reach[axis] for axis in range(3))
    entries = []
    for phase in phases:
        starts = [phase[axis] - before[axis] for axis in range(3)]
        first = max(0, -(starts[2] // stride[2]))
        last = (source[2] - 1 - starts[2]) // stride[2] + 1
        entries += [*starts, min(first, size[2]), max(min(first, size[2]), min(last, size[2]))]
    pitch = len(phases) * _product(size)
    # neighbouring channels a page apart would share their places in the caches
    pitch += 16 if pitch % 1024 < 16 else 0
    table = (channels, _product(source), pitch, *source, *size, *stride, len(phases), *entries)
    return Planes(size, phases, pitch, table)


def _offsets(planes: Planes, windows: list[Window], channels: int) -> list[int]:
    """Where the window of every channel and tap starts, channel by channel."""
    _, height, width = planes.size
    plane = _product(planes.size)
    taps = []
    for window in windows:
        z, y, x = window.place
        first = planes.phases.index(window.phase) * plane
        taps.append(first + (z * height + y) * width + x)
    return [channel * planes.pitch + tap for channel in range(channels) for tap in taps]


def forward_windows(geo: Geometry) -> list[Window]:
    """The taps of a window, by what they read: items of one of the stride's phases."""
    found = []
    for tap, at in enumerate(itertools.product(*[range(k) for k in geo.kernel])):
        reach = [i * d for i, d in zip(at, geo.dilation, strict=True)]
        phase = tuple(r % s for r, s in zip(reach, geo.stride, strict=True))
        place = tuple(r // s for r, s in zip(reach, geo.stride, strict=True))
        found.append(Window(tap, phase, place))
    return found


class Plan(NamedTuple):
    """Tables of one geometry: what `conv_text.convolve_text` reads.

    How many rows of positions are made together, in `results`, is left to the call.
    """

    offsets: np.ndarray
    planes: np.ndarray
    results: np.ndarray
    taps: tuple[tuple[int, ...], ...]
    plane_items: int
    depth: int


@functools.lru_cache(maxsize=256)
def _forward_plan(geo: Geometry, channels: int, rows: int) -> Plan:
    windows = forward_windows(geo)
    planes = _planes(geo.size, geo.stride, geo.before, windows, geo.out, channels)
    offsets = _offsets(planes, windows, channels)
    _, height, width = geo.out
    result = (0, 0, len(offsets), rows, *geo.out, *planes.size[1:], 0, _product(geo.out),
              height * width, width, 1, 1)
    return Plan(np.array(offsets, np.int64), np.array(planes.table, np.int64),
                np.array(result, np.int64), (tuple(range(len(windows))),),
                channels * planes.pitch, len(offsets))


@functools.lru_cache(maxsize=256)
def _gradient_plan(geo: Geometry, channels: int, rows: int) -> Plan:
    """Of the input gradient: `channels` and `rows` are those of the gradient and of the input."""
    phases = [gradient_windows(geo, start) for start in itertools.product(*map(range, geo.stride))]
    phases = [phase for phase in phases if _product(phase[1])]
    margin = tuple(max(0, *[-w.place[axis] for windows, _, _ in phases for w in windows], 0)
                   for axis in range(3))
    shifted = [([w._replace(place=tuple(p + m for p, m in zip(w.place, margin, strict=True)))
                 for w in windows], count, start) for windows, count, start in phases]
    every = [w for windows, _, _ in shifted for w in windows] or [Window(0, (0, 0, 0), margin)]
    reach = tuple(max(count[axis] for _, count, _ in shifted) for axis in range(3))
    planes = _planes(geo.out, (1, 1, 1), margin, every, reach, channels)
    offsets: list[int] = []
    results: list[int] = []
    weights = 0
    height, width = geo.size[1:]
    unit = (height * width, width, 1)
    for windows, count, start in shifted:
        own = _offsets(planes, windows, channels)
        first = sum(s * u for s, u in zip(start, unit, strict=True))
        steps = tuple(u * s for u, s in zip(unit, geo.stride, strict=True))
        results += [weights, len(offsets), len(own), rows, *count, *planes.size[1:], first,
                    _product(geo.size), *steps, 1]
        weights += len(own)
        offsets += own
    taps = tuple(tuple(w.tap for w in windows) for windows, _, _ in shifted)
    depth = max(len(windows) for windows, _, _ in shifted) * channels
    return Plan(np.array(offsets, np.int64), np.array(planes.table, np.int64),
                np.array(results, np.int64), taps, channels * planes.pitch, depth)


def gradient_windows(geo: Geometry, start: Three) -> tuple[list[Window], Three, Three]:
    """The taps that reach the inputs start, start + stride, ..., and how many inputs these are."""
    found = []
    for tap, at in enumerate(itertools.product(*[range(k) for k in geo.kernel])):
        shifts = [s + b - i * d for s, b, i, d in
                  zip(start, geo.before, at, geo.dilation, strict=True)]
        if all(shift % s == 0 for shift, s in zip(shifts, geo.stride, strict=True)):
            place = tuple(shift // s for shift, s in zip(shifts, geo.stride, strict=True))
            found.append(Window(tap, (0, 0, 0), place))
    count = tuple(max(0, -(-(n - first) // s)) for n, first, s in
                  zip(geo.size, start, geo.stride, strict=True))
    return found, count, start


@functools.cache
def _kernel(tile: Tile) -> int:
    text = conv_text.print_convolve(tile, jit.host().vector_bytes)
    return jit.load(text, ("kernel",)).address("kernel")


def _packed(matrix: np.ndarray, tile: Tile) -> np.ndarray:
    """A matrix (groups, rows, depth) in blocks of a tile's rows: (groups, blocks, depth, rows)."""
    groups, rows, depth = matrix.shape
    blocks = -(-rows // tile.rows)
    if rows % tile.rows:
        padded = np.zeros((groups, blocks * tile.rows, depth), matrix.dtype)
        padded[:, :rows] = matrix
        matrix = padded
    split = matrix.reshape(groups, blocks, tile.rows, depth)
    return np.ascontiguousarray(split.transpose(0, 1, 3, 2))


@functools.lru_cache(maxsize=256)
def _together(out: Three, plane: int, columns: int, most: int) -> int:
    """How many rows of positions are made together, `most` positions at the most.

    Rows that follow each other without a gap fill whole tiles, but what lies between them is made
    in vain.
    """
    height, width = out[1:]

    def tiles(lines: int) -> int:
        return -(-((lines - 1) * plane + width) // columns)

    def cost(lines: int) -> float:
        whole, rest = divmod(height, lines)
        made = whole * tiles(lines) + (tiles(rest) if rest else 0)
        return made + APART * (whole + bool(rest))

    return min(range(1, max(1, min(height, most // plane)) + 1), key=cost)


def _cut(table: np.ndarray, tile: Tile, parts: int, itemsize: int) -> tuple[np.ndarray, int]:
    """The table of results with how many rows are made together; items of a channel's buffer."""
    column = {name: i for i, name in enumerate(conv_text.RESULT)}
    pitch = tile.columns
    for row in table:
        rows, *out = row[column["rows"]:column["out_width"] + 1].tolist()
        plane = int(row[column["plane_width"]])
        most = min(BUFFER_BYTES // (itemsize * rows), plane * max(1, _product(out[:2]) // parts))
        lines = _together(tuple(out), plane, tile.columns, most)
        row[column["together"]] = lines
        items = (lines - 1) * plane + out[2]
        pitch = max(pitch, -(-items // tile.columns) * tile.columns)
    return table.reshape(-1), pitch


class Call(NamedTuple):
    """What one convolution gives the kernel beside its arrays, and how it packs its weights."""

    plan: Plan
    tile: Tile
    units: int
    results: np.ndarray
    work: np.ndarray
    # rows with what fills the last tile, and items of a thread's memory
    start_rows: int
    slot: int


@functools.lru_cache(maxsize=256)
def _call(geo: Geometry, is_gradient: bool, sizes: tuple[int, int, int], dtype: np.dtype,
          thread_count: int) -> Call:
    """`sizes` are the images, and a group's channels of the source and rows of the result."""
    images, channels, rows = sizes
    groups = geo.groups
    plan = (_gradient_plan if is_gradient else _forward_plan)(geo, channels, rows)
    tile = _tile(dtype, rows)
    start_rows = -(-rows // tile.rows) * tile.rows
    table = plan.results.reshape(-1, len(conv_text.RESULT)).copy()
    table[:, 0] *= start_rows
    work = images * _product(geo.out) * groups * rows * channels * _product(geo.kernel)
    parts = 1 if work < SHARED else _parts(images * groups, thread_count)
    results, pitch = _cut(table, tile, parts, dtype.itemsize)
    # where no tap reaches an input there is no depth
    block = max(1, -(-plan.depth // max(1, -(-plan.depth // DEPTH))))
    # a tile reads beyond the last window
    panel_at = -(-(plan.plane_items + tile.columns + tile.lanes) // 16) * 16
    buffer_at = panel_at + -(-block * tile.columns // 16) * 16
    slot = buffer_at + -(-(start_rows * pitch + tile.lanes) // 16) * 16
    source, result = geo.size, geo.out
    if is_gradient:
        source, result = result, source
    source_group, result_group = channels * _product(source), rows * _product(result)
    numbers = np.array([
        groups, parts, groups * source_group, source_group, groups * result_group, result_group,
        plan.offsets.size * start_rows, start_rows, len(table), block, panel_at, buffer_at, pitch,
        slot], np.int64)
    return Call(plan, tile, images * groups * parts, results, numbers, start_rows, slot)


def _parts(units: int, thread_count: int) -> int:
    """In how many parts an image is made: threads get as much each, but all read the whole image.
    """
    def cost(parts: int) -> float:
        return -(-units * parts // thread_count) * (1 / parts + READ)

    return min(range(1, max(UNITS, thread_count) + 1), key=cost)


def _convolve(result: np.ndarray, source: np.ndarray, weights: np.ndarray,
              start: np.ndarray | None, call: Call, groups: int) -> None:
    starts = np.zeros((groups, call.start_rows), source.dtype)
    if start is not None:
        starts[:, :result.shape[1] // groups] = start.reshape(groups, -1)
    slots = threads.get_num_threads() + 1
    calls.launch(_kernel(call.tile), call.units, 1, result, np.ascontiguousarray(source), weights,
                 starts, call.plan.offsets, call.plan.planes, call.results, call.work,
                 memory.empty((slots * call.slot,), source.dtype), np.zeros(slots, np.int64))


def forward(
    x: np.ndarray, w: np.ndarray, geo: Geometry, bias: np.ndarray | None = None
) -> np.ndarray:
    """Cross-correlate x (N, C, *size) with w (O, C / groups, *kernel): (N, O, *out)."""
    rows, channels = w.shape[0] // geo.groups, w.shape[1]
    call = _call(geo, False, (x.shape[0], channels, rows), x.dtype, threads.get_num_threads())
    weights = _packed(w.reshape(geo.groups, rows, -1), call.tile)
    out = memory.empty((x.shape[0], w.shape[0], *geo.out), x.dtype)
    _convolve(out, x, weights, bias, call, geo.groups)
    return out


def input_gradient(g: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray:
    """The transpose of `forward` in x: g (N, O, *out) gives (N, C, *size)."""
    groups, rows = geo.groups, w.shape[1]
    channels = w.shape[0] // groups
    call = _call(geo, True, (g.shape[0], channels, rows), g.dtype, threads.get_num_threads())
    turned = w.reshape(groups, channels, rows, -1).swapaxes(1, 2)
    pieces = [_packed(turned[..., list(taps)].reshape(groups, rows, -1), call.tile)
              .reshape(groups, -1) for taps in call.plan.taps]
    out = memory.empty((g.shape[0], groups * rows, *geo.size), g.dtype)
    _convolve(out, g, np.concatenate(pieces, axis=1), None, call, groups)
    return out


def _tile(dtype: np.dtype, rows: int) -> Tile:
    return wide_tile(calls.KINDS[dtype], jit.host().vector_bytes, registers(), rows)


# positions of a block, chunks of images, bytes of a result that is kept for every chunk, rows of
# the gradient in a part, and rows of a group that are made one by one
BLOCK = 256
CHUNKS = 8
CHUNK_BYTES = 1 << 20
PART_ROWS = 32
FEW_ROWS = 2


@functools.cache
def _weight_kernel(tile: Tile, alone: bool) -> int:
    text = conv_weight_text.print_weigh(tile, jit.host().vector_bytes, alone)
    return jit.load(text, ("kernel",)).address("kernel")


def _shares(images: int, rows: int, bytes_of_result: int, tile: Tile) -> tuple[int, int, int]:
    """Images in a chunk, rows in a part and parts: small results are made by images."""
    chunk = images
    if bytes_of_result <= CHUNK_BYTES:
        chunk = -(-images // CHUNKS)
    if chunk * 2 <= images or rows <= tile.columns:
        return chunk, -(-rows // tile.columns) * tile.columns, 1
    part = max(tile.columns, PART_ROWS // tile.columns * tile.columns)
    return chunk, part, -(-rows // part)


def _lines(plan: Plan, images: int, plane_items: int) -> tuple[np.ndarray, int, int]:
    """Where lines of positions start in the planes of some images; lines of one, and their length.

    A few rows of positions that follow each other without a gap are one line.
    """
    named = dict(zip(conv_text.RESULT, plan.results.tolist(), strict=True))
    depth, height, width = (named[f"out_{axis}"] for axis in ("depth", "height", "width"))
    row = named["plane_width"]
    plane = named["plane_height"] * row
    if row == width and height * width <= BLOCK:
        height, width = 1, height * width
    z, y, image = np.arange(depth), np.arange(height), np.arange(images)
    starts = image[:, None, None] * plane_items + z[:, None] * plane + y * row
    return starts.astype(np.int64).ravel(), depth * height, width


def weight_gradient(g: np.ndarray, x: np.ndarray, geo: Geometry) -> np.ndarray:
    """The transpose of `forward` in w: g (N, O, *out) and x give (O, C / groups, *kernel).

    Which sums are added to which depends on the shapes alone.
    """
    groups, images = geo.groups, x.shape[0]
    rows, channels = g.shape[1] // groups, x.shape[1] // groups
    plan = _forward_plan(geo, channels, rows)
    weights, positions = plan.depth, _product(geo.out)
    tile = broad_tile(x.dtype)
    result_rows = -(-weights // tile.rows) * tile.rows
    offsets = np.zeros(result_rows, np.int64)
    offsets[:weights] = plan.offsets
    pitch = -(-rows // tile.columns) * tile.columns
    chunk, part_rows, parts = _shares(images, rows, groups * result_rows * pitch * x.itemsize,
                                      tile)
    chunks = -(-images // chunk)
    result = np.zeros((chunks, groups, result_rows, pitch), x.dtype)
    together = max(1, min(chunk, BLOCK // positions))
    plane_items = -(-(plan.plane_items + 2 * tile.lanes) // 16) * 16
    starts, lines, length = _lines(plan, together, plane_items)
    block = lines if together > 1 else min(lines, max(1, BLOCK // length))
    strips_at = plane_items * together
    slot = strips_at + block * length * together * tile.columns
    slots = threads.get_num_threads() + 1
    work = np.array([
        images, chunk, together, groups, parts, part_rows, rows, x[0].size,
        channels * _product(geo.size), g[0].size, rows * positions, positions, lines, length,
        block, weights, plane_items, strips_at, slot, pitch, result_rows], np.int64)
    kernel = _weight_kernel(tile, rows <= FEW_ROWS)
    scratch = memory.empty((slots * slot,), x.dtype)
    calls.launch(kernel, chunks * groups * parts, 1, result, np.ascontiguousarray(x),
                 np.ascontiguousarray(g), offsets, starts, plan.planes, work, scratch,
                 np.zeros(slots, np.int64))
    total = result[0] if chunks == 1 else np.add.reduce(result, axis=0)
    return np.ascontiguousarray(total[:, :weights, :rows].swapaxes(1, 2)).reshape(
        groups * rows, channels, *geo.kernel)
