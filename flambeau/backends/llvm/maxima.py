"""Maxima of windows with their places, and values put at places: a plane is a unit of work.

Planes are (planes, depth, height, width), windows of any kernel, stride, padding and dilation.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import BITS_OF, LLVM_TYPE, Value
from flambeau.backends.llvm.lanes import pick
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import lane_mask, load_pointers, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES, identity

# entries of the table: three of each, for depth, height and width
TABLE = tuple(f"{name}{axis}" for name in ("size", "out", "kernel", "stride", "before", "dilation")
              for axis in range(3))
# cells of a window that are written out one by one
MOST_CELLS = 27
# windows so far apart on the last axis at the most are made side by side
MOST_STRIDE = 8
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


class Shape(NamedTuple):
    """What a kernel of maxima is printed for.

    Its windows, how far apart they are on the last axis, lanes, how places are counted, and whether
    they are wanted.
    """

    kernel: tuple[int, ...]
    stride: int
    lanes: int
    places: str
    tells: bool


def print_maxima(kind: str, shape: Shape) -> str:
    """The kernel of maxima: context values, indices, planes, table.

    Small windows inside the plane are made side by side; those that its edges cut, and large ones,
    one by one.
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
    line = w.mul(w.add(w.mul(loops[0].index, t["out1"]), loops[1].index), t["out2"])
    line = w.add(first_window, line)
    targets = (values, indices) if shape.tells else (values,)
    first, last = ("0", "0")
    if math.prod(shape.kernel) <= MOST_CELLS:
        begins = [_begin(w, t, axis, loop.index) for axis, loop in enumerate(loops)]
        first, last = _columns_inside(w, t, begins)
        row = w.add(w.mul(begins[0][0], t["size1"]), begins[1][0])
        _side_by_side(w, kind, shape, t, (plane, row, first, last), targets, line)
    # the columns before the first and from the last one on
    inside = w.op("sub", last, first)
    rest = Loop(e, 0, w.op("sub", t["out2"], inside))
    column = w.choose(w.test("slt", rest.index, first), rest.index, w.add(rest.index, inside))
    numbers = (loops[0].index, loops[1].index, column)
    bounds = [window_bounds(w, t, axis, number) for axis, number in enumerate(numbers)]
    found = _window(w, kind, plane, t, bounds)
    _store(w, found, targets, w.add(line, column), None)
    for loop in (rest, *loops[::-1], units):
        loop.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], jit.host().vector_bytes)


def _columns_inside(w: Writer, t: dict[str, str],
                    begins: list[tuple[str, str]]) -> tuple[str, str]:
    """The first column of windows that are all inside the plane, and the end of them."""
    rows_inside = w.e.assign(f"and i1 {begins[0][1]}, {begins[1][1]}")
    stride = t["stride2"]
    first = w.op("udiv", w.op("sub", w.add(t["before2"], stride), 1), stride)
    span = w.mul(w.op("sub", t["kernel2"], 1), t["dilation2"])
    room = w.op("sub", w.add(t["size2"], t["before2"]), w.add(span, 1))
    last = w.choose(w.test("slt", room, 0), 0, w.add(w.op("sdiv", room, stride), 1))
    last = ln.least(w.e, last, t["out2"])
    some = w.e.assign(f"and i1 {rows_inside}, {w.test('slt', first, last)}")
    return w.choose(some, first, 0), w.choose(some, last, 0)


def _side_by_side(
    w: Writer,
    kind: str,
    shape: Shape,
    t: dict[str, str],
    at: tuple[str, str, str, str],
    targets: Sequence[str],
    line: str,
) -> None:
    """The windows of some columns of one row, all inside the plane, as many as there are lanes."""
    e, (plane, row, first, last) = w.e, at
    corner = w.op("sub", w.mul(row, t["size2"]), t["before2"])
    # whole vectors read a few items behind their last window, which are the next one's
    end = w.op("sub", last, shape.lanes)
    with e.width(shape.lanes):
        whole = Loop(e, first, end, shape.lanes)
        begin = w.add(corner, w.mul(whole.index, shape.stride))
        found = _whole_windows(w, kind, shape, t, (plane, begin), None)
        _store(w, found, targets, w.add(line, whole.index), None)
        whole.close()
        some = Branch(e, w.test("slt", first, last))
        made = w.op("sdiv", w.op("sub", w.op("sub", last, first), 1), shape.lanes)
        column = w.add(first, w.mul(made, shape.lanes))
        left = w.op("sub", last, column)
        begin = w.add(corner, w.mul(column, shape.stride))
        found = _whole_windows(w, kind, shape, t, (plane, begin), left)
        _store(w, found, targets, w.add(line, column), lane_mask(e, left))
        some.close()


