"""LLVM text of matrix products: strips of the right operand, blocks of rows of the left one.

A unit of work makes some rows and some columns of one product of a batch, a block of the depth at
a time. Strips are packed by a kernel before, for all units, or by the unit that needs them; rows
are packed by the unit, or read in place.
"""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.array_program import Contraction
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import (
    least_rows,
    merge_text,
    negated,
    panel_text,
    strip_text,
    turn,
)
from flambeau.backends.llvm.printer import (
    lane_mask,
    load_pointers,
    load_vector,
    run_steps,
    store_vector,
)
from flambeau.backends.llvm.program import Pointwise
from flambeau.backends.llvm.strided_tiles import fetch, strip_product_text
from flambeau.backends.llvm.tiles import Tile

# per operand its strides by rows, by columns and from one product to the next; how rows and columns
# are shared among units and the depth cut; a thread's scratch memory, which holds packed rows, a
# strip, and a tile's columns of the result; what is packed before, and by the unit
SIZES = ("rows", "columns", "depth", "left_row", "left_step", "left_next", "right_step",
         "right_column", "right_next", "result_row", "result_next", "row_parts", "part_rows",
         "column_parts", "part_columns", "depth_block", "slot_items", "strip_at", "part_at",
         "adds", "packs_rows", "packed_columns", "pack_strips")
CONTEXT = ("result", "left", "right", "row", "sizes", "packed", "scratch", "flags")
# items between the packed rows of two tiles
ROOM = 16
# steps that are fetched before they are packed
AHEAD = 8
SWEEP = ("ptr %packed, ptr %a, i64 %row, i64 %step, ptr %b, i64 %depth, ptr %c, i64 %pitch, "
         "i64 %rows")


def _packed_size(w: Writer, tile: Tile) -> str:
    """Items from one tile's packed rows to the next one's, which do not share places in caches."""
    return w.add(w.mul("%depth", tile.rows), ROOM)


