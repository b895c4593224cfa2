"""Elements read, written, added or counted at places that an index array names, on the pool.

Arrays are taken as (batch, rows, columns), and an index along the rows: what it names is row
`index[b, j, c]` of the batch `b`. A unit of work is a strip of columns of one batch, whose items
are taken in the order of `j`: what is written twice keeps the last, sums are added in order. What
is only read may be taken in any order: there a strip of a single column is some of its items.
"""

import functools
from typing import NamedTuple

import numpy as np

from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.array_program import Gather, Scatter
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import Span, load_pointers, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

# columns in a strip, with indices of their own or one a row, and items in a piece of work
STRIP = 64
WIDE_STRIP = 256
PIECE = 1 << 14
COPIED_BYTES = 1 << 16
# items of these sizes are moved as integers
MOVED = {4: "i32", 8: "i64"}
# items of a single column that are read in one piece
READ_STRIP = 1 << 13
TABLE = ("rows", "count", "columns", "strips", "strip")


class Sizes(NamedTuple):
    """Batches of `rows` rows of `columns` items; `named` rows of them have an index.

    `each` says whether every item has its index; else a row has one, the same for all batches.
    """

    batch: int
    rows: int
    named: int
    columns: int
    each: bool


def _row(w: Writer, marks: str, at: str, rows: str, wrong: str) -> str:
    """The row that an index names; one that there is not is marked as wrong."""
    row = w.read(marks, at)
    inside = w.test("ult", row, rows)
    outside = w.e.assign(f"xor i1 {inside}, true")
    mark = Branch(w.e, outside)
    w.e.line(f"store i64 1, ptr {wrong}")
    mark.close()
    return w.choose(inside, row, 0)


def print_places(program: Gather | Scatter, line: bool, vector_bytes: int) -> str:
    """The kernel of a program: context table, whole, part, index, wrong.

    whole: (batch, rows, columns); part: (batch, count, columns), which a count does not read. Where
    a row has one index it is the same for all batches. `line` says that there is one column: strips
    then part the items that are named.
    """
    kind, each_item = program.kind, program.each
    how = "get" if isinstance(program, Gather) else program.how
    w = Writer(vector_bytes // ITEM_BYTES[kind] if not (line or each_item) else 1)
    e = w.e
    table, whole, part, index, wrong = load_pointers(e, 5)
    t = w.named(table, TABLE)
    units = Loop(e, "%begin", "%end")
    batch = w.op("udiv", units.index, t["strips"])
    first = w.mul(w.op("urem", units.index, t["strips"]), t["strip"])
    last = ln.least(e, w.add(first, t["strip"]), t["count" if line else "columns"])
    plane = w.place(kind, whole, w.mul(w.mul(batch, t["rows"]), t["columns"]))
    lines = w.mul(w.mul(batch, t["count"]), t["columns"])
    lead = w.place(kind, part, lines)
    marks = w.place("i64", index, lines) if each_item else index
    each = Loop(e, first, last) if line else Loop(e, 0, t["count"])
    if line:
        row = _row(w, marks, each.index, t["rows"], wrong)
        _move(w, kind, how, (plane, row), (lead, each.index), None)
    elif each_item:
        start = w.mul(each.index, t["columns"])
        columns = Loop(e, first, last)
        at = w.add(start, columns.index)
        row = w.mul(_row(w, marks, at, t["rows"], wrong), t["columns"])
        _move(w, kind, how, (plane, w.add(row, columns.index)), (lead, at), None)
        columns.close()
    else:
        row = w.mul(_row(w, marks, each.index, t["rows"], wrong), t["columns"])
        row = w.place(kind, plane, row)
        written = w.place(kind, lead, w.mul(each.index, t["columns"]))
        span = Span(e, "columns", e.block, first, last)
        span.enter_body()
        _move(w, kind, how, (row, span.index), (written, span.index), None)
        mask = span.enter_tail()
        _move(w, kind, how, (row, span.stop), (written, span.stop), mask)
        span.leave()
    each.close()
    units.close()
    return _module(w)


def _move(w: Writer, kind: str, how: str, inside: tuple[str, str], outside: tuple[str, str],
          mask: str | None) -> None:
    """One vector from or to its place inside the whole, or added there; or 1 added."""
    source, target = (inside, outside) if how == "get" else (outside, inside)
    item = w.e.const(kind, 1) if how == "count" else load_vector(w.e, kind, *source, mask)
    if how in ("add", "count"):
        item = w.e.add(load_vector(w.e, kind, *target, mask), item)
    store_vector(w.e, item, *target, mask)


def print_rows() -> str:
    """The kernel that copies rows: context out, source, index, wrong, table of rows, count, bytes.
    """
    w = Writer(1)
    e = w.e
    e.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    out, source, index, wrong, table = load_pointers(e, 5)
    t = w.named(table, ("rows", "count", "bytes"))
    units = Loop(e, "%begin", "%end")
    batch = w.op("udiv", units.index, t["count"])
    row = _row(w, index, w.op("urem", units.index, t["count"]), t["rows"], wrong)
    start = w.mul(w.add(w.mul(batch, t["rows"]), row), t["bytes"])
    places = [e.assign(f"getelementptr i8, ptr {base}, i64 {at}")
              for base, at in ((out, w.mul(units.index, t["bytes"])), (source, start))]
    e.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {places[0]}, ptr {places[1]}, "
           f"i64 {t['bytes']}, i1 false)")
    units.close()
    return _module(w)


def _module(w: Writer) -> str:
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, w.e.declarations)], 16)


@functools.cache
def _address(program: Gather | Scatter, line: bool) -> int:
    text = print_places(program, line, jit.host().vector_bytes)
    return jit.load(text, ("kernel",)).address("kernel")


@functools.cache
def _copying() -> int:
    return jit.load(print_rows(), ("kernel",)).address("kernel")


def run(how: str, whole: np.ndarray, part: np.ndarray, index: np.ndarray, sizes: Sizes) -> None:
    """Move between `whole` and `part`, C-contiguous, at int64 places inside `whole`.

    how: "get", or what a `Scatter` does.
    """
    kind = MOVED[whole.itemsize] if how in ("get", "put") else calls.KINDS[whole.dtype]
    program = Gather(kind, sizes.each) if how == "get" else Scatter(kind, how, sizes.each)
    line = sizes.columns == 1
    if line:
        wide = sizes.named
        strip = min(wide, READ_STRIP) if how == "get" else wide
        work = strip
    else:
        wide = sizes.columns
        strip = STRIP if sizes.each else WIDE_STRIP
        work = sizes.named * min(wide, strip)
    strips = -(-wide // strip)
    table = np.array([sizes.rows, sizes.named, sizes.columns, strips, strip], np.int64)
    chunk = max(1, PIECE // max(work, 1))
    kernel = _address(program, line)
    wrong = np.zeros(1, np.int64)
    calls.launch(kernel, sizes.batch * strips, chunk, table, whole, part, index, wrong)
    _check(wrong)


def _check(wrong: np.ndarray) -> None:
    if wrong[0]:
        raise IndexError("index out of range")


def take_rows(
    out: np.ndarray, source: np.ndarray, index: np.ndarray, batch: int, rows: int, row_bytes: int
) -> None:
    """Copy rows of every batch to `out`: those that `index`, the same for all batches, names."""
    table = np.array([rows, index.size, row_bytes], np.int64)
    chunk = max(1, COPIED_BYTES // max(row_bytes, 1))
    wrong = np.zeros(1, np.int64)
    calls.launch(_copying(), batch * index.size, chunk, out, source, index, wrong, table)
    _check(wrong)
