"""Running sums and products, and extremes with their places, along an axis, on the pool.

Arrays are taken as (batch, rows, columns), and walked along the rows. Where columns lie side by
side a unit of work is a strip of them, whose running values are kept in memory; else a few rows
that each lie in one piece, walked together.
"""

import functools
from collections.abc import Callable

import numpy as np

from flambeau.backends.llvm import calls, conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.array_program import Scan
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import FLOATS, LLVM_TYPE, Emitter, Value
from flambeau.backends.llvm.lanes import COMBINE
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import Span, load_pointers, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES, identity

# columns in a strip, rows walked together, items in a piece of work
MOST_COLUMNS = 1024
LEAST_COLUMNS = 64
TOGETHER = 4
PIECE = 1 << 15
# units of work that threads are to share
SHARES = 4
WIDE = {"f32": "f64"}


class _Strips:
    """A kernel over strips of columns, which its loops walk one vector after the other."""

    def __init__(self, kind: str, vector_bytes: int, pointers: int, numbers: tuple[str, ...]):
        self.kind = kind
        self.w = Writer(2 * vector_bytes // max(ITEM_BYTES[kind], 4))
        self.e = self.w.e
        *self.pointers, table = load_pointers(self.e, pointers + 1)
        self.table = self.w.named(table, ("rows", "columns", "strips", "strip", *numbers))

    def scratch(self, kind: str) -> str:
        """Memory for one item of every column of a strip."""
        return self.e.assign(f"alloca [{MOST_COLUMNS} x {LLVM_TYPE[kind]}], align 64")

    def open(self) -> Loop:
        """Begin with a unit."""
        w, t = self.w, self.table
        units = Loop(self.e, "%begin", "%end")
        batch = w.op("udiv", units.index, t["strips"])
        self.first = w.mul(w.op("urem", units.index, t["strips"]), t["strip"])
        self.width = ln.least(self.e, w.op("sub", t["columns"], self.first), t["strip"])
        self.lines = w.mul(batch, t["rows"])
        return units

    def at(self, number: str) -> str:
        """How many items lie before the strip's columns of a row."""
        start = self.w.mul(self.w.add(self.lines, number), self.table["columns"])
        return self.w.add(start, self.first)

    def row(self, base: str, number: str) -> str:
        """Where the strip's columns of a row lie."""
        return self.w.place(self.kind, base, self.at(number))

    def each_vector(self, body: Callable[[str, str | None], None]) -> None:
        """Run `body(index, mask)` over the columns of the strip."""
        e = self.e
        span = Span(e, e.fresh("span"), e.block, "0", self.width)
        span.enter_body()
        body(span.index, None)
        mask = span.enter_tail()
        body(span.stop, mask)
        span.leave()

    def text(self, vector_bytes: int) -> str:
        function = self.w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
        return conv_text.module([(function, self.e.declarations)], vector_bytes)


def print_running(scan: Scan, vector_bytes: int) -> str:
    """The kernel of running values over strips: context out, source, table.

    The table goes on with the first row and the step between rows, 1 or -1.
    """
    kind, combine, wide = scan.kind, scan.combine, scan.accumulate
    s = _Strips(kind, vector_bytes, 2, ("start", "step"))
    w, e = s.w, s.e
    out, source = s.pointers
    totals = s.scratch(wide)
    units = s.open()
    start = e.const(wide, identity(combine, wide))
    s.each_vector(lambda at, mask: store_vector(e, start, totals, at, mask))
    rows = Loop(e, 0, s.table["rows"])
    number = w.add(s.table["start"], w.mul(rows.index, s.table["step"]))
    read, written = s.row(source, number), s.row(out, number)

    def step(at: str, mask: str | None) -> None:
        item = e.convert(load_vector(e, kind, read, at, mask), wide)
        total = COMBINE[combine](e, load_vector(e, wide, totals, at, mask), item)
        store_vector(e, total, totals, at, mask)
        store_vector(e, e.convert(total, kind), written, at, mask)

    s.each_vector(step)
    rows.close()
    units.close()
    return s.text(vector_bytes)


def print_running_rows(scan: Scan) -> str:
    """The kernel of running values along rows that lie in one piece; a unit is a row.

    Context: out, source, table of the length, where a row starts, and the step.
    """
    w = Writer(1)
    e = w.e
    out, source, table = load_pointers(e, 3)
    t = w.named(table, ("length", "start", "step"))
    over = w.op("urem", w.op("sub", "%end", "%begin"), TOGETHER)
    middle = w.op("sub", "%end", over)
    for begin, end, count in (("%begin", middle, TOGETHER), (middle, "%end", 1)):
        rows = Loop(e, begin, end, count)
        _print_rows_together(w, scan, (out, source), t, rows.index, count)
        rows.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], 16)


