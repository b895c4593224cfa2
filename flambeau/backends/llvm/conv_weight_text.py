"""LLVM text of a convolution's weight gradient: a product over the positions of the result.

The left operand are the windows of the padded planes, a row for every weight, read as they lie: a
line of neighbouring positions, then the next line. The right one are strips of the gradient, turned
over so that the channels of a position stand side by side.
"""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import least_rows, panel_text
from flambeau.backends.llvm.printer import (
    STORED,
    lane_mask,
    load_vector,
    store_vector,
)
from flambeau.backends.llvm.strided_tiles import multiply
from flambeau.backends.llvm.tiles import UNROLL, Tile

# a unit makes the weights of `part_rows` rows of one group's gradient from `chunk` images, of which
# it takes `together` at a time, and of their lines of positions a block
WORK = ("images", "chunk", "together", "groups", "parts", "part_rows", "rows", "source_image",
        "source_group", "gradient_image", "gradient_group", "positions", "lines", "length", "block",
        "weights", "plane_items", "strips_at", "slot_items", "result_pitch", "result_rows")
# offsets of the weights, and where lines start in the planes of the images taken together
CONTEXT = ("result", "source", "gradient", "offsets", "starts", "planes", "work", "scratch",
           "flags")


def weight_tile_text(name: str, tile: Tile) -> tuple[str, set[str]]:
    """``name(planes, offsets, starts, lines, length, strip, c, pitch)``: some weights are added to.

    Its rows are weights, whose windows lie at `offsets` in the planes; its columns are those of the
    strip, which has a row for every position of the lines.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    windows = [w.place(kind, "%planes", w.read("%offsets", row)) for row in range(tile.rows)]
    places = [w.mul("%pitch", row) for row in range(tile.rows)]
    cells = [(row, v) for row in range(tile.rows) for v in range(tile.vectors)]
    totals = [load_vector(e, kind, "%c", w.add(places[row], v * tile.lanes), None)
              for row, v in cells]
    whole = w.op("sub", "%length", w.op("urem", "%length", UNROLL))
    size = w.mul("%length", tile.columns)
    lines = Loop(e, 0, "%lines", 1, totals)
    start = w.read("%starts", lines.index)
    strip = w.place(kind, "%strip", w.mul(lines.index, size))
    loop = Loop(e, 0, whole, UNROLL, lines.values)
    values = loop.values
    for step in range(UNROLL):
        values = _step(w, tile, (windows, strip, start), w.add(loop.index, step), values)
    last = Loop(e, whole, "%length", 1, loop.close(values))
    values = last.close(_step(w, tile, (windows, strip, start), last.index, last.values))
    found = lines.close(values)
    for (row, v), value in zip(cells, found, strict=True):
        store_vector(e, value, "%c", w.add(places[row], v * tile.lanes), None)
    head = (f"internal void @{name}(ptr %planes, ptr %offsets, ptr %starts, i64 %lines, "
            "i64 %length, ptr %strip, ptr %c, i64 %pitch)")
    return w.function(head), e.declarations


def _step(w: Writer, tile: Tile, at: tuple[list[str], str, str], position: str,
          totals: list[Value]) -> list[Value]:
    windows, strip, start = at
    row_of_strip = w.place(tile.kind, strip, w.mul(position, tile.columns))
    return multiply(w, tile, row_of_strip, windows, w.add(start, position), totals)


def dots_text(name: str, tile: Tile) -> tuple[str, set[str]]:
    """``name(planes, offsets, starts, lines, length, gradient, c, pitch)``: some weights' sums.

    As `weight_tile_text`, of one row of the gradient as it lies: its positions are in the lanes.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    windows = [w.place(kind, "%planes", w.read("%offsets", row)) for row in range(tile.rows)]
    rest = w.op("urem", "%length", tile.lanes)
    whole, mask = w.op("sub", "%length", rest), lane_mask(e, rest)
    lines = Loop(e, 0, "%lines", 1, [e.const(kind, 0.0)] * tile.rows)
    start = w.read("%starts", lines.index)
    line = w.place(kind, "%gradient", w.mul(lines.index, "%length"))
    some = Loop(e, 0, whole, tile.lanes, lines.values)
    totals = some.close(_dots_step(w, tile, (windows, line, start), some.index, None, some.values))
    left = Branch(e, w.test("ne", rest, 0))
    more = _dots_step(w, tile, (windows, line, start), whole, mask, totals)
    for row, total in enumerate(lines.close(left.close(more, totals))):
        summed = ln.fold_lanes(e, "sum", total)
        ln.add_item(e, summed, w.place(kind, "%c", w.mul("%pitch", row)))
    head = (f"internal void @{name}(ptr %planes, ptr %offsets, ptr %starts, i64 %lines, "
            "i64 %length, ptr %gradient, ptr %c, i64 %pitch)")
    return w.function(head), e.declarations


def _dots_step(w: Writer, tile: Tile, at: tuple[list[str], str, str], position: str,
               mask: str | None, totals: list[Value]) -> list[Value]:
    e, kind, (windows, line, start) = w.e, tile.kind, at
    slope = load_vector(e, kind, line, position, mask)
    here = w.add(start, position)
    return [e.fma(load_vector(e, kind, window, here, mask), slope, total)
            for window, total in zip(windows, totals, strict=True)]


