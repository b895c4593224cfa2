"""Maxima of windows with their places, and values put at places: a plane is a unit of work.

Planes are (planes, depth, height, width), windows of any kernel, stride, padding and dilation.
"""

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import BITS_OF, LLVM_TYPE, Value
from flambeau.backends.llvm.lanes import identity
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import load_pointers, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

# entries of the table: three of each, for depth, height and width
TABLE = tuple(f"{name}{axis}" for name in ("size", "out", "kernel", "stride", "before", "dilation")
              for axis in range(3))
# cells of a window that are written out one by one
MOST_CELLS = 27
# items of planes in a piece of work
PIECE = 1 << 14


def window_bounds(w: Writer, t: dict[str, str], axis: int, number: str) -> tuple[str, str, str]:
    """The first cell of a window inside the plane on an axis, the end, and the step."""
    step = t[f"dilation{axis}"]
    begin = w.op("sub", w.mul(number, t[f"stride{axis}"]), t[f"before{axis}"])
    outside = w.op("sub", w.op("sub", 0, begin), 1)
    skipped = w.add(w.op("sdiv", outside, step), 1)
    first = w.choose(w.test("slt", begin, 0), w.add(begin, w.mul(skipped, step)), begin)
    span = w.mul(w.op("sub", t[f"kernel{axis}"], 1), step)
    end = ln.least(w.e, w.add(w.add(begin, span), 1), t[f"size{axis}"])
    return first, end, step


def _begin(w: Writer, t: dict[str, str], axis: int, number: str) -> tuple[str, str]:
    """Where a window begins on an axis, and whether all of it is inside the plane."""
    begin = w.op("sub", w.mul(number, t[f"stride{axis}"]), t[f"before{axis}"])
    span = w.mul(w.op("sub", t[f"kernel{axis}"], 1), t[f"dilation{axis}"])
    last = w.test("slt", w.add(begin, span), t[f"size{axis}"])
    return begin, w.e.assign(f"and i1 {w.test('sge', begin, 0)}, {last}")


def print_maxima(kind: str, kernel: tuple[int, ...]) -> str:
    """The kernel of maxima: context values, indices, planes, table.

    Windows inside the plane are written out cell by cell where they are small.
    """
    w = Writer(1)
    e = w.e
    values, indices, planes, table = load_pointers(e, 4)
    t = w.named(table, TABLE)
    cells = w.mul(w.mul(t["size0"], t["size1"]), t["size2"])
    windows = w.mul(w.mul(t["out0"], t["out1"]), t["out2"])
    units = Loop(e, "%begin", "%end")
    plane = w.place(kind, planes, w.mul(units.index, cells))
    first_window = w.mul(units.index, windows)
    loops = [Loop(e, 0, t["out0"])]
    loops.append(Loop(e, 0, t["out1"]))
    begins = [_begin(w, t, axis, loop.index) for axis, loop in enumerate(loops)]
    line = w.mul(w.add(w.mul(loops[0].index, t["out1"]), loops[1].index), t["out2"])
    loops.append(Loop(e, 0, t["out2"]))
    begins.append(_begin(w, t, 2, loops[2].index))
    place = w.add(w.add(first_window, line), loops[2].index)
    inside = "false"
    if math.prod(kernel) <= MOST_CELLS:
        inside = e.assign(f"and i1 {begins[0][1]}, {begins[1][1]}")
        inside = e.assign(f"and i1 {inside}, {begins[2][1]}")
        whole = Branch(e, inside)
        found = _whole_window(w, kind, plane, t, [begin for begin, _ in begins], kernel)
        _store(w, found, values, indices, place)
        whole.close()
    cut = Branch(e, e.assign(f"xor i1 {inside}, true"))
    bounds = [window_bounds(w, t, axis, loop.index) for axis, loop in enumerate(loops)]
    _store(w, _window(w, kind, plane, t, bounds), values, indices, place)
    cut.close()
    for loop in (*loops[::-1], units):
        loop.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], 16)


def _store(w: Writer, found: tuple[Value, Value], values: str, indices: str, place: str) -> None:
    for value, base in zip(found, (values, indices), strict=True):
        store_vector(w.e, value, base, place, None)


def _larger(w: Writer, item: Value, best: Value) -> Value:
    return w.e.bit_or(w.e.compare("ogt", item, best), w.e.compare("uno", item, item))


def _chosen(w: Writer, condition: Value, a: Value, b: Value) -> Value:
    """One of two as bits: hosts choose between integers without a jump."""
    bits = BITS_OF[a.kind]
    return w.e.bitcast(w.e.select(condition, w.e.bitcast(a, bits), w.e.bitcast(b, bits)), a.kind)


