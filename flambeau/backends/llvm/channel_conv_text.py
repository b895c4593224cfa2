"""LLVM text of convolution with channels in the lanes of vectors: of results, not of the source.

Planes of the source are turned over, so that the channels of a position lie side by side. A tile of
results, some positions by some channels, stays in registers while it walks all taps and channels of
its windows: an item of a window times a vector of weights at a time. Where windows begin, and where
results go, is read from tables, so that strides, dilation and small images cost nothing more.
"""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import negated
from flambeau.backends.llvm.printer import load_vector, store_vector
from flambeau.backends.llvm.strided_tiles import lower, multiply
from flambeau.backends.llvm.tiles import UNROLL, Tile
from flambeau.backends.llvm.turned_planes import gather_text, spread_text

# Images, how many are made together, the blocks of an image, rows of windows in a block and in
# all, how far apart they are in the source and in the result, and rows of the source that one has
BLOCKS = ("images", "together", "blocks", "block_rows", "window_rows", "source_step",
          "result_step", "reach")
# Items of an image of the source and of the result, the result's channels, how many a unit of work
# makes, how many such parts there are, and sizes. Then a thread's memory, what an image has of it,
# the kinds of windows, and weights of a strip
WORK = (*BLOCKS, "source_image", "result_image", "rows", "part_rows", "parts", "height", "width",
        "results_at", "slot_items", "image_planes", "image_results", "phases", "strip_items")
# A kind of windows: where its tables of positions and places begin, how many it has in a row, and
# how many rows; where its pieces begin, and how many there are
PHASE = ("positions_at", "per_row", "rows", "pieces_at", "pieces")
# A piece of the depth: its first tap and how many, its first channel and how many, its weights
PIECE = ("taps_at", "taps", "channel", "channels", "weights_at")
CONTEXT = ("result", "source", "weights", "start", "plane", "work", "phases", "pieces",
           "positions", "places", "taps", "scratch", "flags")
# items before a thread's memory proper, where ranges are written that nobody reads
SEEN = 16
OPERANDS = ("ptr %planes, ptr %positions, ptr %taps, i64 %count, i64 %channels, ptr %weights, "
            "ptr %start, ptr %results, ptr %places")


def cells_text(name: str, tile: Tile, adds: bool) -> tuple[str, set[str]]:
    """One tile: as many positions as it has rows, by its columns of channels.

    The result begins with `start`, or with what is there where it `adds`.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    windows = [w.place(kind, "%planes", w.read("%positions", row)) for row in range(tile.rows)]
    targets = [w.place(kind, "%results", w.read("%places", row)) for row in range(tile.rows)]
    cells = [(row, v) for row in range(tile.rows) for v in range(tile.vectors)]
    totals = [load_vector(e, kind, targets[row] if adds else "%start", str(v * tile.lanes), None)
              for row, v in cells]
    whole = w.op("sub", "%channels", w.op("urem", "%channels", UNROLL))
    taps = Loop(e, 0, "%count", 1, totals)
    offset = w.read("%taps", taps.index)
    lines = [w.place(kind, window, offset) for window in windows]
    panel = w.mul(taps.index, w.mul("%channels", tile.columns))
    panel = w.place(kind, "%weights", panel)
    loop = Loop(e, 0, whole, UNROLL, taps.values)
    values = loop.values
    for step in range(UNROLL):
        values = _step(w, tile, lines, panel, w.add(loop.index, step), values)
    last = Loop(e, whole, "%channels", 1, loop.close(values))
    values = last.close(_step(w, tile, lines, panel, last.index, last.values))
    for (row, v), value in zip(cells, taps.close(values), strict=True):
        store_vector(e, value, targets[row], str(v * tile.lanes), None)
    return w.function(f"internal void @{name}({OPERANDS})"), e.declarations


def _step(w: Writer, tile: Tile, lines: list[str], panel: str, channel: str,
          totals: list[Value]) -> list[Value]:
    line = w.place(tile.kind, panel, w.mul(channel, tile.columns))
    return multiply(w, tile, line, lines, channel, totals)


def all_cells_text(name: str, tile: Tile, adds: bool) -> list[tuple[str, set[str]]]:
    """``name(planes, ..., places, rows)``: any number of positions; its tiles come with it."""
    tiles = lower(tile)
    parts = [cells_text(f"{name}{t.rows}", t, adds) for t in tiles]
    w = Writer(tile.lanes)
    e = w.e
    done = w.add(0, 0)
    for t in tiles:
        end = w.add(done, w.mul(w.op("udiv", w.op("sub", "%rows", done), t.rows), t.rows))
        loop = Loop(e, done, end, t.rows)
        positions, places = (w.place("i64", table, loop.index)
                             for table in ("%positions", "%places"))
        e.line(f"call void @{name}{t.rows}(ptr %planes, ptr {positions}, ptr %taps, i64 %count, "
               f"i64 %channels, ptr %weights, ptr %start, ptr %results, ptr {places})")
        loop.close()
        done = end
    return [*parts, (w.function(f"internal void @{name}({OPERANDS}, i64 %rows)"), e.declarations)]


def convolve_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of forward convolutions and of input gradients."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = w.pointers(CONTEXT)
    work = w.named(c["work"], WORK)
    units = Loop(e, "%begin", "%end")
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    seen = w.place(kind, c["scratch"], w.mul(slot, work["slot_items"]))
    c["planes"] = w.place(kind, seen, SEEN)
    c["results"] = w.place(kind, c["planes"], work["results_at"])
    part = w.op("urem", units.index, work["parts"])
    number = w.op("udiv", units.index, work["parts"])
    image = w.mul(w.op("udiv", number, work["blocks"]), work["together"])
    images = ln.least(e, work["together"], w.op("sub", work["images"], image))
    row = w.mul(w.op("urem", number, work["blocks"]), work["block_rows"])
    rows = ln.least(e, work["block_rows"], w.op("sub", work["window_rows"], row))
    block = {"image": image, "images": images, "row": row, "rows": rows}
    _print_spread(w, kind, c, work, block, seen)
    first = w.mul(part, work["part_rows"])
    last = ln.least(e, w.add(first, work["part_rows"]), work["rows"])
    columns = Loop(e, first, last, tile.columns)
    _print_phases(w, tile, c, work, block, columns.index)
    _print_gathered(w, tile, c, work, block, columns.index)
    columns.close()
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _print_spread(w: Writer, kind: str, c: dict[str, str], work: dict[str, str],
                  block: dict[str, str], seen: str) -> None:
    """The rows of the source that a block's windows have, of every image."""
    before = w.read(c["plane"], 4)
    first = w.op("sub", w.mul(block["row"], work["source_step"]), before)
    rows = w.add(w.mul(w.op("sub", block["rows"], 1), work["source_step"]), work["reach"])
    images = Loop(w.e, 0, block["images"])
    source = w.mul(w.add(block["image"], images.index), work["source_image"])
    planes = w.place(kind, c["planes"], w.mul(images.index, work["image_planes"]))
    w.e.line(f"call void @spread(ptr {w.place(kind, c['source'], source)}, ptr {planes}, "
             f"i64 {first}, i64 {rows}, ptr {c['plane']}, ptr {seen})")
    images.close()


