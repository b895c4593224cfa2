"""LLVM text of chores along an axis of small arrays: sums in NumPy's order, extremes with places.

Each is a kernel, `void (ptr context, i64 begin, i64 end)`; its context is listed with it. Arrays
are taken as (batch, rows, columns), of any strides, in items; what is reduced are the rows. Begin
and end number the batches.
"""

from collections.abc import Callable

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import FLOATS, Emitter, Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import load_vector, store_vector

__all__ = ["NAMES", "function_of"]

# Columns, or rows of one column, that are walked together.
TOGETHER = 8
KINDS = ("f32", "f64", "i32", "i64")
SUMS = tuple([f"sum_rows_{kind}" for kind in FLOATS])
NAMES = (*SUMS, *[f"{which}_{kind}" for which in ("largest", "smallest") for kind in KINDS])


def function_of(name: str) -> tuple[str, set[str]]:
    """The function of one of `NAMES`, and what it declares."""
    which, _, kind = name.rpartition("_")
    return _sum_rows(kind) if name in SUMS else _extremes(kind, which == "largest")


def _words(w: Writer, pointers: tuple[str, ...], more: tuple[str, ...] = ()) -> dict[str, str]:
    """What a context has: pointers, then the sizes and the strides of the source, then ``more``."""
    found = {}
    for at, name in enumerate((*pointers, "rows", "columns", "batch", "row", "column", *more)):
        place = w.e.assign(f"getelementptr i64, ptr %context, i64 {at}")
        kind = "ptr" if name in pointers else "i64"
        found[name] = w.e.assign(f"load {kind}, ptr {place}")
    return found


def _columns(w: Writer, t: dict[str, str], body: Callable[[str], None]) -> None:
    """Run `body(first column)` over columns, several together where they lie side by side."""
    columns = t["columns"]
    side_by_side = w.test("eq", t["column"], 1)
    many = w.op("sub", columns, w.op("urem", columns, TOGETHER))
    many = w.choose(side_by_side, many, 0)
    with w.e.width(TOGETHER):
        some = Loop(w.e, 0, many, TOGETHER)
        body(some.index)
        some.close()
    one = Loop(w.e, many, columns)
    body(one.index)
    one.close()


def _item(w: Writer, kind: str, line: str, t: dict[str, str], row: str | int,
          column: str) -> Value:
    """The vector of a row that begins at a column."""
    at = w.add(w.mul(row, t["row"]), w.mul(column, t["column"]))
    return load_vector(w.e, kind, line, at, None)


