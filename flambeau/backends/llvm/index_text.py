"""LLVM text of chores on items at places that int64 indices name, and of copies of any strides.

Each is a kernel, `void (ptr context, i64 begin, i64 end)`; its context is listed with it. Items of
N bytes are moved as they are. Arrays are taken as (batch, rows, columns), each with three strides,
in items; an index names a step along the source, or the result, that has a stride of its own.
Indices below 0 count from the end; those that name nothing stand for 0, and are found elsewhere.
"""

from collections.abc import Callable

from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import LLVM_TYPE
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.program import ITEM_BYTES

__all__ = ["MOST_DIMS", "NAMES", "function_of"]

SIZES = (1, 2, 4, 8)
KINDS = ("f32", "f64", "i32", "i64")
# Dimensions that `move` and `places` walk.
MOST_DIMS = 6
# Bytes from which what lies side by side is copied as one.
TOGETHER = 32
NAMES = ("places", "in_range", *[f"{how}_{size}" for how in ("get", "put", "move")
                                 for size in SIZES], *[f"add_{kind}" for kind in KINDS])


def function_of(name: str) -> tuple[str, set[str]]:
    """The function of one of `NAMES`, and what it declares."""
    how, _, of = name.partition("_")
    if how == "add":
        return _put(name, LLVM_TYPE[of], ITEM_BYTES[of], "fadd" if of.startswith("f") else "add")
    if how == "put":
        return _put(name, f"i{8 * int(of)}", int(of), "")
    if how in ("get", "move"):
        return (_get if how == "get" else _move)(int(of))
    return _places() if name == "places" else _in_range()


def _words(w: Writer, pointers: tuple[str, ...], numbers: tuple[str, ...]) -> dict[str, str]:
    """What a context has: pointers, then numbers."""
    found = {}
    for at, name in enumerate((*pointers, *numbers)):
        place = w.e.assign(f"getelementptr i64, ptr %context, i64 {at}")
        kind = "ptr" if name in pointers else "i64"
        found[name] = w.e.assign(f"load {kind}, ptr {place}")
    return found


def _head(name: str) -> str:
    return f"void @{name}(ptr %context, i64 %begin, i64 %end)"


def _at(w: Writer, kind: str, base: str, *terms: tuple[str, str]) -> str:
    """The place that lies products of numbers and strides behind another."""
    total = "0"
    for number, stride in terms:
        step = w.mul(number, stride)
        total = step if total == "0" else w.add(total, step)
    return w.e.assign(f"getelementptr {kind}, ptr {base}, i64 {total}")


def _load(w: Writer, kind: str, place: str, size: int) -> str:
    return w.e.assign(f"load {kind}, ptr {place}, align {size}")


def _named(w: Writer, place: str, limit: str) -> str:
    """The step that an index names, counted from the front."""
    index = _load(w, "i64", place, 8)
    index = w.choose(w.test("slt", index, 0), w.add(index, limit), index)
    return w.choose(w.test("ult", index, limit), index, 0)


STEPS = ("limit", "rows", "columns")
INDEX = ("step", "index_batch", "index_row", "index_column")


def _batches(w: Writer, t: dict[str, str]) -> tuple[Loop, Loop]:
    """Loops over the batches and rows that are number `begin` to `end` of all rows."""
    e, rows = w.e, t["rows"]
    last = w.op("sdiv", w.op("sub", w.add("%end", rows), 1), rows)
    batches = Loop(e, w.op("sdiv", "%begin", rows), last)
    start = w.mul(batches.index, rows)
    first, stop = w.op("sub", "%begin", start), w.op("sub", "%end", start)
    first = w.choose(w.test("sgt", first, 0), first, 0)
    stop = w.choose(w.test("slt", stop, rows), stop, rows)
    return batches, Loop(e, first, stop)