def _print_phases(w: Writer, tile: Tile, c: dict[str, str], work: dict[str, str],
                  block: dict[str, str], channel: str) -> None:
    """A tile's columns of channels of a block's results, piece by piece of the depth."""
    e, kind = w.e, tile.kind
    strip = w.op("udiv", channel, tile.columns)
    weights = w.place(kind, c["weights"], w.mul(strip, work["strip_items"]))
    start = w.place(kind, c["start"], channel)
    phases = Loop(e, 0, work["phases"])
    t = w.named(w.place("i64", c["phases"], w.mul(phases.index, len(PHASE))), PHASE)
    left = w.op("sub", t["rows"], block["row"])
    left = w.choose(w.test("sgt", left, 0), left, 0)
    rows = w.mul(ln.least(e, left, block["rows"]), w.mul(t["per_row"], block["images"]))
    positions, places = (w.place("i64", c[name], t["positions_at"])
                         for name in ("positions", "places"))
    pieces = Loop(e, 0, t["pieces"])
    at = w.mul(w.add(t["pieces_at"], pieces.index), len(PIECE))
    p = w.named(w.place("i64", c["pieces"], at), PIECE)
    operands = (f"ptr {w.place(kind, c['planes'], p['channel'])}, ptr {positions}, "
                f"ptr {w.place('i64', c['taps'], p['taps_at'])}, i64 {p['taps']}, "
                f"i64 {p['channels']}, ptr {w.place(kind, weights, p['weights_at'])}, "
                f"ptr {start}, ptr {c['results']}, ptr {places}, i64 {rows}")
    begins = w.test("eq", pieces.index, 0)
    for name, wanted in (("cells", begins), ("cells_add", negated(w, begins))):
        this = Branch(e, wanted)
        e.line(f"call void @{name}({operands})")
        this.close()
    pieces.close()
    phases.close()


def _print_gathered(w: Writer, tile: Tile, c: dict[str, str], work: dict[str, str],
                    block: dict[str, str], channel: str) -> None:
    """Some channels of a block's results, to their place."""
    e, kind = w.e, tile.kind
    line = w.mul(block["row"], work["result_step"])
    lines = ln.least(e, w.mul(block["rows"], work["result_step"]),
                     w.op("sub", work["height"], line))
    count = ln.least(e, w.op("sub", work["rows"], channel), str(tile.columns))
    plane = w.mul(work["height"], work["width"])
    images = Loop(e, 0, block["images"])
    result = w.mul(w.add(block["image"], images.index), work["result_image"])
    result = w.add(w.add(result, w.mul(channel, plane)), w.mul(line, work["width"]))
    strip = w.place(kind, c["results"], w.mul(images.index, work["image_results"]))
    e.line(f"call void @gather(ptr {strip}, i64 {work['width']}, "
           f"ptr {w.place(kind, c['result'], result)}, i64 {count}, i64 {lines}, "
           f"i64 {work['height']}, i64 {work['width']})")
    images.close()


def print_convolve(tile: Tile, vector_bytes: int) -> str:
    """Return the module of the kernel."""
    parts = [spread_text(tile), *all_cells_text("cells", tile, False),
             *all_cells_text("cells_add", tile, True), gather_text(tile), convolve_text(tile)]
    return conv_text.module(parts, vector_bytes)