def pack_rows_text(tile: Tile) -> tuple[str, set[str]]:
    """``pack_rows(source, row, step, rows, depth, target)``: whole tiles of rows, step by step.

    One of the two strides is 1. A tile's rows of one step follow those of the step before; there is
    room behind.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    tiles, size = w.op("udiv", "%rows", tile.rows), _packed_size(w, tile)
    by_steps = w.test("eq", "%row", 1)
    straight = Branch(e, by_steps)
    _copy_steps(w, tile, tiles, size)
    straight.close()
    turned = Branch(e, negated(w, by_steps))
    rest = w.op("urem", "%depth", tile.lanes)
    end = w.op("sub", "%depth", rest)
    blocks = Loop(e, 0, tiles)
    source = w.place(kind, "%source", w.mul(w.mul(blocks.index, tile.rows), "%row"))
    target = w.place(kind, "%target", w.mul(blocks.index, size))
    squares = Loop(e, 0, end, tile.lanes)
    _turn_steps(w, tile, source, target, squares.index, None)
    squares.close()
    last = Branch(e, w.test("ne", rest, 0))
    _turn_steps(w, tile, source, target, end, rest)
    last.close()
    blocks.close()
    turned.close()
    head = ("internal void @pack_rows(ptr %source, i64 %row, i64 %step, i64 %rows, i64 %depth, "
            "ptr %target)")
    return w.function(head), e.declarations


def _copy_steps(w: Writer, tile: Tile, tiles: str, size: str) -> None:
    """Rows that lie side by side, all of one step before the next."""
    e, kind = w.e, tile.kind
    groups = range(0, tile.rows, tile.lanes)
    masks = [lane_mask(e, str(min(tile.rows - first, tile.lanes))) for first in groups]
    steps = Loop(e, 0, "%depth")
    source = w.place(kind, "%source", w.mul(steps.index, "%step"))
    ahead = w.place(kind, source, w.mul("%step", AHEAD))
    line = w.place(kind, "%target", w.mul(steps.index, tile.rows))
    blocks = Loop(e, 0, tiles)
    row = w.mul(blocks.index, tile.rows)
    fetch(w, w.place(kind, ahead, row), writes=False)
    target = w.mul(blocks.index, size)
    for first, mask in zip(groups, masks, strict=True):
        kept = None if tile.rows - first >= tile.lanes else mask
        value = load_vector(e, kind, source, w.add(row, first), kept)
        store_vector(e, value, line, w.add(target, first), None)
    blocks.close()
    steps.close()


def _turn_steps(w: Writer, tile: Tile, source: str, target: str, step: str,
                left: str | None) -> None:
    """A vector of steps of every row; what is stored too much is overwritten by what follows."""
    e, kind = w.e, tile.kind
    mask = None if left is None else lane_mask(e, left)
    groups = []
    for first in range(0, tile.rows, tile.lanes):
        values: list[Value] = []
        for row in range(first, first + tile.lanes):
            at = w.add(w.mul("%row", min(row, tile.rows - 1)), step)
            values.append(load_vector(e, kind, source, at, mask) if row < tile.rows
                          else values[-1])
        groups.append(turn(w, values))
    for lane in range(tile.lanes):
        place = w.mul(w.add(step, lane), tile.rows)
        there = None if left is None else Branch(e, w.test("slt", lane, left))
        for number, values in enumerate(groups):
            store_vector(e, values[lane], target, w.add(place, number * tile.lanes), None)
        if there is not None:
            there.close()


def sweep_text(name: str, product: str, tile: Tile) -> tuple[str, set[str]]:
    """``name(packed, a, row, step, b, depth, c, pitch, rows)``: all rows by one strip.

    Whole tiles' rows come from `packed`, where that is not null; the others are read in place.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    is_packed = e.assign("icmp ne ptr %packed, null")
    tiles, size = w.op("udiv", "%rows", tile.rows), _packed_size(w, tile)
    tiles = w.choose(is_packed, tiles, 0)
    blocks = Loop(e, 0, tiles)
    a = w.place(kind, "%packed", w.mul(blocks.index, size))
    c = w.place(kind, "%c", w.mul(w.mul(blocks.index, tile.rows), "%pitch"))
    e.line(f"call void @{product}{tile.rows}(ptr {a}, i64 1, i64 {tile.rows}, ptr %b, "
           f"i64 {tile.columns}, i64 %depth, ptr {c}, i64 %pitch)")
    blocks.close()
    done = w.mul(tiles, tile.rows)
    rest = w.op("sub", "%rows", done)
    a, c = (w.place(kind, base, w.mul(done, step)) for base, step in
            (("%a", "%row"), ("%c", "%pitch")))
    e.line(f"call void @{product}(ptr {a}, i64 %row, i64 %step, ptr %b, i64 {tile.columns}, "
           f"i64 %depth, ptr {c}, i64 %pitch, i64 {rest})")
    return w.function(f"internal void @{name}({SWEEP})"), e.declarations


def right_text(tile: Tile) -> tuple[str, set[str]]:
    """``right(source, step, column, depth, width, target)``: a strip of the right operand."""
    w = Writer(tile.lanes)
    e = w.e
    by_rows = w.test("eq", "%column", 1)
    straight = Branch(e, by_rows)
    e.line("call void @strip(ptr %source, i64 %step, i64 %depth, i64 %width, ptr %target)")
    straight.close()
    turned = Branch(e, negated(w, by_rows))
    e.line("call void @panel(ptr %source, i64 %column, i64 %width, i64 %depth, ptr %target)")
    turned.close()
    head = ("internal void @right(ptr %source, i64 %step, i64 %column, i64 %depth, i64 %width, "
            "ptr %target)")
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


def _at(w: Writer, kind: str, base: str, *steps: tuple[str, str]) -> str:
    for number, step in steps:
        base = w.place(kind, base, w.mul(number, step))
    return base


def _depth_blocks(w: Writer, s: dict[str, str]) -> tuple[Loop, str]:
    """A loop over blocks of the depth, and how deep this one is."""
    blocks = Loop(w.e, 0, s["depth"], s["depth_block"])
    return blocks, ln.least(w.e, s["depth_block"], w.op("sub", s["depth"], blocks.index))


