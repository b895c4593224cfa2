"""LLVM text of matrix products: the right operand packed in panels, the left one read in place.

A unit of work makes some rows and some columns of one product of a batch. Operands lie in any two
strides; the right one has one of them 1.
"""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import panel_text
from flambeau.backends.llvm.printer import (
    STORED,
    lane_mask,
    load_pointers,
    load_vector,
    run_steps,
    splat_item,
    store_vector,
)
from flambeau.backends.llvm.program import Pointwise
from flambeau.backends.llvm.tiles import UNROLL, Tile

# per operand its strides by rows, by columns and from one product to the next
SIZES = ("rows", "columns", "depth", "left_row", "left_step", "left_next", "right_step",
         "right_column", "right_next", "result_row", "result_next", "row_parts", "part_rows",
         "column_parts", "part_columns", "depth_block", "slot_items", "adds")
CONTEXT = ("result", "left", "right", "row", "sizes", "scratch", "flags")


def strided_tile_text(name: str, tile: Tile, adds: bool) -> tuple[str, set[str]]:
    """``name(a, row, step, b, depth, c, ldc)``: a tile whose left operand lies in any strides."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    lines = [w.mul("%ldc", row) for row in range(tile.rows)]
    left = [w.place(kind, "%a", w.mul("%row", row)) for row in range(tile.rows)]
    cells = [(row, v) for row in range(tile.rows) for v in range(tile.vectors)]
    starts = [load_vector(e, kind, "%c", w.add(lines[row], v * tile.lanes), None) if adds
              else e.const(kind, 0.0) for row, v in cells]
    rest = w.op("urem", "%depth", UNROLL)
    whole = w.op("sub", "%depth", rest)
    loop = Loop(e, 0, whole, UNROLL, starts)
    values = loop.values
    for step in range(UNROLL):
        values = _step(w, tile, left, w.add(loop.index, step), values)
    last = Loop(e, whole, "%depth", 1, loop.close(values))
    found = last.close(_step(w, tile, left, last.index, last.values))
    for (row, v), value in zip(cells, found, strict=True):
        store_vector(e, value, "%c", w.add(lines[row], v * tile.lanes), None)
    head = (f"internal void @{name}(ptr %a, i64 %row, i64 %step, ptr %b, i64 %depth, ptr %c, "
            "i64 %ldc)")
    return w.function(head), e.declarations


def _step(w: Writer, tile: Tile, left: list[str], at: str, totals: list[Value]) -> list[Value]:
    e, kind = w.e, tile.kind
    first = w.mul(at, tile.columns)
    columns = [load_vector(e, kind, "%b", w.add(first, v * tile.lanes), None)
               for v in range(tile.vectors)]
    offset = w.mul(at, "%step")
    grown = []
    for row, place in enumerate(left):
        item = splat_item(e, kind, place, offset)
        grown += [e.fma(item, column, totals[row * tile.vectors + v])
                  for v, column in enumerate(columns)]
    return grown


def strip_text(tile: Tile) -> tuple[str, set[str]]:
    """``strip(source, pitch, depth, width, target)``: columns of a matrix by rows, as a panel."""
    w = Writer(tile.lanes)
    e = w.e
    full = Branch(e, w.test("eq", "%width", tile.columns))
    _copy_rows(w, tile, None)
    full.close()
    part = Branch(e, w.test("ne", "%width", tile.columns))
    masks = []
    for v in range(tile.vectors):
        masks.append(lane_mask(e, _at_least_zero(w, w.op("sub", "%width", v * tile.lanes))))
    _copy_rows(w, tile, masks)
    part.close()
    head = "internal void @strip(ptr %source, i64 %pitch, i64 %depth, i64 %width, ptr %target)"
    return w.function(head), e.declarations


def _at_least_zero(w: Writer, value: str) -> str:
    return w.choose(w.test("sgt", value, 0), value, 0)


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


def merge_text(tile: Tile) -> tuple[str, set[str]]:
    """``merge(source, target, pitch, rows, columns, adds)``: a part of a tile to its place."""
    w = Writer(1)
    e, kind = w.e, tile.kind
    rows = Loop(e, 0, "%rows")
    columns = Loop(e, 0, "%columns")
    at = w.add(w.mul(rows.index, "%pitch"), columns.index)
    item = load_vector(e, kind, "%source", w.add(w.mul(rows.index, tile.columns), columns.index),
                       None)
    some = Branch(e, w.test("ne", "%adds", 0))
    total = e.add(item, load_vector(e, kind, "%target", at, None))
    (found,) = some.close([total], [item])
    store_vector(e, found, "%target", at, None)
    columns.close()
    rows.close()
    head = ("internal void @merge(ptr %source, ptr %target, i64 %pitch, i64 %rows, i64 %columns, "
            "i64 %adds)")
    return w.function(head), e.declarations


def finish_text(tile: Tile, program: Pointwise | None) -> tuple[str, set[str]]:
    """``finish(target, pitch, rows, columns, row)``: a program on what is done.

    Its first input is the product, its second, where there is one, one item a column.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    if program is not None:
        rows = Loop(e, 0, "%rows")
        line = w.mul(rows.index, "%pitch")
        columns = Loop(e, 0, "%columns", tile.lanes)
        mask = lane_mask(e, w.op("sub", "%columns", columns.index))
        at = w.add(line, columns.index)
        values = [load_vector(e, kind, "%target", at, mask)]
        if len(program.inputs) > 1:
            values.append(load_vector(e, kind, "%row", columns.index, mask))
        run_steps(e, program.steps, values)
        store_vector(e, values[program.outputs[0]], "%target", at, mask)
        columns.close()
        rows.close()
    head = "internal void @finish(ptr %target, i64 %pitch, i64 %rows, i64 %columns, ptr %row)"
    return w.function(head), e.declarations