def _whole_window(
    w: Writer,
    kind: str,
    plane: str,
    t: dict[str, str],
    begins: list[str],
    kernel: tuple[int, ...],
) -> tuple[Value, Value]:
    """The maximum of a window of so many cells, all inside the plane, and where it is."""
    e = w.e
    best, where = None, None
    for cell in itertools.product(*map(range, kernel)):
        row = "0"
        for axis, number in enumerate(cell):
            step = w.mul(t[f"dilation{axis}"], number) if number else 0
            row = w.add(w.mul(row, t[f"size{axis}"]), w.add(begins[axis], step))
        item = load_vector(e, kind, plane, row, None)
        place = ln.in_first_lane(e, Value(row, "i64"))
        if best is None or where is None:
            best, where = item, place
            continue
        larger = _larger(w, item, best)
        best, where = _chosen(w, larger, item, best), e.select(larger, place, where)
    assert best is not None and where is not None
    return best, where


def _window(
    w: Writer, kind: str, plane: str, t: dict[str, str], bounds: list[tuple[str, str, str]]
) -> tuple[Value, Value]:
    """The maximum of a window and where it is; the last NaN, else the first of equal maxima."""
    e = w.e
    corner = bounds[0][0]
    for axis in (1, 2):
        corner = w.add(w.mul(corner, t[f"size{axis}"]), bounds[axis][0])
    best = e.const(kind, identity("max", kind))
    where = ln.in_first_lane(e, Value(corner, "i64"))
    loops, row = [], "0"
    for axis, (first, end, step) in enumerate(bounds):
        loops.append(Loop(e, first, end, step, (best, where)))
        best, where = loops[-1].values
        row = w.add(w.mul(row, t[f"size{axis}"]), loops[-1].index)
    item = load_vector(e, kind, plane, row, None)
    larger = _larger(w, item, best)
    best = _chosen(w, larger, item, best)
    where = e.select(larger, ln.in_first_lane(e, Value(row, "i64")), where)
    for loop in loops[::-1]:
        best, where = loop.close((best, where))
    return best, where


def print_scatter(kind: str) -> str:
    """The kernel that adds values at places of zeros: context planes, values, indices, sizes."""
    w = Writer(1)
    e = w.e
    planes, values, indices, table = load_pointers(e, 4)
    t = w.named(table, ("cells", "count"))
    units = Loop(e, "%begin", "%end")
    plane = w.place(kind, planes, w.mul(units.index, t["cells"]))
    clear = Loop(e, 0, t["cells"])
    ln.store_item(e, Value("0.0", kind), plane, clear.index)
    clear.close()
    first = w.mul(units.index, t["count"])
    each = Loop(e, 0, t["count"])
    at = w.add(first, each.index)
    target = w.place(kind, plane, w.read(indices, at))
    stored = LLVM_TYPE[kind]
    old, new = (e.assign(f"load {stored}, ptr {place}, align {ITEM_BYTES[kind]}")
                for place in (target, w.place(kind, values, at)))
    ln.store_item(e, Value(e.assign(f"fadd {stored} {old}, {new}"), kind), target, "0")
    each.close()
    units.close()
    kernel = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(kernel, e.declarations)], 16)


@functools.cache
def _address(kind: str, kernel: tuple[int, ...] | None) -> int:
    text = print_scatter(kind) if kernel is None else print_maxima(kind, kernel)
    return jit.load(text, ("kernel",)).address("kernel")


def piece_of(cells: int) -> int:
    """How many planes of so many cells are one piece of work."""
    return max(1, PIECE // max(cells, 1))


def maxima(x: np.ndarray, table: Sequence[int], out: Sequence[int]) -> tuple[np.ndarray, ...]:
    """The maximum of every window of planes (planes, D, H, W), and its number in the plane."""
    values = memory.empty((x.shape[0], *out), x.dtype)
    indices = memory.empty(values.shape, np.dtype(np.int64))
    kernel = tuple(table[TABLE.index("kernel0") :][:3])
    calls.launch(_address(calls.KINDS[x.dtype], kernel), x.shape[0], piece_of(x[0].size),
                 values, indices, x, np.array(table, np.int64))
    return values, indices


def scatter(values: np.ndarray, indices: np.ndarray, cells: int) -> np.ndarray:
    """Zeros (planes, cells) with values (planes, count) added at their places in the plane."""
    planes, count = values.shape
    out = memory.empty((planes, cells), values.dtype)
    calls.launch(_address(calls.KINDS[values.dtype], None), planes, piece_of(cells), out, values,
                 indices, np.array([cells, count], np.int64))
    return out
