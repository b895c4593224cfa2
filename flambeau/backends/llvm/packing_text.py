"""LLVM text that moves matrices between rows in memory and the strips that products read.

A strip is a tile's columns of every row, one row after another.
"""

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import lane_mask, load_vector, store_vector
from flambeau.backends.llvm.tiles import Tile


def turn(w: Writer, rows: list[Value]) -> list[Value]:
    """The transpose of a square of vectors, by swapping ever smaller blocks."""
    e, lanes = w.e, w.e.lanes
    half = lanes // 2
    while half:
        swapped = list(rows)
        for i in range(lanes):
            if i & half:
                continue
            pair = rows[i], rows[i + half]
            first = [lane if not lane & half else lanes + lane - half for lane in range(lanes)]
            second = [lane + half if not lane & half else lanes + lane for lane in range(lanes)]
            swapped[i], swapped[i + half] = (_mixed(w, *pair, picks) for picks in (first, second))
        rows = swapped
        half //= 2
    assert e.lanes == len(rows)
    return rows


def _mixed(w: Writer, a: Value, b: Value, picks: list[int]) -> Value:
    vector = w.e.type(a.kind)
    lanes = ", ".join(f"i32 {pick}" for pick in picks)
    text = f"shufflevector {vector} {a.text}, {vector} {b.text}, <{len(picks)} x i32> <{lanes}>"
    return w.e.value(a.kind, text)


def range_mask(w: Writer, first: str | int, end: str, condition: str) -> str:
    """The lanes that number what is below `end`; none where the condition does not hold."""
    name = f"@llvm.get.active.lane.mask.v{w.e.lanes}i1.i64"
    w.e.declarations.add(f"declare {w.e.type('bool')} {name}(i64, i64)")
    limit = w.choose(condition, end, 0)
    return w.e.assign(f"call {w.e.type('bool')} {name}(i64 {first}, i64 {limit})")


def negated(w: Writer, condition: str) -> str:
    return w.e.assign(f"xor i1 {condition}, true")


def both(w: Writer, a: str, b: str) -> str:
    return w.e.assign(f"and i1 {a}, {b}")


def strip_text(tile: Tile) -> tuple[str, set[str]]:
    """``strip(source, pitch, depth, width, target)``: columns of a matrix by rows, as a strip.

    Columns beyond the width are zeros.
    """
    w = Writer(tile.lanes)
    e = w.e
    full = w.test("sge", "%width", tile.columns)
    all_columns = Branch(e, full)
    _copy_rows(w, tile, None)
    all_columns.close()
    part = Branch(e, negated(w, full))
    masks = []
    for v in range(tile.vectors):
        left = w.op("sub", "%width", v * tile.lanes)
        masks.append(lane_mask(e, w.choose(w.test("sgt", left, 0), left, 0)))
    _copy_rows(w, tile, masks)
    part.close()
    head = "internal void @strip(ptr %source, i64 %pitch, i64 %depth, i64 %width, ptr %target)"
    return w.function(head), e.declarations


def _copy_rows(w: Writer, tile: Tile, masks: list[str] | None) -> None:
    e, kind = w.e, tile.kind
    steps = Loop(e, 0, "%depth")
    source, target = w.mul(steps.index, "%pitch"), w.mul(steps.index, tile.columns)
    for v in range(tile.vectors):
        mask = None if masks is None else masks[v]
        at = w.add(source, v * tile.lanes)
        value = load_vector(e, kind, "%source", at, mask)
        store_vector(e, value, "%target", w.add(target, v * tile.lanes), None)
    steps.close()


def panel_text(tile: Tile) -> tuple[str, set[str]]:
    """``panel(source, pitch, rows, width, target)``: rows of a matrix as the columns of a strip.

    target[column of the matrix][row]; columns beyond the rows are zeros.
    """
    w = Writer(tile.lanes)
    e = w.e
    vectors = Loop(e, 0, tile.columns, tile.lanes)
    columns = Loop(e, 0, "%width", tile.lanes)
    whole = _is_whole(w, vectors.index, columns.index)
    full = Branch(e, whole)
    _turn_square(w, tile, vectors.index, columns.index, False)
    full.close()
    part = Branch(e, negated(w, whole))
    _turn_square(w, tile, vectors.index, columns.index, True)
    part.close()
    columns.close()
    vectors.close()
    head = ("internal void @panel(ptr %source, i64 %pitch, i64 %rows, i64 %width, "
            "ptr %target)")
    return w.function(head), e.declarations


def _is_whole(w: Writer, row: str, column: str) -> str:
    """Whether the square that begins there is inside of the matrix."""
    return both(w, w.test("sle", w.add(row, w.e.lanes), "%rows"),
                w.test("sle", w.add(column, w.e.lanes), "%width"))


def _row_masks(w: Writer, first: str, column: str) -> list[str]:
    """Per row of a square the lanes of it that are inside of the matrix."""
    e = w.e
    inside, none = range_mask(w, column, "%width", "true"), "zeroinitializer"
    masks = []
    for lane in range(e.lanes):
        there = w.test("slt", w.add(first, lane), "%rows")
        kind = e.type("bool")
        masks.append(e.assign(f"select i1 {there}, {kind} {inside}, {kind} {none}"))
    return masks