def _print_rows_together(
    w: Writer,
    scan: Scan,
    bases: tuple[str, str],
    t: dict[str, str],
    first: str,
    count: int,
) -> None:
    e, kind, combine, wide = w.e, scan.kind, scan.combine, scan.accumulate
    (out, source), length = bases, t["length"]
    starts = [w.add(w.mul(w.add(first, n), length), t["start"]) for n in range(count)]
    start = e.const(wide, identity(combine, wide))
    items = Loop(e, 0, t["length"], 1, [start] * count)
    at = w.mul(items.index, t["step"])
    totals = []
    for begin, total in zip(starts, items.values, strict=True):
        place = w.add(begin, at)
        item = e.convert(load_vector(e, kind, source, place, None), wide)
        totals.append(COMBINE[combine](e, total, item))
        store_vector(e, e.convert(totals[-1], kind), out, place, None)
    items.close(totals)


def print_extremes(kind: str, larger: bool, vector_bytes: int) -> str:
    """The kernel of extremes and the first row of each: context values, indices, source, table."""
    s = _Strips(kind, vector_bytes, 3, ())
    e = s.e
    values, indices, source = s.pointers
    places = s.scratch("i32")
    units = s.open()
    at_unit = s.w.add(s.w.mul(s.w.op("udiv", units.index, s.table["strips"]), s.table["columns"]),
                      s.first)
    best = s.w.place(kind, values, at_unit)
    top = s.row(source, "0")

    def begin(at: str, mask: str | None) -> None:
        store_vector(e, load_vector(e, kind, top, at, mask), best, at, mask)
        store_vector(e, e.const("i32", 0), places, at, mask)

    s.each_vector(begin)
    rows = Loop(e, 1, s.table["rows"])
    line = s.row(source, rows.index)
    item_number = Value(e.assign(f"trunc i64 {rows.index} to i32"), "i32")
    number = ln.spread_item(e, item_number)

    def step(at: str, mask: str | None) -> None:
        item, found = load_vector(e, kind, line, at, mask), load_vector(e, kind, best, at, mask)
        better = _beats(s, item, found, larger)
        place = load_vector(e, "i32", places, at, mask)
        store_vector(e, e.select(better, item, found), best, at, mask)
        store_vector(e, e.select(better, number, place), places, at, mask)

    s.each_vector(step)
    rows.close()
    target = s.w.place("i64", indices, at_unit)
    s.each_vector(lambda at, mask: store_vector(
        e, e.convert(load_vector(e, "i32", places, at, mask), "i64"), target, at, mask))
    units.close()
    return s.text(vector_bytes)


def print_running_extremes(scan: Scan, vector_bytes: int) -> str:
    """The kernel of running extremes over strips, and the row each is in, the last of equal ones.

    Context: values, indices, source, table.
    """
    kind, larger = scan.kind, scan.combine == "max"
    s = _Strips(kind, vector_bytes, 3, ())
    e = s.e
    values, indices, source = s.pointers
    best, places = s.scratch(kind), s.scratch("i32")
    units = s.open()
    # the first row beats this, which is no number's equal
    start = e.const(kind, identity(scan.combine, kind))
    s.each_vector(lambda at, mask: store_vector(e, start, best, at, mask))
    rows = Loop(e, 0, s.table["rows"])
    line, written = s.row(source, rows.index), s.row(values, rows.index)
    marked = s.w.place("i64", indices, s.at(rows.index))
    number = ln.spread_item(e, Value(e.assign(f"trunc i64 {rows.index} to i32"), "i32"))

    def step(at: str, mask: str | None) -> None:
        item, found = load_vector(e, kind, line, at, mask), load_vector(e, kind, best, at, mask)
        better = _reaches(e, item, found, larger)
        place = e.select(better, number, load_vector(e, "i32", places, at, mask))
        top = e.select(better, item, found)
        store_vector(e, top, best, at, mask)
        store_vector(e, place, places, at, mask)
        store_vector(e, top, written, at, mask)
        store_vector(e, e.convert(place, "i64"), marked, at, mask)

    s.each_vector(step)
    rows.close()
    units.close()
    return s.text(vector_bytes)


def print_running_extremes_rows(scan: Scan) -> str:
    """The kernel of running extremes along rows that lie in one piece; a unit is a row.

    Context: values, indices, source, table of the length.
    """
    kind, larger = scan.kind, scan.combine == "max"
    w = Writer(1)
    e = w.e
    values, indices, source, table = load_pointers(e, 4)
    length = w.named(table, ("length",))["length"]
    over = w.op("urem", w.op("sub", "%end", "%begin"), TOGETHER)
    middle = w.op("sub", "%end", over)
    start = [e.const(kind, identity(scan.combine, kind)), e.const("i64", 0)]
    for begin, end, count in (("%begin", middle, TOGETHER), (middle, "%end", 1)):
        rows = Loop(e, begin, end, count)
        lines = [w.mul(w.add(rows.index, n), length) for n in range(count)]
        items = Loop(e, 0, length, 1, start * count)
        number = ln.in_first_lane(e, Value(items.index, "i64"))
        after = []
        for n, line in enumerate(lines):
            place = w.add(line, items.index)
            item = load_vector(e, kind, source, place, None)
            found, at = items.values[2 * n : 2 * n + 2]
            better = _reaches(e, item, found, larger)
            after += [e.select(better, item, found), e.select(better, number, at)]
            store_vector(e, after[-2], values, place, None)
            store_vector(e, after[-1], indices, place, None)
        items.close(after)
        rows.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], 16)


