"""LLVM text that turns planes over: channels innermost, with zeros around, and back.

Parameters are i64 tables, whose entries the tuple of names below numbers.
"""

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import LLVM_TYPE, Emitter, Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import both, negated, turn
from flambeau.backends.llvm.printer import load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES
from flambeau.backends.llvm.tiles import Tile

# squares of vectors that are turned over are no larger
TURNED = 8
# a source: its channels, and those that are kept (whole vectors), its sizes, what is before it,
# and columns of the turned plane
PLANE = ("channels", "kept", "height", "width", "before_height", "before_width", "columns")


def turned_lanes(tile: Tile) -> int:
    """The side of the squares that are turned over."""
    return min(TURNED, tile.lanes)


def _seen(e: Emitter, before: list[Value], values: list[Value]) -> list[Value]:
    """The largest magnitude seen and the sum of all, lane by lane, with some more vectors."""
    largest, total = before
    for value in values:
        size = e.unary("fabs", value)
        largest = e.select(e.compare("ogt", size, largest), size, largest)
        total = e.add(total, size)
    return [largest, total]


def spread_text(tile: Tile) -> tuple[str, set[str]]:
    """``spread(source, planes, first, rows, table, seen)``: rows of a source, channels innermost.

    planes[row][column][channel], with zeros around the source; row 0 is the source's row `first`.
    The largest magnitude is written to `seen`, and the sum of the others, but for a few large ones.
    """
    w = Writer(turned_lanes(tile))
    e, kind = w.e, tile.kind
    t = w.named("%table", PLANE)
    line = w.mul(t["columns"], t["kept"])
    _clear_around(w, kind, t, line)
    low = w.op("sub", 0, "%first")
    low = w.choose(w.test("sgt", low, 0), low, 0)
    high = ln.least(e, "%rows", w.op("sub", t["height"], "%first"))
    plane = w.mul(t["height"], t["width"])
    blocks = Loop(e, 0, t["kept"], e.lanes, [e.const(kind, 0.0)] * 2)
    here = w.place(kind, "%source", w.mul(blocks.index, plane))
    there = w.add(blocks.index, w.mul(t["before_width"], t["kept"]))
    left = w.op("sub", t["channels"], blocks.index)
    whole = both(w, w.test("sge", left, e.lanes), w.test("sge", t["width"], e.lanes))
    rows = Loop(e, low, high, 1, blocks.values)
    source = w.place(kind, here, w.mul(w.add("%first", rows.index), t["width"]))
    target = w.place(kind, "%planes", w.add(w.mul(rows.index, line), there))
    full = Branch(e, whole)
    columns = Loop(e, 0, t["width"], e.lanes, rows.values)
    at = ln.least(e, columns.index, w.op("sub", t["width"], e.lanes))
    square = [load_vector(e, kind, source, w.add(w.mul(plane, lane), at), None)
              for lane in range(e.lanes)]
    after = _seen(e, columns.values, square)
    for lane, value in enumerate(turn(w, square)):
        store_vector(e, value, target, w.mul(w.add(at, lane), t["kept"]), None)
    inside = columns.close(after)
    found = full.close(inside, rows.values)
    part = Branch(e, negated(w, whole))
    _spread_items(w, kind, t, (source, plane, left), target)
    columns = Loop(e, 0, t["width"], 1, found)
    value = load_vector(e, kind, target, w.mul(columns.index, t["kept"]), None)
    inside = columns.close(_seen(e, columns.values, [value]))
    found = blocks.close(rows.close(part.close(inside, found)))
    largest, total = found
    ln.store_item(e, ln.fold_lanes(e, "peak", largest), "%seen", "0")
    ln.store_item(e, ln.fold_lanes(e, "sum", e.sub(total, largest)), "%seen", "1")
    head = ("internal void @spread(ptr %source, ptr %planes, i64 %first, i64 %rows, ptr %table, "
            "ptr %seen)")
    return w.function(head), e.declarations