def weigh_text(tile: Tile, alone: bool) -> tuple[str, set[str]]:
    """The kernel of weight gradients; the result, (chunks, groups, weights, rows), is zeros.

    Where groups have few rows these stand `alone`.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = w.pointers(CONTEXT)
    work = w.named(c["work"], WORK)
    units = Loop(e, "%begin", "%end")
    part = w.op("urem", units.index, work["parts"])
    rest = w.op("udiv", units.index, work["parts"])
    group, chunk = w.op("urem", rest, work["groups"]), w.op("udiv", rest, work["groups"])
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    first_row = w.mul(part, work["part_rows"])
    rows = ln.least(e, work["part_rows"], w.op("sub", work["rows"], first_row))
    result = w.add(w.mul(w.mul(rest, work["result_rows"]), work["result_pitch"]), first_row)
    lead = w.add(w.mul(group, work["gradient_group"]), w.mul(first_row, work["positions"]))
    places = {
        "scratch": w.place(kind, c["scratch"], w.mul(slot, work["slot_items"])),
        "result": w.place(kind, c["result"], result),
        "source": w.place(kind, c["source"], w.mul(group, work["source_group"])),
        "gradient": w.place(kind, c["gradient"], lead),
    }
    image = w.mul(chunk, work["chunk"])
    last = ln.least(e, w.add(image, work["chunk"]), work["images"])
    some = Loop(e, image, last, work["together"])
    here = ln.least(e, work["together"], w.op("sub", last, some.index))
    print_images = _print_images_alone if alone else _print_images
    print_images(w, tile, c, work, places, (some.index, here, rows))
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
    """A few images: their planes, then blocks of their lines."""
    e, kind, (image, count, rows) = w.e, tile.kind, at
    each = Loop(e, 0, count)
    number = w.mul(w.add(image, each.index), work["source_image"])
    planes = w.place(kind, places["scratch"], w.mul(each.index, work["plane_items"]))
    e.line(f"call void @fill(ptr {w.place(kind, places['source'], number)}, ptr {planes}, "
           f"ptr {c['planes']})")
    each.close()
    blocks = Loop(e, 0, work["lines"], work["block"])
    lines = ln.least(e, work["block"], w.op("sub", work["lines"], blocks.index))
    size = w.mul(lines, work["length"])
    strip = w.place(kind, places["scratch"], work["strips_at"])
    strips = Loop(e, 0, rows, tile.columns)
    each = Loop(e, 0, count)
    number = w.mul(w.add(image, each.index), work["gradient_image"])
    number = w.add(number, w.mul(strips.index, work["positions"]))
    number = w.add(number, w.mul(blocks.index, work["length"]))
    target = w.place(kind, strip, w.mul(w.mul(each.index, size), tile.columns))
    e.line(f"call void @panel(ptr {w.place(kind, places['gradient'], number)}, "
           f"i64 {work['positions']}, i64 {least_rows(w, rows, strips.index, tile.columns)}, "
           f"i64 {size}, ptr {target})")
    each.close()
    tiles = Loop(e, 0, work["weights"], tile.rows)
    cell = w.add(w.mul(tiles.index, work["result_pitch"]), strips.index)
    offsets, starts = (w.place("i64", c[name], at) for name, at in
                       (("offsets", tiles.index), ("starts", blocks.index)))
    result = w.place(kind, places["result"], cell)
    e.line(f"call void @tile(ptr {places['scratch']}, ptr {offsets}, ptr {starts}, "
           f"i64 {w.mul(lines, count)}, i64 {work['length']}, ptr {strip}, ptr {result}, "
           f"i64 {work['result_pitch']})")
    for loop in (tiles, strips, blocks):
        loop.close()


def _print_images_alone(
    w: Writer,
    tile: Tile,
    c: dict[str, str],
    work: dict[str, str],
    places: dict[str, str],
    at: tuple[str, str, str],
) -> None:
    """A few images, one after another: their planes, then every row of the gradient."""
    e, kind, (image, count, rows) = w.e, tile.kind, at
    each = Loop(e, 0, count)
    number = w.add(image, each.index)
    source = w.place(kind, places["source"], w.mul(number, work["source_image"]))
    e.line(f"call void @fill(ptr {source}, ptr {places['scratch']}, ptr {c['planes']})")
    gradient = w.place(kind, places["gradient"], w.mul(number, work["gradient_image"]))
    row = Loop(e, 0, rows)
    line = w.place(kind, gradient, w.mul(row.index, work["positions"]))
    tiles = Loop(e, 0, work["weights"], tile.rows)
    cell = w.add(w.mul(tiles.index, work["result_pitch"]), row.index)
    offsets = w.place("i64", c["offsets"], tiles.index)
    e.line(f"call void @dots(ptr {places['scratch']}, ptr {offsets}, ptr {c['starts']}, "
           f"i64 {work['lines']}, i64 {work['length']}, ptr {line}, "
           f"ptr {w.place(kind, places['result'], cell)}, i64 {work['result_pitch']})")
    for loop in (tiles, row, each):
        loop.close()


def print_weigh(tile: Tile, vector_bytes: int, alone: bool) -> str:
    """Return the module of the kernel of weight gradients."""
    assert STORED[tile.kind] in ("float", "double")
    inner = [dots_text("dots", tile)] if alone else [panel_text(tile),
                                                     weight_tile_text("tile", tile)]
    parts = [conv_text.fill_text(tile.kind, tile.lanes), *inner, weigh_text(tile, alone)]
    return conv_text.module(parts, vector_bytes)