def multiply_text(tile: Tile, program: Pointwise | None) -> tuple[str, set[str]]:
    """The kernel of products."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = dict(zip(CONTEXT, load_pointers(e, len(CONTEXT)), strict=True))
    s = w.named(c["sizes"], SIZES)
    buffer = e.assign(f"alloca [{tile.rows * tile.columns} x {STORED[kind]}], align 64")
    units = Loop(e, "%begin", "%end")
    column_part = w.op("urem", units.index, s["column_parts"])
    rest = w.op("udiv", units.index, s["column_parts"])
    row_part, number = w.op("urem", rest, s["row_parts"]), w.op("udiv", rest, s["row_parts"])
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    panel = w.place(kind, c["scratch"], w.mul(slot, s["slot_items"]))
    row, column = w.mul(row_part, s["part_rows"]), w.mul(column_part, s["part_columns"])
    places = {
        "left": _at(w, kind, c["left"], (number, s["left_next"]), (row, s["left_row"])),
        "right": _at(w, kind, c["right"], (number, s["right_next"])),
        "result": _at(w, kind, c["result"], (number, s["result_next"]), (row, s["result_row"])),
        "row": c["row"], "panel": panel, "buffer": buffer,
    }
    rows = ln.least(e, s["part_rows"], w.op("sub", s["rows"], row))
    last = ln.least(e, w.add(column, s["part_columns"]), s["columns"])
    _print_unit(w, tile, s, places, (rows, column, last), program is not None)
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _at(w: Writer, kind: str, base: str, *steps: tuple[str, str]) -> str:
    for number, step in steps:
        base = w.place(kind, base, w.mul(number, step))
    return base


def _print_unit(
    w: Writer,
    tile: Tile,
    s: dict[str, str],
    places: dict[str, str],
    bounds: tuple[str, str, str],
    finishes: bool,
) -> None:
    """Blocks of the depth, panels of columns, tiles of rows."""
    e, kind, (rows, column, last) = w.e, tile.kind, bounds
    blocks = Loop(e, 0, s["depth"], s["depth_block"])
    depth = ln.least(e, s["depth_block"], w.op("sub", s["depth"], blocks.index))
    ending = w.test("eq", w.add(blocks.index, depth), s["depth"])
    later = e.assign(f"or i1 {w.test('ne', blocks.index, 0)}, {w.test('ne', s['adds'], 0)}")
    left = _at(w, kind, places["left"], (blocks.index, s["left_step"]))
    panels = Loop(e, column, last, tile.columns)
    width = ln.least(e, w.op("sub", last, panels.index), str(tile.columns))
    right = _at(w, kind, places["right"], (blocks.index, s["right_step"]),
                (panels.index, s["right_column"]))
    by_rows = w.test("eq", s["right_column"], 1)
    straight = Branch(e, by_rows)
    e.line(f"call void @strip(ptr {right}, i64 {s['right_step']}, i64 {depth}, i64 {width}, "
           f"ptr {places['panel']})")
    straight.close()
    turned = Branch(e, e.assign(f"xor i1 {by_rows}, true"))
    e.line(f"call void @panel(ptr {right}, i64 {s['right_column']}, i64 {width}, i64 {depth}, "
           f"ptr {places['panel']})")
    turned.close()
    tiles = Loop(e, 0, rows, tile.rows)
    here = ln.least(e, w.op("sub", rows, tiles.index), str(tile.rows))
    a = _at(w, kind, left, (tiles.index, s["left_row"]))
    target = w.place(kind, places["result"], w.add(w.mul(tiles.index, s["result_row"]),
                                                  panels.index))
    _print_tile(w, tile, s, (a, places["panel"], depth, target, here, width, later, places))
    if finishes:
        done = Branch(e, ending)
        e.line(f"call void @finish(ptr {target}, i64 {s['result_row']}, i64 {here}, i64 {width}, "
               f"ptr {w.place(kind, places['row'], panels.index)})")
        done.close()
    for loop in (tiles, panels, blocks):
        loop.close()


def _print_tile(w: Writer, tile: Tile, s: dict[str, str], at: tuple) -> None:
    """A whole tile to its place, or a part of one by way of the buffer, row by row."""
    e, (a, panel, depth, target, here, width, later, places) = w.e, at
    full = e.assign(f"and i1 {w.test('eq', here, tile.rows)}, "
                    f"{w.test('eq', width, tile.columns)}")
    adds = w.choose(later, 1, 0)
    for name, wanted in (("tile_add", later), ("tile", e.assign(f"xor i1 {later}, true"))):
        whole = Branch(e, e.assign(f"and i1 {full}, {wanted}"))
        e.line(f"call void @{name}(ptr {a}, i64 {s['left_row']}, i64 {s['left_step']}, "
               f"ptr {panel}, i64 {depth}, ptr {target}, i64 {s['result_row']})")
        whole.close()
    part = Branch(e, e.assign(f"xor i1 {full}, true"))
    many = Branch(e, w.test("eq", here, tile.rows))
    e.line(f"call void @tile(ptr {a}, i64 {s['left_row']}, i64 {s['left_step']}, ptr {panel}, "
           f"i64 {depth}, ptr {places['buffer']}, i64 {tile.columns})")
    many.close()
    few = Branch(e, w.test("ne", here, tile.rows))
    single = Loop(e, 0, here)
    row = _at(w, tile.kind, a, (single.index, s["left_row"]))
    line = w.place(tile.kind, places["buffer"], w.mul(single.index, tile.columns))
    e.line(f"call void @line(ptr {row}, i64 0, i64 {s['left_step']}, ptr {panel}, "
           f"i64 {depth}, ptr {line}, i64 {tile.columns})")
    single.close()
    few.close()
    e.line(f"call void @merge(ptr {places['buffer']}, ptr {target}, i64 {s['result_row']}, "
           f"i64 {here}, i64 {width}, i64 {adds})")
    part.close()


def print_multiply(tile: Tile, vector_bytes: int, program: Pointwise | None = None) -> str:
    """Return the module of the kernel of products, with a program on the finished result."""
    line = tile._replace(rows=1)
    parts = [strided_tile_text("tile", tile, False), strided_tile_text("tile_add", tile, True),
             strided_tile_text("line", line, False), strip_text(tile), panel_text(tile),
             merge_text(tile), finish_text(tile, program), multiply_text(tile, program)]
    return conv_text.module(parts, vector_bytes)