def _turn_square(w: Writer, tile: Tile, first: str, column: str, masked: bool) -> None:
    e, kind = w.e, tile.kind
    masks = _row_masks(w, first, column) if masked else [None] * tile.lanes
    source = w.place(kind, "%source", w.add(w.mul("%pitch", first), column))
    rows = [load_vector(e, kind, source, w.mul("%pitch", lane), mask)
            for lane, mask in enumerate(masks)]
    target = w.place(kind, "%target", w.add(w.mul(column, tile.columns), first))
    for lane, value in enumerate(turn(w, rows)):
        there = Branch(e, w.test("slt", w.add(column, lane), "%width")) if masked else None
        store_vector(e, value, target, str(lane * tile.columns), None)
        if there is not None:
            there.close()


def unpanel_text(tile: Tile) -> tuple[str, set[str]]:
    """``unpanel(source, factors, rows, width, target, pitch)``: the reverse.

    Each row is taken times its factor. The strip has room behind.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    vectors = Loop(e, 0, tile.columns, tile.lanes)
    factor = load_vector(e, kind, "%factors", vectors.index, None)
    columns = Loop(e, 0, "%width", tile.lanes)
    source = w.place(kind, "%source", w.add(w.mul(columns.index, tile.columns), vectors.index))
    rows = [e.mul(load_vector(e, kind, source, str(lane * tile.columns), None), factor)
            for lane in range(tile.lanes)]
    whole = _is_whole(w, vectors.index, columns.index)
    turned = turn(w, rows)
    full = Branch(e, whole)
    _store_rows(w, tile, turned, vectors.index, columns.index, False)
    full.close()
    part = Branch(e, negated(w, whole))
    _store_rows(w, tile, turned, vectors.index, columns.index, True)
    part.close()
    columns.close()
    vectors.close()
    head = ("internal void @unpanel(ptr %source, ptr %factors, i64 %rows, i64 %width, "
            "ptr %target, i64 %pitch)")
    return w.function(head), e.declarations


def _store_rows(w: Writer, tile: Tile, values: list[Value], first: str, column: str,
                masked: bool) -> None:
    target = w.place(tile.kind, "%target", w.add(w.mul("%pitch", first), column))
    masks = _row_masks(w, first, column) if masked else [None] * tile.lanes
    for lane, (value, mask) in enumerate(zip(values, masks)):
        store_vector(w.e, value, target, w.mul("%pitch", lane), mask)


def rows_text(tile: Tile) -> tuple[str, set[str]]:
    """``rows(source, pitch, rows, width, target, target_pitch)``: copies a matrix."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    rest = w.op("urem", "%width", tile.lanes)
    done = w.op("sub", "%width", rest)
    mask, some = lane_mask(e, rest), w.test("ne", rest, 0)
    rows = Loop(e, 0, "%rows")
    source = w.place(kind, "%source", w.mul(rows.index, "%pitch"))
    target = w.place(kind, "%target", w.mul(rows.index, "%target_pitch"))
    columns = Loop(e, 0, done, tile.lanes)
    value = load_vector(e, kind, source, columns.index, None)
    store_vector(e, value, target, columns.index, None)
    columns.close()
    last = Branch(e, some)
    store_vector(e, load_vector(e, kind, source, done, mask), target, done, mask)
    last.close()
    rows.close()
    head = ("internal void @rows(ptr %source, i64 %pitch, i64 %rows, i64 %width, ptr %target, "
            "i64 %target_pitch)")
    return w.function(head), e.declarations


def zeros_text(tile: Tile) -> tuple[str, set[str]]:
    """``zeros(target, pitch, rows, width)``: clears whole vectors of a matrix."""
    w = Writer(tile.lanes)
    e = w.e
    rows = Loop(e, 0, "%rows")
    target = w.place(tile.kind, "%target", w.mul(rows.index, "%pitch"))
    columns = Loop(e, 0, "%width", tile.lanes)
    store_vector(e, e.const(tile.kind, 0.0), target, columns.index, None)
    columns.close()
    rows.close()
    head = "internal void @zeros(ptr %target, i64 %pitch, i64 %rows, i64 %width)"
    return w.function(head), e.declarations


def merge_text(tile: Tile) -> tuple[str, set[str]]:
    """``merge(strip, rows, width, target, pitch, adds)``: a strip's first columns to their place.

    They are added to what is there where `adds` is not 0.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    masks = []
    for v in range(tile.vectors):
        left = w.op("sub", "%width", v * tile.lanes)
        masks.append(lane_mask(e, w.choose(w.test("sgt", left, 0), left, 0)))
    adds = w.test("ne", "%adds", 0)
    rows = Loop(e, 0, "%rows")
    source, line = w.mul(rows.index, tile.columns), w.mul(rows.index, "%pitch")
    for v, mask in enumerate(masks):
        value = load_vector(e, kind, "%strip", w.add(source, v * tile.lanes), None)
        at = w.add(line, v * tile.lanes)
        some = Branch(e, adds)
        total = e.add(value, load_vector(e, kind, "%target", at, mask))
        (found,) = some.close([total], [value])
        store_vector(e, found, "%target", at, mask)
    rows.close()
    head = ("internal void @merge(ptr %strip, i64 %rows, i64 %width, ptr %target, i64 %pitch, "
            "i64 %adds)")
    return w.function(head), e.declarations


def least_rows(w: Writer, total: str, first: str, most: int) -> str:
    """How many rows are left from `first` on, `most` at the most."""
    return ln.least(w.e, w.op("sub", total, first), str(most))
