"""LLVM text of products of bfloat16, two steps of the depth at a time, summed up in float32.

Both operands are packed into bands of `side` lines, a row of the left one or a column of the right
one each. A band lies in squares, one after another along the depth, of `side` times `side` pairs:
two items of one line that follow each other in the depth, zeros beyond the ends. A square of the
left operand has its lines one by one, one of the right its pairs: so processors that multiply tiles
or pairs of bfloat16 read both as they are. Two bands of each give a cell of the result.
"""

from enum import StrEnum

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import negated, range_mask, turn
from flambeau.backends.llvm.printer import (
    lane_mask,
    load_pointers,
    load_vector,
    run_steps,
    splat_item,
    store_vector,
)
from flambeau.backends.llvm.program import ITEM_BYTES, Pointwise

# how the result is cut into units; bands of a product and items of one, packed; items from one
# packed product to the next, 0 where one serves all
SIZES = ("rows", "columns", "depth", "left_row", "left_step", "left_next", "right_step",
         "right_column", "right_next", "result_next", "row_parts", "part_rows", "column_parts",
         "part_columns", "left_bands", "right_bands", "left_packs", "band", "left_packed",
         "right_packed")
CONTEXT = ("result", "left", "right", "row", "sizes", "left_packed", "right_packed")
# bands of each operand that make a cell
BANDS = 2
# rows of a cell whose sums stay in registers
FEW_ROWS, MANY_ROWS = 4, 8
BAND = "ptr %source, i64 %line, i64 %step, i64 %lines, i64 %depth, ptr %target"


class Way(StrEnum):
    """How pairs are multiplied: by tiles, by vectors of pairs, or widened to float32."""

    TILES = "tiles"
    PAIRS = "pairs"
    WIDE = "wide"


def side_of(vector_bytes: int) -> int:
    """Lines of a band."""
    return vector_bytes // ITEM_BYTES["f32"]