def _whole_windows(
    w: Writer,
    kind: str,
    shape: Shape,
    t: dict[str, str],
    at: tuple[str, str],
    left: str | None,
) -> tuple[Value, Value]:
    """The maxima of neighbouring windows, all inside the plane, and where they are.

    Where only some windows are `left`, the lanes behind them read nothing.
    """
    e, (plane, begin) = w.e, at
    best, where = None, None
    for cell in itertools.product(*map(range, shape.kernel)):
        offset = "0"
        for axis, number in enumerate(cell):
            step = w.mul(t[f"dilation{axis}"], number) if number else 0
            offset = w.add(w.mul(offset, t[f"size{axis}"]), step)
        item = _every(w, kind, shape, plane, w.add(begin, offset), left)
        place = _spread(w, offset, shape.places)
        if best is None or where is None:
            best, where = item, place
            continue
        larger = _larger(w, item, best)
        best, where = _chosen(w, larger, item, best), e.select(larger, place, where)
    assert best is not None and where is not None
    steps = ", ".join(f"{LLVM_TYPE[shape.places]} {lane * shape.stride}"
                      for lane in range(shape.lanes))
    where = e.add(e.add(where, Value(f"<{steps}>", shape.places)), _spread(w, begin, shape.places))
    return best, e.convert(where, "i64")


def _spread(w: Writer, number: str, kind: str) -> Value:
    """A number in every lane."""
    if kind == "i32":
        number = w.e.assign(f"trunc i64 {w.add(number, 0)} to i32")
    return ln.spread_item(w.e, Value(number, kind))


def _every(w: Writer, kind: str, shape: Shape, plane: str, begin: str,
           left: str | None) -> Value:
    """Every so many items from `begin` on, one a lane."""
    e, lanes, stride = w.e, shape.lanes, shape.stride
    step = stride if lanes > 1 else 1
    parts = []
    for part in range(step):
        mask = None
        if left is not None:
            items = w.op("sub", w.mul(w.op("sub", left, 1), stride), part * lanes - 1)
            mask = lane_mask(e, w.choose(w.test("slt", items, 0), 0, items))
        parts.append(load_vector(e, kind, plane, w.add(begin, part * lanes), mask))
    return pick(e, parts, step)


def _store(w: Writer, found: tuple[Value, Value], targets: Sequence[str], place: str,
           mask: str | None) -> None:
    for value, base in zip(found, targets, strict=False):
        store_vector(w.e, value, base, place, mask)


def _larger(w: Writer, item: Value, best: Value) -> Value:
    return w.e.bit_or(w.e.compare("ogt", item, best), w.e.compare("uno", item, item))


def _chosen(w: Writer, condition: Value, a: Value, b: Value) -> Value:
    """One of two as bits: hosts choose between integers without a jump."""
    bits = BITS_OF[a.kind]
    return w.e.bitcast(w.e.select(condition, w.e.bitcast(a, bits), w.e.bitcast(b, bits)), a.kind)


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


def print_parts(kind: str, tells: bool) -> str:
    """The kernel of maxima of parts that divide axes as evenly as can be; context as for maxima.

    Of the table only sizes are read.
    """
    w = Writer(1)
    e = w.e
    values, indices, planes, table = load_pointers(e, 4)
    t = w.named(table, TABLE)
    cells = w.mul(w.mul(t["size0"], t["size1"]), t["size2"])
    units = Loop(e, "%begin", "%end")
    plane = w.place(kind, planes, w.mul(units.index, cells))
    loops: list[Loop] = []
    place = units.index
    for axis in range(3):
        loops.append(Loop(e, 0, t[f"out{axis}"]))
        place = w.add(w.mul(place, t[f"out{axis}"]), loops[-1].index)
    found = _window(w, kind, plane, t, [_part(w, t, k, x.index) for k, x in enumerate(loops)])
    _store(w, found, (values, indices) if tells else (values,), place, None)
    for loop in (*loops[::-1], units):
        loop.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], jit.host().vector_bytes)


