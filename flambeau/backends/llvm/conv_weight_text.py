"""LLVM text of a convolution's weight gradient: a product over the positions of the result.

The left operand is the gradient, packed position by position; the right one are the windows of the
padded planes, turned over so that the weights of a position stand side by side.
"""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import SIZES, Writer
from flambeau.backends.llvm.emit import LLVM_TYPE, Value
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import STORED, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES
from flambeau.backends.llvm.tiles import Tile, tile_text

# a unit makes `part_rows` rows of one group's gradient from `chunk` images, of which it takes
# `together` at a time, and of their positions a block
WORK = ("images", "chunk", "together", "groups", "parts", "part_rows", "rows", "source_image",
        "source_group", "gradient_image", "gradient_group", "positions", "block", "weights",
        "plane_items", "left_at", "panel_at", "slot_items", "result_pitch", "result_rows")
CONTEXT = ("result", "source", "gradient", "offsets", "planes", "sizes", "work", "scratch",
           "flags")


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


def pack_turned_text(tile: Tile) -> tuple[str, set[str]]:
    """``turned(planes, offsets, panel, position, count, sizes)``: a panel of positions.

    Rows are positions, columns a tile's columns of offsets. Squares of vectors go beyond the end of
    a run of neighbours: what comes next overwrites that, and the panel has room behind it.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    t = w.named("%sizes", SIZES)
    runs = Loop(e, 0, "%count")
    at, left = conv_text.plane_place(w, w.add("%position", runs.index), t)
    length = ln.least(e, left, w.op("sub", "%count", runs.index))
    squares = Loop(e, 0, length, tile.lanes)
    place = w.add(at, squares.index)
    row = w.add(runs.index, squares.index)
    for v in range(tile.vectors):
        rows = []
        for lane in range(tile.lanes):
            window = w.read("%offsets", v * tile.lanes + lane)
            rows.append(load_vector(e, kind, "%planes", w.add(window, place), None))
        for lane, value in enumerate(turn(w, rows)):
            target = w.mul(w.add(row, lane), tile.columns)
            store_vector(e, value, "%panel", w.add(target, v * tile.lanes), None)
    squares.close()
    runs.step = length
    runs.close()
    head = ("internal void @turned(ptr %planes, ptr %offsets, ptr %panel, i64 %position, "
            "i64 %count, ptr %sizes)")
    return w.function(head), e.declarations


def pack_left_text(tile: Tile) -> tuple[str, set[str]]:
    """``left(gradient, pitch, rows, count, target, block)``: columns of a matrix as tile rows.

    Row after row of a tile at every position; `block` items from one tile to the next. Rows up to
    a whole tile are zeros.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    blocks = Loop(e, 0, "%rows", tile.rows)
    number = w.op("udiv", blocks.index, tile.rows)
    target = w.place(kind, "%target", w.mul(number, "%block"))
    for row in range(tile.rows):
        this = w.add(blocks.index, row)
        there = w.test("slt", this, "%rows")
        source = w.place(kind, "%gradient", w.mul(this, "%pitch"))
        end = w.choose(there, "%count", 0)
        rest = w.op("urem", end, tile.lanes)
        whole = Loop(e, 0, w.op("sub", end, rest), tile.lanes)
        vector = load_vector(e, kind, source, whole.index, None)
        for lane in range(tile.lanes):
            text = f"extractelement {e.type(kind)} {vector.text}, i64 {lane}"
            at = w.add(w.mul(w.add(whole.index, lane), tile.rows), row)
            ln.store_item(e, e.value(kind, text), target, at)
        whole.close()
        single = Loop(e, w.op("sub", end, rest), end)
        text = f"load {LLVM_TYPE[kind]}, ptr {w.place(kind, source, single.index)}"
        item = e.value(kind, f"{text}, align {ITEM_BYTES[kind]}")
        ln.store_item(e, item, target, w.add(w.mul(single.index, tile.rows), row))
        single.close()
        zero = "0.0" if kind in ("f32", "f64") else "0"
        empty = Loop(e, end, "%count")
        at = w.add(w.mul(empty.index, tile.rows), row)
        ln.store_item(e, Value(zero, kind), target, at)
        empty.close()
    blocks.close()
    head = ("internal void @left(ptr %gradient, i64 %pitch, i64 %rows, i64 %count, ptr %target, "
            "i64 %block)")
    return w.function(head), e.declarations


