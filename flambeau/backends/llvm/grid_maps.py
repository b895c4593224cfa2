"""Gradients of sampling images at points, on the pool: in the image, and in the points."""

import functools

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.axis_maps import gathered
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import LLVM_TYPE, Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import lane_mask, load_pointers, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

# points that are taken together, tap by tap, as PyTorch adds them
BLOCK_BYTES = 32
PIECE = 1 << 13
SIZES = ("channels", "inputs", "points", "images")


def print_spread(kind: str, taps: int, weighs: bool) -> str:
    """The kernel that adds gradients at cells of planes of zeros: context planes, g, cells,
    weights, sizes. A unit of work is a plane.
    """
    w = Writer(1)
    e = w.e
    planes, g, cells, weights, table = load_pointers(e, 5)
    t = w.named(table, SIZES)
    units = Loop(e, "%begin", "%end")
    plane = w.place(kind, planes, w.mul(units.index, t["inputs"]))
    line = w.place(kind, g, w.mul(units.index, t["points"]))
    first = w.mul(w.op("udiv", units.index, t["channels"]), t["points"])
    clear = Loop(e, 0, t["inputs"])
    ln.store_item(e, Value("0.0", kind), plane, clear.index)
    clear.close()
    block = BLOCK_BYTES // ITEM_BYTES[kind]
    blocks = Loop(e, 0, t["points"], block)
    last = ln.least(e, w.add(blocks.index, block), t["points"])
    each_tap = Loop(e, 0, taps)
    start = w.add(w.mul(each_tap.index, w.mul(t["images"], t["points"])), first)
    points = Loop(e, blocks.index, last)
    at = w.add(start, points.index)
    cell = e.assign(f"load i32, ptr {w.place('i32', cells, at)}")
    inside = Branch(e, e.assign(f"icmp sge i32 {cell}, 0"))
    item = _item(w, kind, line, points.index)
    if weighs:
        item = e.assign(f"fmul {LLVM_TYPE[kind]} {item}, {_item(w, kind, weights, at)}")
    place = e.assign(f"zext i32 {cell} to i64")
    ln.add_item(e, Value(item, kind), w.place(kind, plane, place))
    for part in (inside, points, each_tap, blocks, units):
        part.close()
    return _module(w, 16)


def _item(w: Writer, kind: str, base: str, at: str) -> str:
    return w.e.assign(f"load {LLVM_TYPE[kind]}, ptr {w.place(kind, base, at)}")


def print_seen(kind: str, taps: int, vector_bytes: int) -> str:
    """The kernel of sums over channels of cells times gradients: context out, planes, g, cells,
    sizes. A unit of work is a vector of points of an image.
    """
    w = Writer(vector_bytes // ITEM_BYTES[kind])
    e = w.e
    out, planes, g, cells, table = load_pointers(e, 5)
    t = w.named(table, SIZES)
    in_image = w.op("udiv", w.add(t["points"], e.lanes - 1), e.lanes)
    units = Loop(e, "%begin", "%end")
    image = w.op("udiv", units.index, in_image)
    at = w.mul(w.op("urem", units.index, in_image), e.lanes)
    left = ln.least(e, w.op("sub", t["points"], at), str(e.lanes))
    mask = lane_mask(e, left)
    first = w.add(w.mul(image, t["points"]), at)
    apart = w.mul(t["images"], t["points"])
    places = [w.add(first, w.mul(apart, k)) for k in range(taps)]
    index = [load_vector(e, "i32", cells, place, mask) for place in places]
    totals = [e.const(kind, 0.0)] * taps
    channels = Loop(e, 0, t["channels"], 1, totals)
    plane = w.add(w.mul(image, t["channels"]), channels.index)
    slope = load_vector(e, kind, g, w.add(w.mul(plane, t["points"]), at), mask)
    base = w.place(kind, planes, w.mul(plane, t["inputs"]))
    grown = [e.add(total, e.mul(gathered(w, kind, base, where, True), slope))
             for total, where in zip(channels.values, index)]
    for total, place in zip(channels.close(grown), places):
        store_vector(e, total, out, place, mask)
    units.close()
    return _module(w, vector_bytes)


def _module(w: Writer, vector_bytes: int) -> str:
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, w.e.declarations)], vector_bytes)


@functools.cache
def _spreading(kind: str, taps: int, weighs: bool) -> int:
    return jit.load(print_spread(kind, taps, weighs), ("kernel",)).address("kernel")


@functools.cache
def _seeing(kind: str, taps: int) -> int:
    text = print_seen(kind, taps, jit.host().vector_bytes)
    return jit.load(text, ("kernel",)).address("kernel")


def spread(g: np.ndarray, cells: np.ndarray, weights: np.ndarray | None,
           inputs: int) -> np.ndarray:
    """Add g (images, channels, points) at cells of zeros: -> (images, channels, inputs).

    cells: int32, (taps, images, points), -1 for nowhere; the weights' shape is theirs.
    """
    images, channels, points = g.shape
    out = memory.empty((images, channels, inputs), g.dtype)
    sizes = np.array([channels, inputs, points, images], np.int64)
    kernel = _spreading(calls.KINDS[g.dtype], len(cells), weights is not None)
    work = inputs + points * len(cells)
    calls.launch(kernel, images * channels, max(1, PIECE // work), out, g, cells,
                 sizes if weights is None else weights, sizes)
    return out


def seen(planes: np.ndarray, g: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """For every tap the sums over channels of what it reads times g: as `cells` in shape."""
    (images, channels, inputs), points = planes.shape, g.shape[2]
    out = memory.empty(cells.shape, g.dtype)
    sizes = np.array([channels, inputs, points, images], np.int64)
    lanes = jit.host().vector_bytes // g.itemsize
    units = images * -(-points // lanes)
    calls.launch(_seeing(calls.KINDS[g.dtype], len(cells)), units,
                 max(1, PIECE // (lanes * channels)), out, planes, g, cells, sizes)
    return out