def _part(w: Writer, t: dict[str, str], axis: int, number: str) -> tuple[str, str, str]:
    """The first cell of a part on an axis, the end, and the step."""
    size, count = t[f"size{axis}"], t[f"out{axis}"]
    first = w.op("udiv", w.mul(number, size), count)
    end = w.mul(w.add(number, 1), size)
    return first, w.op("udiv", w.add(end, w.op("sub", count, 1)), count), "1"


def print_scatter(kind: str) -> str:
    """The kernel that adds values at places of zeros: context planes, values, indices, sizes.

    What has no place in the plane is left out; the last item of the context then holds a 1.
    """
    w = Writer(1)
    e = w.e
    planes, values, indices, table, lost = load_pointers(e, 5)
    t = w.named(table, ("cells", "count"))
    units = Loop(e, "%begin", "%end")
    plane = w.place(kind, planes, w.mul(units.index, t["cells"]))
    clear = Loop(e, 0, t["cells"])
    ln.store_item(e, Value("0.0", kind), plane, clear.index)
    clear.close()
    first = w.mul(units.index, t["count"])
    each = Loop(e, 0, t["count"])
    at = w.add(first, each.index)
    cell = w.read(indices, at)
    outside = Branch(e, w.test("uge", cell, t["cells"]))
    e.line(f"store atomic i64 1, ptr {lost} monotonic, align 8")
    outside.close()
    inside = Branch(e, w.test("ult", cell, t["cells"]))
    new = e.assign(f"load {LLVM_TYPE[kind]}, ptr {w.place(kind, values, at)}, "
                   f"align {ITEM_BYTES[kind]}")
    ln.add_item(e, Value(new, kind), w.place(kind, plane, cell))
    inside.close()
    each.close()
    units.close()
    kernel = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(kernel, e.declarations)], 16)


@functools.cache
def _address(kind: str, shape: Shape | None) -> int:
    text = print_scatter(kind) if shape is None else print_maxima(kind, shape)
    return jit.load(text, ("kernel",)).address("kernel")


@functools.cache
def _of_parts(kind: str, tells: bool) -> int:
    return jit.load(print_parts(kind, tells), ("kernel",)).address("kernel")


def piece_of(cells: int) -> int:
    """How many planes of so many cells are one piece of work."""
    return max(1, PIECE // max(cells, 1))


def maxima(x: np.ndarray, table: Sequence[int],
           out: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of every window of planes (planes, D, H, W), and its number in the plane.

    Where strides are 0 windows are parts that divide the axes as evenly as can be.
    """
    values = memory.empty((x.shape[0], *out), x.dtype)
    indices = memory.empty(values.shape, np.dtype(np.int64))
    _run(x, table, values, indices, tells=True)
    return values, indices


def maximum_values(x: np.ndarray, table: Sequence[int], out: Sequence[int]) -> np.ndarray:
    """The maximum of every window of planes (planes, D, H, W)."""
    values = memory.empty((x.shape[0], *out), x.dtype)
    _run(x, table, values, np.empty(0, np.int64), tells=False)
    return values


def _run(x: np.ndarray, table: Sequence[int], values: np.ndarray, indices: np.ndarray,
         tells: bool) -> None:
    kind, stride = calls.KINDS[x.dtype], int(table[TABLE.index("stride2")])
    if not stride:
        kernel = _of_parts(kind, tells)
        calls.launch(kernel, x.shape[0], piece_of(x[0].size), values, indices, x,
                     np.array(table, np.int64))
        return
    lanes = jit.host().vector_bytes // x.itemsize if stride <= MOST_STRIDE else 1
    places = "i32" if kind == "f32" and x[0].size < 1 << 31 else "i64"
    shape = Shape(tuple(table[TABLE.index("kernel0") :][:3]), stride, lanes, places, tells)
    calls.launch(_address(kind, shape), x.shape[0], piece_of(x[0].size),
                 values, indices, x, np.array(table, np.int64))


def scatter(values: np.ndarray, indices: np.ndarray, cells: int) -> np.ndarray | None:
    """Zeros (planes, cells) with values (planes, count) added at their places in the plane.

    None where one has no place there.
    """
    planes, count = values.shape
    out, lost = memory.empty((planes, cells), values.dtype), np.zeros(1, np.int64)
    calls.launch(_address(calls.KINDS[values.dtype], None), planes, piece_of(cells), out, values,
                 indices, np.array([cells, count], np.int64), lost)
    return None if lost[0] else out