def _sum_rows(kind: str) -> tuple[str, set[str]]:
    """sum_rows_KIND: to, source, at a pointer what the sums are divided by; sizes and strides; how
    many blocks of rows there are, and the stride between them. Rows are added one after another."""
    w = Writer(1)
    e = w.e
    t = _words(w, ("to", "source", "count"), ("blocks", "block"))
    divisor = load_vector(e, kind, t["count"], "0", None)
    batches = Loop(e, "%begin", "%end")
    line = w.place(kind, t["source"], w.mul(batches.index, t["batch"]))
    to = w.place(kind, t["to"], w.mul(batches.index, t["columns"]))

    def body(column: str) -> None:
        blocks = Loop(e, 0, t["blocks"], 1, [e.const(kind, 0.0)])
        block = w.place(kind, line, w.mul(blocks.index, t["block"]))
        rows = Loop(e, 0, t["rows"], 1, blocks.values)
        item = _item(w, kind, block, t, rows.index, column)
        (total,) = blocks.close(rows.close([e.add(rows.values[0], item)]))
        store_vector(e, e.div(total, ln.spread_first(e, divisor, 1)), to, column, None)

    _columns(w, t, body)
    batches.close()
    return w.function(f"void @sum_rows_{kind}(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _beats(e: Emitter, item: Value, found: Value, larger: bool) -> Value:
    """Whether an item is further out than what was found, or the first NaN."""
    order = "gt" if larger else "lt"
    if item.kind not in FLOATS:
        return e.compare("s" + order, item, found)
    return e.bit_and(e.compare("u" + order, item, found), e.compare("ord", found, found))


def _extremes(kind: str, larger: bool) -> tuple[str, set[str]]:
    """largest_KIND, smallest_KIND: values, the first row of each, source; sizes and strides.

    NaN is before all. Values are left out where their pointer is null.
    """
    w = Writer(1)
    e = w.e
    t = _words(w, ("values", "places", "source"))
    keeps = e.assign(f"icmp ne ptr {t['values']}, null")
    batches = Loop(e, "%begin", "%end")
    line = w.place(kind, t["source"], w.mul(batches.index, t["batch"]))
    start = w.mul(batches.index, t["columns"])

    def put(best: Value, place: Value, column: str) -> None:
        at = w.add(start, column)
        kept = Branch(e, keeps)
        store_vector(e, best, t["values"], at, None)
        kept.close()
        store_vector(e, place, t["places"], at, None)

    def over_rows(first: str | int, column: str, best: Value, place: Value) -> None:
        rows = Loop(e, first, t["rows"], 1, [best, place])
        item = _item(w, kind, line, t, rows.index, column)
        better = _beats(e, item, rows.values[0], larger)
        number = ln.spread_item(e, Value(rows.index, "i64"))
        found = rows.close([e.select(better, item, rows.values[0]),
                            e.select(better, number, rows.values[1])])
        put(found[0], found[1], column)

    def body(column: str) -> None:
        over_rows(1, column, _item(w, kind, line, t, 0, column), e.const("i64", 0))

    dense = w.test("eq", w.op("or", w.op("sub", t["row"], 1), w.op("sub", t["columns"], 1)), 0)
    together = e.assign(f"and i1 {dense}, {w.test('sge', t['rows'], 2 * TOGETHER)}")
    long = Branch(e, together)
    best, place, stop = _along(w, kind, line, t["rows"], larger)
    over_rows(stop, "0", best, place)
    long.close()
    short = Branch(e, e.assign(f"xor i1 {together}, true"))
    _columns(w, t, body)
    short.close()
    batches.close()
    name = f"{'largest' if larger else 'smallest'}_{kind}"
    return w.function(f"void @{name}(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _along(w: Writer, kind: str, line: str, rows: str, larger: bool) -> tuple[Value, Value, str]:
    """The extreme and its place of whole vectors of a long row, and where what is left begins."""
    e = w.e
    stop = w.op("sub", rows, w.op("urem", rows, TOGETHER))
    with e.width(TOGETHER):
        steps = Value("<" + ", ".join([f"i64 {i}" for i in range(TOGETHER)]) + ">", "i64")
        some = Loop(e, TOGETHER, stop, TOGETHER, [
            load_vector(e, kind, line, "0", None), e.add(steps, 0)])
        item = load_vector(e, kind, line, some.index, None)
        better = _beats(e, item, some.values[0], larger)
        numbers = e.add(ln.spread_item(e, Value(some.index, "i64")), steps)
        best, place = some.close([e.select(better, item, some.values[0]),
                                  e.select(better, numbers, some.values[1])])
    found = [_lane(e, best, 0), _lane(e, place, 0)]
    for lane in range(1, TOGETHER):
        item, number = _lane(e, best, lane), _lane(e, place, lane)
        ties = e.bit_or(_beats(e, item, found[0], larger), _beats(e, found[0], item, larger))
        earlier = e.bit_and(e.bit_xor(ties, e.const("bool", True)),
                            e.compare("slt", number, found[1]))
        better = e.bit_or(_beats(e, item, found[0], larger), earlier)
        found = [e.select(better, item, found[0]), e.select(better, number, found[1])]
    return found[0], found[1], stop


def _lane(e: Emitter, value: Value, lane: int) -> Value:
    """One lane of a wide vector, as a vector of one."""
    wide = f"<{TOGETHER} x {e.type(value.kind).split(' x ')[1]}"
    return e.value(value.kind, f"shufflevector {wide} {value.text}, {wide} poison, "
                               f"<1 x i32> <i32 {lane}>")
