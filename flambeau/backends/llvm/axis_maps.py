"""Sparse linear maps along an axis, on the pool: every output is a weighted sum of a few inputs.

Arrays are taken as (batch, cells, columns), and the middle axis is mapped. The entries of a map are
in the order of their outputs, and added in that order.
"""

import functools
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import LLVM_TYPE, SUFFIX, Value
from flambeau.backends.llvm.lanes import spread_item
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import (
    lane_mask,
    load_pointers,
    load_vector,
    splat_item,
    store_vector,
)
from flambeau.backends.llvm.program import ITEM_BYTES

# outputs in a piece of work
PIECE = 1 << 13
SIZES = ("outputs", "inputs", "columns", "most", "step", "shared")


class Form(NamedTuple):
    """What a kernel is printed for.

    Whether rows of columns are mapped, or single items; whether entries have weights; whether some
    outputs have fewer entries than others; whether what is read at -1 is 0.
    """

    kind: str
    rows: bool
    weighs: bool
    uneven: bool = False
    gaps: bool = False


class Entries(NamedTuple):
    """The entries of a map, in one dtype: where those of each output start, and what they read.

    `most` are those of any output, and `least`. Of single items the tables are (most, outputs), and
    `starts` has the number of each output's entries.
    """

    outputs: int
    inputs: int
    most: int
    least: int
    starts: np.ndarray
    sources: np.ndarray
    weights: np.ndarray | None


def print_map(form: Form, vector_bytes: int) -> str:
    """The kernel: context out, x, starts, sources, weights, zero, sizes; totals start from zero.

    A unit of work is an output of one batch, a row of columns; of single items it is a batch, as
    many of which as are "shared" have one table. Its lines are a "step" apart.
    """
    kind = form.kind
    w = Writer((1 + form.rows) * vector_bytes // ITEM_BYTES[kind])
    e = w.e
    pointers = load_pointers(e, 7)
    t = w.named(pointers[6], SIZES)
    first = splat_item(e, kind, pointers[5])
    units = Loop(e, "%begin", "%end")
    length = t["columns" if form.rows else "outputs"]
    line = w.place(kind, pointers[0], w.mul(units.index, length))
    batch = w.op("udiv", units.index, t["outputs"]) if form.rows else units.index
    plane = w.place(kind, pointers[1], w.mul(w.mul(batch, t["inputs"]), t["columns"]))
    made = _row_total if form.rows else _item_total

    def write(at: str, mask: str | None) -> None:
        found = made(w, form, t, (plane, *pointers[2:5], units.index), (at, mask), first)
        store_vector(e, found, line, at, mask)

    left = w.op("urem", length, e.lanes)
    whole = Loop(e, 0, w.op("sub", length, left), e.lanes)
    write(whole.index, None)
    whole.close()
    rest = Branch(e, w.test("ne", left, 0))
    write(w.op("sub", length, left), lane_mask(e, left))
    rest.close()
    units.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], vector_bytes)


def _row_total(w: Writer, form: Form, t: dict[str, str], at: tuple[str, ...],
               column: tuple[str, str | None], first: Value) -> Value:
    """Columns of one output: sums of columns of rows."""
    e, (plane, starts, sources, weights, unit) = w.e, at
    row = w.op("urem", unit, t["outputs"])
    entries = Loop(e, w.read(starts, row), w.read(starts, w.add(row, 1)), 1, (first,))
    source = w.mul(w.read(sources, entries.index), t["columns"])
    part = load_vector(e, form.kind, w.place(form.kind, plane, source), *column)
    if form.weighs:
        part = e.mul(part, splat_item(e, form.kind, weights, entries.index))
    return entries.close((e.add(entries.values[0], part),))[0]


def _item_total(w: Writer, form: Form, t: dict[str, str], at: tuple[str, ...],
                output: tuple[str, str | None], first: Value) -> Value:
    """Neighbouring outputs: sums of items that lie anywhere."""
    e, (plane, counts, sources, weights, unit) = w.e, at
    start = w.add(w.mul(w.op("udiv", unit, t["shared"]), t["outputs"]), output[0])
    turns = Loop(e, 0, t["most"], 1, (first,))
    place = w.add(w.mul(turns.index, t["step"]), start)
    index = load_vector(e, "i32", sources, place, output[1])
    part = gathered(w, form.kind, plane, index, form.gaps)
    if form.weighs:
        part = e.mul(part, load_vector(e, form.kind, weights, place, output[1]))
    total = turns.values[0]
    grown = e.add(total, part)
    if form.uneven:
        number = e.assign(f"trunc i64 {turns.index} to i32")
        count = load_vector(e, "i32", counts, output[0], output[1])
        grown = e.select(e.compare("sgt", count, spread_item(e, Value(number, "i32"))), grown,
                         total)
    return turns.close((grown,))[0]


def gathered(w: Writer, kind: str, base: str, index: Value, gaps: bool = False) -> Value:
    """The items at places; with `gaps` 0 where a place is below 0."""
    e = w.e
    name = f"@llvm.masked.gather.v{e.lanes}{SUFFIX[kind]}.v{e.lanes}p0"
    pointers, vector = f"<{e.lanes} x ptr>", e.type(kind)
    e.declarations.add(f"declare {vector} {name}({pointers}, i32 immarg, {e.type('bool')}, "
                       f"{vector})")
    there, instead = "splat (i1 true)", "poison"
    if gaps:
        there, instead = e.compare("sge", index, 0).text, "zeroinitializer"
    places = e.assign(f"getelementptr {LLVM_TYPE[kind]}, ptr {base}, {e.type('i32')} {index.text}")
    return e.value(kind, f"call {vector} {name}({pointers} {places}, i32 {ITEM_BYTES[kind]}, "
                         f"{e.type('bool')} {there}, {vector} {instead})")


@functools.cache
def _address(form: Form) -> int:
    return jit.load(print_map(form, jit.host().vector_bytes), ("kernel",)).address("kernel")


def run(x: np.ndarray, batch: int, columns: int, entries: Entries) -> np.ndarray:
    """Map the middle axis of (batch, inputs, columns), dense: -> (batch, outputs, columns), flat.
    """
    n = entries
    out = memory.empty((batch * n.outputs * columns,), x.dtype)
    form = Form(calls.KINDS[x.dtype], columns > 1, n.weights is not None,
                columns == 1 and n.least < n.most)
    sizes = np.array([n.outputs, n.inputs, columns, n.most, n.outputs, batch], np.int64)
    # -0.0 leaves what is added as it is
    zero = np.array(-0.0 if n.least else 0.0, x.dtype)
    work = columns * n.most if form.rows else n.outputs * n.most
    units = batch * n.outputs if form.rows else batch
    calls.launch(_address(form), units, max(1, PIECE // max(work, 1)), out, x, n.starts, n.sources,
                 sizes if n.weights is None else n.weights, zero, sizes)
    return out


def sample(planes: np.ndarray, cells: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Read planes (images, channels, inputs) at the cells of points: -> (images, channels, points).

    cells: int32, (taps, images, points), -1 for zeros; the weights' shape is theirs.
    """
    (images, channels, inputs), (taps, _, points) = planes.shape, cells.shape
    out = memory.empty((images, channels, points), planes.dtype)
    form = Form(calls.KINDS[planes.dtype], False, weights is not None, False, True)
    sizes = np.array([points, inputs, 1, taps, images * points, channels], np.int64)
    zero = np.zeros(1, planes.dtype)
    calls.launch(_address(form), images * channels, max(1, PIECE // (points * taps)), out, planes,
                 sizes, cells, sizes if weights is None else weights, zero, sizes)
    return out