def _get(size: int) -> tuple[str, set[str]]:
    """get_N: to, from, index, limit, rows, columns; the stride of what is named and the three of
    the index; the three of the source. The result is dense; begin and end number its rows."""
    w, kind = Writer(1), f"i{8 * size}"
    t = _words(w, ("to", "source", "index"), (*STEPS, *INDEX, "batch", "row", "column"))
    batches, rows = _batches(w, t)
    number = w.add(w.mul(batches.index, t["rows"]), rows.index)
    to = _at(w, kind, t["to"], (number, t["columns"]))
    source = _at(w, kind, t["source"], (batches.index, t["batch"]), (rows.index, t["row"]))
    index = _at(w, "i64", t["index"], (batches.index, t["index_batch"]),
                (rows.index, t["index_row"]))
    _either(w, t, lambda: _get_row(w, kind, size, t, to, source, index),
            lambda at: _get_item(w, kind, size, t, to, source, index, at))
    rows.close()
    batches.close()
    return w.function(_head(f"get_{size}")), w.e.declarations


def _either(w: Writer, t: dict[str, str], row: Callable[[], None],
            item: Callable[[str], None]) -> None:
    """One index for a row, or one for each of its items."""
    one = w.test("eq", t["index_column"], 0)
    whole = Branch(w.e, one)
    row()
    whole.close()
    apart = Branch(w.e, w.e.assign(f"xor i1 {one}, true"))
    columns = Loop(w.e, 0, t["columns"])
    item(columns.index)
    columns.close()
    apart.close()


def _get_row(w: Writer, kind: str, size: int, t: dict[str, str], to: str, source: str,
             index: str) -> None:
    source = _at(w, kind, source, (_named(w, index, t["limit"]), t["step"]))
    _copy_row(w, kind, size, t["columns"], (to, "1"), (source, t["column"]))


def _get_item(w: Writer, kind: str, size: int, t: dict[str, str], to: str, source: str,
              index: str, at: str) -> None:
    named = _named(w, _at(w, "i64", index, (at, t["index_column"])), t["limit"])
    item = _load(w, kind, _at(w, kind, source, (named, t["step"]), (at, t["column"])), size)
    w.e.line(f"store {kind} {item}, ptr {_at(w, kind, to, (at, '1'))}, align {size}")