def band_text(name: str, side: int, by_pairs: bool) -> tuple[str, set[str]]:
    """``name(source, line, step, lines, depth, target)``: packs a band, of `lines` lines.

    One of the strides of lines and of steps is 1. Squares have lines one by one, or pairs.
    """
    w = Writer(side)
    e, square = w.e, 2 * side
    along = w.test("eq", "%step", 1)
    for is_along, condition in ((True, along), (False, negated(w, along))):
        this = Branch(e, condition)
        full = w.test("sge", "%lines", side)
        whole = w.choose(full, w.op("sub", "%depth", w.op("urem", "%depth", square)), 0)
        for begin, end, masked in ((0, whole, False), (whole, "%depth", True)):
            squares = Loop(e, begin, end, square)
            read = _read_lines if is_along else _read_pairs
            values = read(w, squares.index, masked)
            if is_along is by_pairs:
                values = turn(w, values)
            target = w.mul(squares.index, side // 2)
            for number, value in enumerate(values):
                store_vector(e, value, "%target", w.add(target, number * side), None)
            squares.close()
        this.close()
    return w.function(f"internal void @{name}({BAND})"), e.declarations


def _read_lines(w: Writer, first: str, masked: bool) -> list[Value]:
    """The pairs of every line of a square, whose items lie side by side."""
    e, side, values = w.e, w.e.lanes, []
    for line in range(side):
        at = w.add(w.mul("%line", line), first)
        with e.width(2 * side):
            mask = None
            if masked:
                mask = range_mask(w, first, "%depth", w.test("slt", line, "%lines"))
            items = load_vector(e, "bf16", "%source", at, mask)
        values.append(_as_pairs(w, items))
    return values


def _read_pairs(w: Writer, first: str, masked: bool) -> list[Value]:
    """The pairs of all lines of a square for every two steps; lines lie side by side."""
    e, side, values = w.e, w.e.lanes, []
    order = ", ".join(f"i32 {lane}, i32 {lane + side}" for lane in range(side))
    for pair in range(side):
        both = []
        for step in (2 * pair, 2 * pair + 1):
            this = w.add(first, step)
            mask = range_mask(w, 0, "%lines", w.test("slt", this, "%depth")) if masked else None
            both.append(load_vector(e, "bf16", "%source", w.mul(this, "%step"), mask))
        vector = e.type("bf16")
        mixed = e.value("bf16", f"shufflevector {vector} {both[0].text}, {vector} {both[1].text}, "
                                f"<{2 * side} x i32> <{order}>")
        values.append(_as_pairs(w, mixed))
    return values


def _as_pairs(w: Writer, items: Value) -> Value:
    return w.e.value("f32", f"bitcast <{2 * w.e.lanes} x i16> {items.text} to {w.e.type('f32')}")


def _part(w: Writer, kind: str, base: str, *steps: tuple[str, str | int]) -> str:
    for number, step in steps:
        base = w.place(kind, base, w.mul(number, step))
    return base


def pack_text(side: int) -> tuple[str, set[str]]:
    """The kernel that packs: its units are the bands of the left operand, then of the right."""
    w = Writer(side)
    e = w.e
    c = dict(zip(CONTEXT, load_pointers(e, len(CONTEXT)), strict=True))
    s = w.named(c["sizes"], SIZES)
    units = Loop(e, "%begin", "%end")
    is_left = w.test("slt", units.index, s["left_packs"])
    sides = (("left", "rows", "left_row", "left_step", is_left, units.index),
             ("right", "columns", "right_column", "right_step", negated(w, is_left),
              w.op("sub", units.index, s["left_packs"])))
    for name, lines, line, step, condition, unit in sides:
        this = Branch(e, condition)
        number, band = (w.op(op, unit, s[f"{name}_bands"]) for op in ("udiv", "urem"))
        first = w.mul(band, side)
        source = _part(w, "bf16", c[name], (number, s[f"{name}_next"]), (first, s[line]))
        target = _part(w, "f32", c[f"{name}_packed"], (number, s[f"{name}_packed"]),
                       (band, s["band"]))
        left = w.op("sub", s[lines], first)
        e.line(f"call void @{name}_band(ptr {source}, i64 {s[line]}, i64 {s[step]}, i64 {left}, "
               f"i64 {s['depth']}, ptr {target})")
        this.close()
    units.close()
    return w.function("void @pack(ptr %context, i64 %begin, i64 %end)"), e.declarations


CELL = "ptr %a, ptr %b, i64 %squares, i64 %band, ptr %cell"


def tile_cell_text(side: int) -> tuple[str, set[str]]:
    """``cell(a, b, squares, band, cell)``: a cell by the processor's tiles of 16 by 16 pairs."""
    assert side == 16
    w = Writer(side)
    e, square = w.e, side * side
    declare = {"tilezero": "i8 immarg", "tileloadd64": "i8 immarg, ptr, i64",
               "tilestored64": "i8 immarg, ptr, i64",
               "tdpbf16ps": "i8 immarg, i8 immarg, i8 immarg"}
    e.declarations |= {f"declare void @llvm.x86.{name}({args})" for name, args in declare.items()}
    cells = [(row, column) for row in range(BANDS) for column in range(BANDS)]
    left, right = (4, 5), (6, 7)
    for number in range(len(cells)):
        e.line(f"call void @llvm.x86.tilezero(i8 {number})")
    squares = Loop(e, 0, "%squares")
    at = w.mul(squares.index, square)
    for base, tiles in (("%a", left), ("%b", right)):
        for number, tile in enumerate(tiles):
            place = w.place("f32", base, w.add(at, w.mul("%band", number)))
            e.line(f"call void @llvm.x86.tileloadd64(i8 {tile}, ptr {place}, i64 {4 * side})")
    for number, (row, column) in enumerate(cells):
        e.line(f"call void @llvm.x86.tdpbf16ps(i8 {number}, i8 {left[row]}, i8 {right[column]})")
    squares.close()
    for number, (row, column) in enumerate(cells):
        place = w.place("f32", "%cell", row * side * BANDS * side + column * side)
        e.line(f"call void @llvm.x86.tilestored64(i8 {number}, ptr {place}, "
               f"i64 {4 * BANDS * side})")
    return w.function(f"internal void @cell({CELL})"), e.declarations


def vector_cell_text(side: int, way: Way) -> tuple[str, set[str]]:
    """``cell(a, b, squares, band, cell)``: a cell by vectors, some rows at a time."""
    w = Writer(side)
    e, columns = w.e, BANDS * side
    rows = min(side, MANY_ROWS if side == 16 else FEW_ROWS)
    groups = Loop(e, 0, columns, rows)
    number, inside = w.op("udiv", groups.index, side), w.op("urem", groups.index, side)
    a = w.place("f32", "%a", w.add(w.mul("%band", number), w.mul(inside, side)))
    right = ["%b", w.place("f32", "%b", "%band")]
    sums = [e.const("f32", 0.0)] * (rows * BANDS)
    squares = Loop(e, 0, "%squares", 1, sums)
    start = w.mul(squares.index, side * side)
    pairs = Loop(e, 0, side, 1, squares.values)
    at = w.add(start, w.mul(pairs.index, side))
    items = [load_vector(e, "i32", base, at, None) for base in right]
    split = [_both(w, item, way) for item in items]
    place = w.add(start, pairs.index)
    grown = []
    for row in range(rows):
        item = _both(w, splat_item(e, "i32", a, w.add(place, row * side)), way)
        for column in range(BANDS):
            total = pairs.values[row * BANDS + column]
            grown.append(_grown(w, total, item, split[column], way))
    found = squares.close(pairs.close(grown))
    for cell, total in enumerate(found):
        row, column = divmod(cell, BANDS)
        line = w.mul(w.add(groups.index, row), columns)
        store_vector(e, total, "%cell", w.add(line, column * side), None)
    groups.close()
    return w.function(f"internal void @cell({CELL})"), e.declarations


def _both(w: Writer, pairs: Value, way: Way) -> list[Value]:
    """Pairs as they are multiplied: as such, or the first items and the second ones."""
    e = w.e
    if way is Way.PAIRS:
        bits = f"bitcast {e.type('i32')} {pairs.text} to <{2 * e.lanes} x bfloat>"
        return [Value(e.assign(bits), "bf16")]
    return [e.bitcast(e.shift_left(pairs, 16), "f32"),
            e.bitcast(e.bit_and(pairs, -1 << 16), "f32")]


def _grown(w: Writer, total: Value, a: list[Value], b: list[Value], way: Way) -> Value:
    e = w.e
    if way is Way.WIDE:
        for left, right in zip(a, b, strict=True):
            total = e.fma(left, right, total)
        return total
    name, vector = "@llvm.x86.avx512bf16.dpbf16ps.512", "<32 x bfloat>"
    single = e.type("f32")
    e.declarations.add(f"declare {single} {name}({single}, {vector}, {vector})")
    return e.value("f32", f"call {single} {name}({single} {total.text}, {vector} {a[0].text}, "
                          f"{vector} {b[0].text})")


def finish_text(side: int, program: Pointwise | None) -> tuple[str, set[str]]:
    """``finish(cell, rows, columns, target, pitch, row)``: a cell to its place, rounded.

    A program takes the float32 product, and one item of `row` a column as float32, to what is
    rounded.
    """
    w = Writer(side)
    e = w.e
    masks = []
    for number in range(BANDS):
        left = w.op("sub", "%columns", number * side)
        masks.append(lane_mask(e, w.choose(w.test("sgt", left, 0), left, 0)))
    extra = []
    if program is not None and len(program.inputs) > 1:
        extra = [e.convert(load_vector(e, "bf16", "%row", str(number * side), mask), "f32")
                 for number, mask in enumerate(masks)]
    rows = Loop(e, 0, "%rows")
    source, line = w.mul(rows.index, BANDS * side), w.mul(rows.index, "%pitch")
    for number, mask in enumerate(masks):
        values = [load_vector(e, "f32", "%cell", w.add(source, number * side), None)]
        if program is not None:
            values += [extra[number]] if extra else []
            run_steps(e, program.steps, values)
            values = [values[program.outputs[0]]]
        found = e.convert(values[0], "bf16")
        store_vector(e, found, "%target", w.add(line, number * side), mask)
    rows.close()
    head = ("internal void @finish(ptr %cell, i64 %rows, i64 %columns, ptr %target, i64 %pitch, "
            "ptr %row)")
    return w.function(head), e.declarations


def multiply_text(side: int, way: Way) -> tuple[str, set[str]]:
    """The kernel of products of packed operands; its units are parts of results."""
    w = Writer(side)
    e, width = w.e, BANDS * side
    cell = e.assign(f"alloca [{width * width} x float], align 64")
    if way is Way.TILES:
        e.declarations |= {"declare void @llvm.x86.ldtilecfg(ptr)",
                           "declare void @llvm.x86.tilerelease()"}
        e.line("call void @llvm.x86.ldtilecfg(ptr @tiles)")
    c = dict(zip(CONTEXT, load_pointers(e, len(CONTEXT)), strict=True))
    s = w.named(c["sizes"], SIZES)
    squares = w.op("udiv", s["band"], side * side)
    units = Loop(e, "%begin", "%end")
    part, rest = (w.op(op, units.index, s["column_parts"]) for op in ("urem", "udiv"))
    number, row_part = (w.op(op, rest, s["row_parts"]) for op in ("udiv", "urem"))
    first_row, first_column = w.mul(row_part, s["part_rows"]), w.mul(part, s["part_columns"])
    last_row = ln.least(e, w.add(first_row, s["part_rows"]), s["rows"])
    last_column = ln.least(e, w.add(first_column, s["part_columns"]), s["columns"])
    left = _part(w, "f32", c["left_packed"], (number, s["left_packed"]))
    right = _part(w, "f32", c["right_packed"], (number, s["right_packed"]))
    result = _part(w, "bf16", c["result"], (number, s["result_next"]))
    columns = Loop(e, first_column, last_column, width)
    b = _part(w, "f32", right, (w.op("udiv", columns.index, side), s["band"]))
    wide = ln.least(e, str(width), w.op("sub", last_column, columns.index))
    rows = Loop(e, first_row, last_row, width)
    a = _part(w, "f32", left, (w.op("udiv", rows.index, side), s["band"]))
    high = ln.least(e, str(width), w.op("sub", last_row, rows.index))
    target = w.place("bf16", result, w.add(w.mul(rows.index, s["columns"]), columns.index))
    e.line(f"call void @cell(ptr {a}, ptr {b}, i64 {squares}, i64 {s['band']}, ptr {cell})")
    e.line(f"call void @finish(ptr {cell}, i64 {high}, i64 {wide}, ptr {target}, "
           f"i64 {s['columns']}, ptr {w.place('bf16', c['row'], columns.index)})")
    for loop in (rows, columns, units):
        loop.close()
    if way is Way.TILES:
        e.line("call void @llvm.x86.tilerelease()")
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _tiles_text(side: int) -> str:
    """What tells the processor that each of its 8 tiles has 16 rows of 64 bytes."""
    row_bytes = [4 * side, 0] * 8
    table = [1, *[0] * 15, *row_bytes, *[0] * 16, *[side] * 8, *[0] * 8]
    items = ", ".join(f"i8 {item}" for item in table)
    return f"@tiles = private constant [64 x i8] [{items}], align 64"


def print_multiply(way: Way, vector_bytes: int, program: Pointwise | None = None) -> str:
    """Return the module of the kernels `pack` and `kernel`, with a program on the result."""
    side = side_of(vector_bytes)
    cell = tile_cell_text(side) if way is Way.TILES else vector_cell_text(side, way)
    parts = [band_text("left_band", side, False), band_text("right_band", side, True), cell,
             finish_text(side, program), pack_text(side), multiply_text(side, way)]
    if way is Way.TILES:
        parts.insert(0, (_tiles_text(side), set()))
    return conv_text.module(parts, vector_bytes)