def _reaches(e: Emitter, item: Value, found: Value, larger: bool) -> Value:
    """Whether an item is as far out as what was found, or no number."""
    order = "ge" if larger else "le"
    if item.kind not in FLOATS:
        return e.compare("s" + order, item, found)
    return e.bit_or(e.compare("o" + order, item, found), e.compare("uno", item, item))


def _beats(s: _Strips, item: Value, found: Value, larger: bool) -> Value:
    """Whether an item is further out than what was found, or the first NaN."""
    e, order = s.e, "gt" if larger else "lt"
    if s.kind not in FLOATS:
        return e.compare("s" + order, item, found)
    return e.bit_and(e.compare("u" + order, item, found), e.compare("ord", found, found))


@functools.cache
def _running_address(scan: Scan, along_rows: bool) -> int:
    vector_bytes = jit.host().vector_bytes
    if scan.has_places:
        text = (print_running_extremes_rows(scan) if along_rows
                else print_running_extremes(scan, vector_bytes))
    else:
        text = print_running_rows(scan) if along_rows else print_running(scan, vector_bytes)
    return _load(text)


@functools.cache
def _extremes_address(kind: str, larger: bool) -> int:
    return _load(print_extremes(kind, larger, jit.host().vector_bytes))


def _load(text: str) -> int:
    return jit.load(text, ("kernel",)).address("kernel")


def _strips(batch: int, columns: int) -> tuple[int, int]:
    """How many strips of how many columns: wide ones, but enough for threads to share."""
    share = -(-columns * min(batch, SHARES) // SHARES)
    strip = min(max(LEAST_COLUMNS, -(-share // LEAST_COLUMNS) * LEAST_COLUMNS), MOST_COLUMNS)
    return -(-columns // strip), strip


def route(kind: str, combine: str | bool, sizes: tuple[int, int, int]
          ) -> tuple[int, int, int, list[int]]:
    """A kernel of dense arrays, its units, how many at once, and what its table begins with.

    combine: "sum", "prod" or "logsum", or whether extremes are the largest ones.
    """
    batch, rows, columns = sizes
    if isinstance(combine, bool):
        scan = Scan(kind, "max" if combine else "min", kind)
    else:
        scan = Scan(kind, combine, WIDE.get(kind, kind))
    kernel = _running_address(scan, columns == 1)
    if columns == 1:
        chunk = max(TOGETHER, PIECE // rows // TOGETHER * TOGETHER)
        return kernel, batch, chunk, [rows]
    strips, strip = _strips(batch, columns)
    chunk = max(1, PIECE // (rows * min(columns, strip)))
    return kernel, batch * strips, chunk, [rows, columns, strips, strip]


def running(out: np.ndarray, source: np.ndarray, combine: str, sizes: tuple[int, int, int],
            backward: bool) -> None:
    """Running sums ("sum"), products ("prod") or "logsum"s of dense arrays, float32 in float64.

    sizes: batch, rows, columns. `backward` starts from the last row.
    """
    rows = sizes[1]
    walk = [rows - 1 if backward else 0, -1 if backward else 1]
    kernel, units, chunk, numbers = route(calls.KINDS[source.dtype], combine, sizes)
    calls.launch(kernel, units, chunk, out, source, np.array([*numbers, *walk], np.int64))


def extremes(values: np.ndarray, indices: np.ndarray, source: np.ndarray, larger: bool,
             sizes: tuple[int, int, int]) -> None:
    """The largest or smallest item over the rows, NaN before all, and the first row it is in."""
    batch, rows, columns = sizes
    strips, strip = _strips(batch, columns)
    table = np.array([rows, columns, strips, strip], np.int64)
    chunk = max(1, PIECE // (rows * min(columns, strip)))
    kernel = _extremes_address(calls.KINDS[source.dtype], larger)
    calls.launch(kernel, batch * strips, chunk, values, indices, source, table)


def running_extremes(values: np.ndarray, indices: np.ndarray, source: np.ndarray, larger: bool,
                     sizes: tuple[int, int, int]) -> None:
    """The largest or smallest item up to every row, and the last row that it is in; NaN stays."""
    kernel, units, chunk, numbers = route(calls.KINDS[source.dtype], larger, sizes)
    calls.launch(kernel, units, chunk, values, indices, source, np.array(numbers, np.int64))