def strips_text(tile: Tile) -> tuple[str, set[str]]:
    """``strips(source, pitch, depth, count, target)``: several strips at once."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    size = w.mul("%depth", tile.columns)
    steps = Loop(e, 0, "%depth")
    source = w.place(kind, "%source", w.mul(steps.index, "%pitch"))
    ahead = w.place(kind, source, w.mul("%pitch", AHEAD))
    target = w.place(kind, "%target", w.mul(steps.index, tile.columns))
    each = Loop(e, 0, "%count")
    column = w.mul(each.index, tile.columns)
    fetch(w, w.place(kind, ahead, column), writes=False)
    place = w.mul(each.index, size)
    for v in range(tile.vectors):
        value = load_vector(e, kind, source, w.add(column, v * tile.lanes), None)
        store_vector(e, value, target, w.add(place, v * tile.lanes), None)
    each.close()
    steps.close()
    head = "internal void @strips(ptr %source, i64 %pitch, i64 %depth, i64 %count, ptr %target)"
    return w.function(head), e.declarations


def pack_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel that packs the right operand, for all units; its own unit is a few strips.

    Strips of a block of the depth follow each other; then come those of the next block.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = dict(zip(CONTEXT, load_pointers(e, len(CONTEXT)), strict=True))
    s = w.named(c["sizes"], SIZES)
    size = w.mul(s["pack_strips"], tile.columns)
    units = Loop(e, "%begin", "%end")
    first = w.mul(units.index, size)
    last = ln.least(e, w.add(first, size), s["columns"])
    blocks, depth = _depth_blocks(w, s)
    right = _at(w, kind, c["right"], (blocks.index, s["right_step"]))
    packed = _at(w, kind, c["packed"], (blocks.index, s["packed_columns"]))
    whole = w.op("udiv", w.op("sub", last, first), tile.columns)
    whole = w.choose(w.test("eq", s["right_column"], 1), whole, 0)
    e.line(f"call void @strips(ptr {w.place(kind, right, first)}, i64 {s['right_step']}, "
           f"i64 {depth}, i64 {whole}, ptr {_at(w, kind, packed, (first, depth))})")
    rest = Loop(e, w.add(first, w.mul(whole, tile.columns)), last, tile.columns)
    width = least_rows(w, last, rest.index, tile.columns)
    source = _at(w, kind, right, (rest.index, s["right_column"]))
    e.line(f"call void @right(ptr {source}, i64 {s['right_step']}, i64 {s['right_column']}, "
           f"i64 {depth}, i64 {width}, ptr {_at(w, kind, packed, (rest.index, depth))})")
    for loop in (rest, blocks, units):
        loop.close()
    return w.function("void @pack(ptr %context, i64 %begin, i64 %end)"), e.declarations


def multiply_text(tile: Tile, finishes: bool) -> tuple[str, set[str]]:
    """The kernel of products."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = dict(zip(CONTEXT, load_pointers(e, len(CONTEXT)), strict=True))
    s = w.named(c["sizes"], SIZES)
    units = Loop(e, "%begin", "%end")
    column_part = w.op("urem", units.index, s["column_parts"])
    rest = w.op("udiv", units.index, s["column_parts"])
    row_part, number = w.op("urem", rest, s["row_parts"]), w.op("udiv", rest, s["row_parts"])
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    scratch = w.place(kind, c["scratch"], w.mul(slot, s["slot_items"]))
    row, column = w.mul(row_part, s["part_rows"]), w.mul(column_part, s["part_columns"])
    packs_rows = w.test("ne", s["packs_rows"], 0)
    places = {
        "left": _at(w, kind, c["left"], (number, s["left_next"]), (row, s["left_row"])),
        "right": _at(w, kind, c["right"], (number, s["right_next"])),
        "result": _at(w, kind, c["result"], (number, s["result_next"]), (row, s["result_row"])),
        "row": c["row"], "packed": c["packed"],
        "rows": e.assign(f"select i1 {packs_rows}, ptr {scratch}, ptr null"),
        "strip": w.place(kind, scratch, s["strip_at"]),
        "part": w.place(kind, scratch, s["part_at"]),
    }
    rows = ln.least(e, s["part_rows"], w.op("sub", s["rows"], row))
    last = ln.least(e, w.add(column, s["part_columns"]), s["columns"])
    _print_unit(w, tile, s, places, (rows, column, last), finishes)
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _print_unit(w: Writer, tile: Tile, s: dict[str, str], places: dict[str, str],
                bounds: tuple[str, str, str], finishes: bool) -> None:
    """Blocks of the depth, then strips of columns."""
    e, kind, (rows, column, last) = w.e, tile.kind, bounds
    blocks, depth = _depth_blocks(w, s)
    left = _at(w, kind, places["left"], (blocks.index, s["left_step"]))
    some = Branch(e, e.assign(f"icmp ne ptr {places['rows']}, null"))
    e.line(f"call void @pack_rows(ptr {left}, i64 {s['left_row']}, i64 {s['left_step']}, "
           f"i64 {rows}, i64 {depth}, ptr {places['rows']})")
    some.close()
    strips = Loop(e, column, last, tile.columns)
    width = least_rows(w, last, strips.index, tile.columns)
    strip = _print_strip(w, tile, s, places, (blocks.index, strips.index, depth, width))
    target = w.place(kind, places["result"], strips.index)
    later = e.assign(f"or i1 {w.test('ne', blocks.index, 0)}, {w.test('ne', s['adds'], 0)}")
    _print_sweep(w, tile, s, places, (left, strip, depth, target, rows, width, later))
    if finishes:
        done = Branch(e, w.test("eq", w.add(blocks.index, depth), s["depth"]))
        e.line(f"call void @finish(ptr {target}, i64 {s['result_row']}, i64 {rows}, i64 {width}, "
               f"ptr {w.place(kind, places['row'], strips.index)})")
        done.close()
    strips.close()
    blocks.close()