def _clear_around(w: Writer, kind: str, t: dict[str, str], line: str) -> None:
    """Zeros where there is no source."""
    e = w.e
    rows = Loop(e, 0, "%rows")
    inside = w.test("ult", w.add("%first", rows.index), t["height"])
    target = w.place(kind, "%planes", w.mul(rows.index, line))
    begin = w.mul(t["before_width"], t["kept"])
    end = w.add(begin, w.mul(t["width"], t["kept"]))
    for first, last in ((0, w.choose(inside, begin, line)), (w.choose(inside, end, line), line)):
        items = Loop(e, first, last, e.lanes)
        store_vector(e, e.const(kind, 0.0), target, items.index, None)
        items.close()
    rows.close()


def _spread_items(w: Writer, kind: str, t: dict[str, str], at: tuple[str, str, str],
                  target: str) -> None:
    """A row of a few channels, item by item; zeros for channels that are not there."""
    e, (source, plane, left) = w.e, at
    lanes = Loop(e, 0, e.lanes)
    channel = w.place(kind, source, w.mul(lanes.index, plane))
    there = w.choose(w.test("slt", lanes.index, left), t["width"], 0)
    for first, last in ((0, there), (there, t["width"])):
        items = Loop(e, first, last)
        item = _item(w, kind, channel, items.index) if last == there else Value(
            "0.0", kind)
        ln.store_item(e, item, target, w.add(w.mul(items.index, t["kept"]), lanes.index))
        items.close()
    lanes.close()


def _item(w: Writer, kind: str, base: str, at: str) -> Value:
    place = w.place(kind, base, at)
    return Value(w.e.assign(f"load {LLVM_TYPE[kind]}, ptr {place}, align {ITEM_BYTES[kind]}"), kind)


def gather_text(tile: Tile) -> tuple[str, set[str]]:
    """``gather(strip, across, result, channels, lines, height, width)``: rows of a result.

    The strip has rows of `across` positions, with a tile's columns of channels each; the result
    planes of height x width.
    """
    w = Writer(turned_lanes(tile))
    e, kind = w.e, tile.kind
    plane = w.mul("%height", "%width")
    blocks = Loop(e, 0, "%channels", e.lanes)
    there = w.place(kind, "%result", w.mul(blocks.index, plane))
    left = w.op("sub", "%channels", blocks.index)
    whole = both(w, w.test("sge", left, e.lanes), w.test("sge", "%width", e.lanes))
    rows = Loop(e, 0, "%lines")
    source = w.add(w.mul(w.mul(rows.index, "%across"), tile.columns), blocks.index)
    source = w.place(kind, "%strip", source)
    target = w.place(kind, there, w.mul(rows.index, "%width"))
    full = Branch(e, whole)
    columns = Loop(e, 0, "%width", e.lanes)
    at = ln.least(e, columns.index, w.op("sub", "%width", e.lanes))
    square = [load_vector(e, kind, source, w.mul(w.add(at, lane), tile.columns), None)
              for lane in range(e.lanes)]
    for lane, value in enumerate(turn(w, square)):
        store_vector(e, value, target, w.add(w.mul(plane, lane), at), None)
    columns.close()
    full.close()
    part = Branch(e, negated(w, whole))
    lanes = Loop(e, 0, ln.least(e, left, str(e.lanes)))
    items = Loop(e, 0, "%width")
    item = _item(w, kind, source, w.add(w.mul(items.index, tile.columns), lanes.index))
    ln.store_item(e, item, target, w.add(w.mul(plane, lanes.index), items.index))
    items.close()
    lanes.close()
    part.close()
    rows.close()
    blocks.close()
    head = ("internal void @gather(ptr %strip, i64 %across, ptr %result, i64 %channels, "
            "i64 %lines, i64 %height, i64 %width)")
    return w.function(head), e.declarations