def weigh_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of weight gradients; the result, (chunks, groups, rows, weights), is zeros."""
    w = Writer(tile.lanes)
    e = w.e
    c = {}
    for number, name in enumerate(CONTEXT):
        place = e.assign(f"getelementptr ptr, ptr %context, i64 {number}")
        c[name] = e.assign(f"load ptr, ptr {place}")
    work = w.named(c["work"], WORK)
    units = Loop(e, "%begin", "%end")
    part = w.op("urem", units.index, work["parts"])
    rest = w.op("udiv", units.index, work["parts"])
    group, chunk = w.op("urem", rest, work["groups"]), w.op("udiv", rest, work["groups"])
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    first_row = w.mul(part, work["part_rows"])
    rows = ln.least(e, work["part_rows"], w.op("sub", work["rows"], first_row))
    result_row = w.add(w.mul(rest, work["result_rows"]), first_row)
    kind = tile.kind
    places = {
        "scratch": w.place(kind, c["scratch"], w.mul(slot, work["slot_items"])),
        "result": w.place(kind, c["result"], w.mul(result_row, work["result_pitch"])),
        "source": w.place(kind, c["source"], w.mul(group, work["source_group"])),
    }
    lead = w.add(w.mul(group, work["gradient_group"]), w.mul(first_row, work["positions"]))
    places["gradient"] = w.place(kind, c["gradient"], lead)
    image = w.mul(chunk, work["chunk"])
    last = ln.least(e, w.add(image, work["chunk"]), work["images"])
    some = Loop(e, image, last, work["together"])
    here = ln.least(e, work["together"], w.op("sub", last, some.index))
    _print_images(w, tile, c, work, places, (some.index, here, rows))
    some.close()
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _print_images(
    w: Writer,
    tile: Tile,
    c: dict[str, str],
    work: dict[str, str],
    places: dict[str, str],
    at: tuple[str, str, str],
) -> None:
    """A few images: their planes, then blocks of their positions."""
    e, kind, (image, count, rows) = w.e, tile.kind, at
    each = Loop(e, 0, count)
    number = w.mul(w.add(image, each.index), work["source_image"])
    planes = w.place(kind, places["scratch"], w.mul(each.index, work["plane_items"]))
    e.line(f"call void @fill(ptr {w.place(kind, places['source'], number)}, ptr {planes}, "
           f"ptr {c['planes']})")
    each.close()
    blocks = Loop(e, 0, work["positions"], work["block"])
    size = ln.least(e, work["block"], w.op("sub", work["positions"], blocks.index))
    depth = w.mul(size, count)
    left = w.place(kind, places["scratch"], work["left_at"])
    panel = w.place(kind, places["scratch"], work["panel_at"])
    step = w.mul(depth, tile.rows)
    each = Loop(e, 0, count)
    number = w.mul(w.add(image, each.index), work["gradient_image"])
    source = w.place(kind, places["gradient"], w.add(number, blocks.index))
    target = w.place(kind, left, w.mul(w.mul(each.index, size), tile.rows))
    e.line(f"call void @left(ptr {source}, i64 {work['positions']}, i64 {rows}, i64 {size}, "
           f"ptr {target}, i64 {step})")
    each.close()
    panels = Loop(e, 0, work["weights"], tile.columns)
    each = Loop(e, 0, count)
    planes = w.place(kind, places["scratch"], w.mul(each.index, work["plane_items"]))
    target = w.place(kind, panel, w.mul(w.mul(each.index, size), tile.columns))
    offsets = w.place("i64", c["offsets"], panels.index)
    e.line(f"call void @turned(ptr {planes}, ptr {offsets}, ptr {target}, i64 {blocks.index}, "
           f"i64 {size}, ptr {c['sizes']})")
    each.close()
    tiles = Loop(e, 0, rows, tile.rows)
    a = w.place(kind, left, w.mul(w.op("udiv", tiles.index, tile.rows), step))
    cell = w.add(w.mul(tiles.index, work["result_pitch"]), panels.index)
    e.line(f"call void @tile(ptr {a}, ptr {panel}, i64 {depth}, "
           f"ptr {w.place(kind, places['result'], cell)}, i64 {work['result_pitch']}, ptr null)")
    for loop in (tiles, panels, blocks):
        loop.close()


def print_weigh(tile: Tile, vector_bytes: int) -> str:
    """Return the module of the kernel of weight gradients."""
    assert STORED[tile.kind] in ("float", "double")
    parts = [conv_text.fill_text(tile.kind, tile.lanes), pack_turned_text(tile),
             pack_left_text(tile), tile_text("tile", tile, True), weigh_text(tile)]
    return conv_text.module(parts, vector_bytes)