def _print_strip(w: Writer, tile: Tile, s: dict[str, str], places: dict[str, str],
                 at: tuple[str, str, str, str]) -> str:
    """Where this strip lies packed; it is packed here where it was not before."""
    e, kind, (block, column, depth, width) = w.e, tile.kind, at
    shared = w.test("ne", s["packed_columns"], 0)
    own = Branch(e, negated(w, shared))
    source = _at(w, kind, places["right"], (block, s["right_step"]), (column, s["right_column"]))
    e.line(f"call void @right(ptr {source}, i64 {s['right_step']}, i64 {s['right_column']}, "
           f"i64 {depth}, i64 {width}, ptr {places['strip']})")
    own.close()
    packed = _at(w, kind, places["packed"], (block, s["packed_columns"]), (column, depth))
    return e.assign(f"select i1 {shared}, ptr {packed}, ptr {places['strip']}")


def _print_sweep(w: Writer, tile: Tile, s: dict[str, str], places: dict[str, str],
                 at: tuple[str, str, str, str, str, str, str]) -> None:
    """All rows by one strip, to their place, or by way of scratch memory where columns are few."""
    e, (left, strip, depth, target, rows, width, later) = w.e, at
    operands = (f"ptr {places['rows']}, ptr {left}, i64 {s['left_row']}, i64 {s['left_step']}, "
                f"ptr {strip}, i64 {depth}")
    full = w.test("eq", width, tile.columns)
    for name, wanted in (("sweep_add", later), ("sweep", negated(w, later))):
        whole = Branch(e, e.assign(f"and i1 {full}, {wanted}"))
        e.line(f"call void @{name}({operands}, ptr {target}, i64 {s['result_row']}, i64 {rows})")
        whole.close()
    part = Branch(e, negated(w, full))
    e.line(f"call void @sweep({operands}, ptr {places['part']}, i64 {tile.columns}, i64 {rows})")
    e.line(f"call void @merge(ptr {places['part']}, i64 {rows}, i64 {width}, ptr {target}, "
           f"i64 {s['result_row']}, i64 {w.choose(later, 1, 0)})")
    part.close()


def print_multiply(program: Contraction, tile: Tile, vector_bytes: int) -> str:
    """Return the module of the kernels of products; `tile` is of the program's kind.

    An epilogue has one input beside the sum at most, a "row", and all are of that kind.
    """
    epilogue = program.epilogue
    parts = [*strip_product_text("product", tile, False),
             *strip_product_text("product_add", tile, True), sweep_text("sweep", "product", tile),
             sweep_text("sweep_add", "product_add", tile), strip_text(tile), panel_text(tile),
             right_text(tile), strips_text(tile), pack_rows_text(tile), merge_text(tile),
             finish_text(tile, epilogue), pack_text(tile),
             multiply_text(tile, epilogue is not None)]
    return conv_text.module(parts, vector_bytes)