def _copy_row(w: Writer, kind: str, size: int, count: str, to: tuple[str, str],
              source: tuple[str, str]) -> None:
    """Items with a stride to where they have another; as bytes, where both are dense and long."""
    e = w.e
    e.declarations.add("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    dense = w.test("eq", w.op("or", w.op("sub", to[1], 1), w.op("sub", source[1], 1)), 0)
    size_bytes = w.mul(count, size)
    together = e.assign(f"and i1 {dense}, {w.test('sge', size_bytes, TOGETHER)}")
    whole = Branch(e, together)
    e.line(f"call void @llvm.memcpy.p0.p0.i64(ptr {to[0]}, ptr {source[0]}, i64 {size_bytes}, "
           "i1 false)")
    whole.close()
    columns = Loop(e, 0, w.choose(together, 0, count))
    item = _load(w, kind, _at(w, kind, source[0], (columns.index, source[1])), size)
    e.line(f"store {kind} {item}, ptr {_at(w, kind, to[0], (columns.index, to[1]))}, "
           f"align {size}")
    columns.close()


def _put(name: str, kind: str, size: int, add: str) -> tuple[str, set[str]]:
    """put_N, add_KIND: to, values, index, limit, rows, columns; the stride of what is named and the
    three of the index; the three of the result; those of the values. Later values are written, or
    added, after earlier ones; begin and end number the batches."""
    w = Writer(1)
    e = w.e
    t = _words(w, ("to", "values", "index"), (
        *STEPS, *INDEX, "batch", "row", "column", "value_batch", "value_row", "value_column"))
    batches = Loop(e, "%begin", "%end")
    rows = Loop(e, 0, t["rows"])
    to = _at(w, kind, t["to"], (batches.index, t["batch"]), (rows.index, t["row"]))
    values = _at(w, kind, t["values"], (batches.index, t["value_batch"]),
                 (rows.index, t["value_row"]))
    index = _at(w, "i64", t["index"], (batches.index, t["index_batch"]),
                (rows.index, t["index_row"]))

    def item(place: str, at: str) -> None:
        found = _load(w, kind, _at(w, kind, values, (at, t["value_column"])), size)
        if add:
            found = e.assign(f"{add} {kind} {_load(w, kind, place, size)}, {found}")
        e.line(f"store {kind} {found}, ptr {place}, align {size}")

    def row() -> None:
        line = _at(w, kind, to, (_named(w, index, t["limit"]), t["step"]))
        if not add:
            _copy_row(w, kind, size, t["columns"], (line, t["column"]),
                      (values, t["value_column"]))
            return
        columns = Loop(e, 0, t["columns"])
        item(_at(w, kind, line, (columns.index, t["column"])), columns.index)
        columns.close()

    def each(at: str) -> None:
        named = _named(w, _at(w, "i64", index, (at, t["index_column"])), t["limit"])
        item(_at(w, kind, to, (named, t["step"]), (at, t["column"])), at)

    _either(w, t, row, each)
    rows.close()
    batches.close()
    return w.function(_head(name)), e.declarations


def _walk(w: Writer, t: dict[str, str], strides: tuple[str, ...]) -> tuple[list[Loop], list[str]]:
    """Loops over all dimensions but the last, and how far into each operand they are."""
    loops, far = [], ["0"] * len(strides)
    for dim in range(MOST_DIMS - 1):
        bounds = ("%begin", "%end") if not dim else ("0", t[f"n{dim}"])
        loops.append(Loop(w.e, *bounds))
        far = [w.add(at, w.mul(loops[-1].index, t[f"{name}{dim}"]))
               for at, name in zip(far, strides)]
    return loops, far


def _numbered(*names: str) -> tuple[str, ...]:
    return tuple([f"{name}{dim}" for name in names for dim in range(MOST_DIMS)])


def _move(size: int) -> tuple[str, set[str]]:
    """move_N: to, from, sizes, strides of both; begin and end number the first dimension."""
    w, kind, last = Writer(1), f"i{8 * size}", MOST_DIMS - 1
    t = _words(w, ("to", "source"), _numbered("n", "t", "s"))
    loops, (to, source) = _walk(w, t, ("t", "s"))
    _copy_row(w, kind, size, t[f"n{last}"],
              (_at(w, kind, t["to"], (to, "1")), t[f"t{last}"]),
              (_at(w, kind, t["source"], (source, "1")), t[f"s{last}"]))
    for loop in reversed(loops):
        loop.close()
    return w.function(_head(f"move_{size}")), w.e.declarations


def _places() -> tuple[str, set[str]]:
    """places: to, index, limit, step, whether to add, sizes, strides of both: what indices name, in
    items; begin and end number the first dimension."""
    w, last = Writer(1), MOST_DIMS - 1
    t = _words(w, ("to", "index"), ("limit", "step", "adds", *_numbered("n", "t", "s")))
    loops, (to, index) = _walk(w, t, ("t", "s"))
    columns = Loop(w.e, 0, t[f"n{last}"])
    place = _at(w, "i64", t["to"], (to, "1"), (columns.index, t[f"t{last}"]))
    index = _at(w, "i64", t["index"], (index, "1"), (columns.index, t[f"s{last}"]))
    before = w.choose(w.test("ne", t["adds"], 0), _load(w, "i64", place, 8), 0)
    named = w.add(before, w.mul(_named(w, index, t["limit"]), t["step"]))
    w.e.line(f"store i64 {named}, ptr {place}, align 8")
    columns.close()
    for loop in reversed(loops):
        loop.close()
    return w.function(_head("places")), w.e.declarations


def _in_range() -> tuple[str, set[str]]:
    """in_range: flag, index, low, high, ignored, sizes, strides: as `range_i64`, of any strides."""
    w, last = Writer(1), MOST_DIMS - 1
    t = _words(w, ("flag", "index"), ("low", "high", "ignored", *_numbered("n", "s")))
    loops, (index,) = _walk(w, t, ("s",))
    columns = Loop(w.e, 0, t[f"n{last}"])
    place = _at(w, "i64", t["index"], (index, "1"), (columns.index, t[f"s{last}"]))
    x = _load(w, "i64", place, 8)
    above = w.op("sub", x, t["low"])
    outside = w.test("uge", above, w.op("sub", t["high"], t["low"]))
    wrong = Branch(w.e, w.e.assign(f"and i1 {outside}, {w.test('ne', x, t['ignored'])}"))
    w.e.line(f"store i64 1, ptr {t['flag']}")
    wrong.close()
    columns.close()
    for loop in reversed(loops):
        loop.close()
    return w.function(_head("in_range")), w.e.declarations
