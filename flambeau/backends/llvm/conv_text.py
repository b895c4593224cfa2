"""LLVM text of convolution: products of packed weights with windows of padded planes.

An image's channels are copied into planes with their padding; where the stride is more than one, a
plane is cut into phases, of every s-th item each. Then every tap of the kernel reads a window of
neighbouring items, at an offset from a table: the product's right operand is packed from there,
tile by tile, and never stored whole. Axes are three everywhere (depth, height, width).

Parameters are i64 tables, whose entries the classes of names below number.
"""

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.emit import LLVM_TYPE, Emitter
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import STORED, lane_mask, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES
from flambeau.backends.llvm.tiles import Tile, tile_text

# entries of the table of planes: the channels, the items from one channel to the next in the source
# and in the planes, the sizes of the source and of a phase's plane, the strides, the number of
# phases; then for every phase where its items start on each axis, and which columns are inside
PLANES = ("channels", "source_pitch", "plane_pitch", "depth", "height", "width", "plane_depth",
          "plane_height", "plane_width", "stride_depth", "stride_height", "stride_width", "phases")
PHASE = ("start_depth", "start_height", "start_width", "first", "last")


class Writer:
    """An emitter with arithmetic on i64 and a table of named parameters."""

    def __init__(self, lanes: int) -> None:
        self.e = Emitter(lanes)
        self.e.label("entry")

    def op(self, name: str, a: str | int, b: str | int) -> str:
        return self.e.assign(f"{name} i64 {a}, {b}")

    def add(self, a: str | int, b: str | int) -> str:
        return self.op("add", a, b)

    def mul(self, a: str | int, b: str | int) -> str:
        return self.op("mul", a, b)

    def test(self, predicate: str, a: str | int, b: str | int) -> str:
        return self.e.assign(f"icmp {predicate} i64 {a}, {b}")

    def choose(self, condition: str, a: str | int, b: str | int) -> str:
        return self.e.assign(f"select i1 {condition}, i64 {a}, i64 {b}")

    def read(self, table: str, at: str | int) -> str:
        place = self.e.assign(f"getelementptr i64, ptr {table}, i64 {at}")
        return self.e.assign(f"load i64, ptr {place}")

    def named(self, table: str, names: tuple[str, ...], at: str | int = 0) -> dict[str, str]:
        """The parameters of a table from `at` on, by their names."""
        return {name: self.read(table, self.add(at, i) if at else i)
                for i, name in enumerate(names)}

    def place(self, kind: str, base: str, at: str | int) -> str:
        return self.e.assign(f"getelementptr {STORED[kind]}, ptr {base}, i64 {at}")

    def function(self, head: str) -> str:
        self.e.line("ret void")
        return "\n".join([f"define {head} #0 {{", *self.e.lines, "}"])


def fill_text(kind: str, lanes: int) -> tuple[str, set[str]]:
    """``fill(source, planes, table)``: one image's channels into padded planes.

    Rows are written in whole vectors, which go beyond their ends: the next row comes after, and
    the planes have room behind them.
    """
    w = Writer(lanes)
    e, t = w.e, w.named("%table", PLANES)
    channels = Loop(e, 0, t["channels"])
    source = w.place(kind, "%source", w.mul(channels.index, t["source_pitch"]))
    target = w.place(kind, "%planes", w.mul(channels.index, t["plane_pitch"]))
    rows_of_plane = w.mul(t["plane_depth"], t["plane_height"])
    phases = Loop(e, 0, t["phases"])
    p = w.named("%table", PHASE, w.add(w.mul(phases.index, len(PHASE)), len(PLANES)))
    rows = Loop(e, 0, rows_of_plane)
    row = w.add(w.mul(phases.index, rows_of_plane), rows.index)
    line = w.place(kind, target, w.mul(row, t["plane_width"]))
    depth = w.op("udiv", rows.index, t["plane_height"])
    height = w.op("urem", rows.index, t["plane_height"])
    z = w.add(w.mul(depth, t["stride_depth"]), p["start_depth"])
    y = w.add(w.mul(height, t["stride_height"]), p["start_height"])
    inside = e.assign(f"and i1 {w.test('ult', z, t['depth'])}, {w.test('ult', y, t['height'])}")
    first = w.choose(inside, p["first"], t["plane_width"])
    last = w.choose(inside, p["last"], t["plane_width"])
    _zeros(w, kind, line, "0", first)
    start = w.mul(w.add(w.mul(z, t["height"]), y), t["width"])
    start = w.add(start, p["start_width"])
    _copy_row(w, kind, w.place(kind, source, start), line, (first, last), t["stride_width"])
    _zeros(w, kind, line, last, t["plane_width"])
    for loop in (rows, phases, channels):
        loop.close()
    return w.function("internal void @fill(ptr %source, ptr %planes, ptr %table)"), e.declarations


def _zeros(w: Writer, kind: str, line: str, first: str, last: str) -> None:
    loop = Loop(w.e, first, last, w.e.lanes)
    store_vector(w.e, w.e.const(kind, 0), line, loop.index, None)
    loop.close()


def _copy_row(
    w: Writer, kind: str, source: str, line: str, bounds: tuple[str, str], stride: str
) -> None:
    """line[i] = source[i * stride]; with zeros behind the last, to the end of its vector."""
    e, (first, last) = w.e, bounds
    dense = w.test("eq", stride, 1)
    limit = w.choose(dense, last, first)
    loop = Loop(e, first, limit, e.lanes)
    mask = lane_mask(e, w.op("sub", last, loop.index))
    store_vector(e, load_vector(e, kind, source, loop.index, mask), line, loop.index, None)
    loop.close()
    loop = Loop(e, w.choose(dense, last, first), last)
    at = w.place(kind, source, w.mul(loop.index, stride))
    item = e.value(kind, f"load {LLVM_TYPE[kind]}, ptr {at}, align {ITEM_BYTES[kind]}")
    ln.store_item(e, item, line, loop.index)
    loop.close()


SIZES = ("out_height", "out_width", "plane_height", "plane_width")


def plane_place(w: Writer, position: str, t: dict[str, str]) -> tuple[str, str]:
    """Where a position of the result lies in a plane, and how many follow in its row."""
    row = w.op("udiv", position, t["out_width"])
    column = w.op("urem", position, t["out_width"])
    z, y = w.op("udiv", row, t["out_height"]), w.op("urem", row, t["out_height"])
    line = w.add(w.mul(z, t["plane_height"]), y)
    at = w.add(w.mul(line, t["plane_width"]), column)
    return at, w.op("sub", t["out_width"], column)


def pack_text(tile: Tile) -> tuple[str, set[str]]:
    """``pack(planes, offsets, depth, panel, position, count, sizes)``: windows as a panel.

    For every offset the `count` positions from `position` on, a tile's columns at the most. Rows of
    the panel are written in whole vectors, one row after another, and have room behind them.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    t = w.named("%sizes", SIZES)
    table = e.assign(f"alloca [{3 * tile.columns} x i64]")
    pieces = _list_pieces(w, table, t)
    steps = Loop(e, 0, "%depth")
    window = w.place(kind, "%planes", w.read("%offsets", steps.index))
    line = w.place(kind, "%panel", w.mul(steps.index, tile.columns))
    each = Loop(e, 0, pieces)
    entry = w.mul(each.index, 3)
    source = w.place(kind, window, w.read(table, entry))
    target = w.place(kind, line, w.read(table, w.add(entry, 1)))
    vectors = Loop(e, 0, w.read(table, w.add(entry, 2)), tile.lanes)
    store_vector(e, load_vector(e, kind, source, vectors.index, None), target, vectors.index, None)
    for loop in (vectors, each, steps):
        loop.close()
    head = ("internal void @pack(ptr %planes, ptr %offsets, i64 %depth, ptr %panel, "
            "i64 %position, i64 %count, ptr %sizes)")
    return w.function(head), e.declarations


def _list_pieces(w: Writer, table: str, t: dict[str, str]) -> str:
    """Write where every run of neighbours starts, in the plane and in the panel, and its length."""
    e = w.e
    counter = e.assign("alloca i64")
    e.line(f"store i64 0, ptr {counter}")
    loop = Loop(e, 0, "%count")
    at, left = plane_place(w, w.add("%position", loop.index), t)
    length = ln.least(e, left, w.op("sub", "%count", loop.index))
    number = w.read(counter, 0)
    for i, value in enumerate((at, loop.index, length)):
        place = e.assign(f"getelementptr i64, ptr {table}, i64 {w.add(w.mul(number, 3), i)}")
        e.line(f"store i64 {value}, ptr {place}")
    e.line(f"store i64 {w.add(number, 1)}, ptr {counter}")
    loop.step = length
    loop.close()
    return w.read(counter, 0)


# entries of the table of a phase of the result: where its packed weights and its offsets start, the
# depth of the product, the rows (channels) of the result, its positions on each axis, where the
# result starts, and how far apart its channels and its positions on each axis are
RESULT = ("weights", "offsets", "depth", "rows", "out_depth", "out_height", "out_width",
          "plane_height", "plane_width", "start", "row_pitch", "step_depth", "step_height",
          "step_width", "dense")


def write_text(tile: Tile) -> tuple[str, set[str]]:
    """``write(tile, result, rows, position, count, table)``: a part of a tile to its places."""
    w = Writer(1)
    e, kind = w.e, tile.kind
    t = w.named("%table", RESULT)
    columns = Loop(e, 0, "%count")
    position = w.add("%position", columns.index)
    row = w.op("udiv", position, t["out_width"])
    x = w.op("urem", position, t["out_width"])
    z, y = w.op("udiv", row, t["out_height"]), w.op("urem", row, t["out_height"])
    at = w.add(w.mul(z, t["step_depth"]), w.mul(y, t["step_height"]))
    at = w.add(at, w.mul(x, t["step_width"]))
    rows = Loop(e, 0, "%rows")
    source = w.place(kind, "%tile", w.add(w.mul(rows.index, tile.columns), columns.index))
    item = e.value(kind, f"load {LLVM_TYPE[kind]}, ptr {source}, align {ITEM_BYTES[kind]}")
    ln.store_item(e, item, "%result", w.add(at, w.mul(rows.index, t["row_pitch"])))
    rows.close()
    columns.close()
    head = ("internal void @write(ptr %tile, ptr %result, i64 %rows, i64 %position, i64 %count, "
            "ptr %table)")
    return w.function(head), e.declarations


SLOTS_TEXT = """
define internal i64 @claim(ptr %flags) {
entry:
  br label %try
try:
  %slot = phi i64 [0, %entry], [%after, %next]
  %place = getelementptr i64, ptr %flags, i64 %slot
  %swap = cmpxchg ptr %place, i64 0, i64 1 acq_rel monotonic
  %won = extractvalue {i64, i1} %swap, 1
  br i1 %won, label %done, label %next
next:
  %after = add i64 %slot, 1
  br label %try
done:
  ret i64 %slot
}
define internal void @release(ptr %flags, i64 %slot) {
  %place = getelementptr i64, ptr %flags, i64 %slot
  store atomic i64 0, ptr %place release, align 8
  ret void
}
"""

# what a unit of work of `convolve` needs: it makes one part of one group of one image
WORK = ("groups", "parts", "source_image", "source_group", "result_image", "result_group",
        "weights_group", "start_group", "phases", "panel_at", "slot_items")
# what its context holds
CONVOLVE = ("result", "source", "weights", "start", "offsets", "planes", "results", "work",
            "scratch", "flags")


def convolve_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of forward convolutions and of input gradients."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = {name: e.assign(f"load ptr, ptr {_context(e, i)}") for i, name in enumerate(CONVOLVE)}
    work = w.named(c["work"], WORK)
    buffer = e.assign(f"alloca [{tile.rows * tile.columns} x {STORED[kind]}], align 64")
    units = Loop(e, "%begin", "%end")
    part = w.op("urem", units.index, work["parts"])
    rest = w.op("udiv", units.index, work["parts"])
    group, image = w.op("urem", rest, work["groups"]), w.op("udiv", rest, work["groups"])
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    planes = w.place(kind, c["scratch"], w.mul(slot, work["slot_items"]))
    panel = w.place(kind, planes, work["panel_at"])
    source = _of_unit(w, kind, c["source"], work, "source", image, group)
    result = _of_unit(w, kind, c["result"], work, "result", image, group)
    e.line(f"call void @fill(ptr {source}, ptr {planes}, ptr {c['planes']})")
    weights = w.place(kind, c["weights"], w.mul(group, work["weights_group"]))
    start = w.place(kind, c["start"], w.mul(group, work["start_group"]))
    phases = Loop(e, 0, work["phases"])
    table = w.place("i64", c["results"], w.mul(phases.index, len(RESULT)))
    parts = (part, work["parts"])
    places = {"planes": planes, "panel": panel, "weights": weights, "start": start,
              "offsets": c["offsets"], "result": result, "buffer": buffer, "table": table}
    _print_phase(w, tile, parts, places)
    phases.close()
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _context(e: Emitter, number: int) -> str:
    return e.assign(f"getelementptr ptr, ptr %context, i64 {number}")


def _of_unit(
    w: Writer, kind: str, base: str, work: dict[str, str], name: str, image: str, group: str
) -> str:
    """Where this image's group starts."""
    at = w.add(w.mul(image, work[f"{name}_image"]), w.mul(group, work[f"{name}_group"]))
    return w.place(kind, base, at)


def _print_phase(w: Writer, tile: Tile, parts: tuple[str, str], places: dict[str, str]) -> None:
    """This part's tiles of one phase of the result."""
    e, kind = w.e, tile.kind
    t = w.named(places["table"], RESULT)
    count = w.mul(w.mul(t["out_depth"], t["out_height"]), t["out_width"])
    tiles = w.op("udiv", w.add(count, tile.columns - 1), tile.columns)
    first, last = (w.op("udiv", w.mul(tiles, number), parts[1])
                   for number in (parts[0], w.add(parts[0], 1)))
    result = w.place(kind, places["result"], t["start"])
    weights = w.place(kind, places["weights"], t["weights"])
    offsets = w.place("i64", places["offsets"], t["offsets"])
    sizes = w.place("i64", places["table"], RESULT.index("out_height"))
    each = Loop(e, first, last)
    position = w.mul(each.index, tile.columns)
    here = ln.least(e, w.op("sub", count, position), str(tile.columns))
    e.line(f"call void @pack(ptr {places['planes']}, ptr {offsets}, i64 {t['depth']}, "
           f"ptr {places['panel']}, i64 {position}, i64 {here}, ptr {sizes})")
    full = e.assign(f"and i1 {w.test('eq', here, tile.columns)}, {w.test('ne', t['dense'], 0)}")
    rows = Loop(e, 0, t["rows"], tile.rows)
    a = w.place(kind, weights, w.mul(rows.index, t["depth"]))
    start = w.place(kind, places["start"], rows.index)
    target = w.place(kind, result, w.mul(rows.index, t["row_pitch"]))
    left = ln.least(e, w.op("sub", t["rows"], rows.index), str(tile.rows))
    direct = e.assign(f"and i1 {full}, {w.test('eq', left, tile.rows)}")
    dense = w.place(kind, target, position)
    place = e.assign(f"select i1 {direct}, ptr {dense}, ptr {places['buffer']}")
    pitch = w.choose(direct, t["row_pitch"], tile.columns)
    e.line(f"call void @tile(ptr {a}, ptr {places['panel']}, i64 {t['depth']}, ptr {place}, "
           f"i64 {pitch}, ptr {start})")
    indirect = Branch(e, e.assign(f"xor i1 {direct}, true"))
    e.line(f"call void @write(ptr {places['buffer']}, ptr {target}, i64 {left}, i64 {position}, "
           f"i64 {here}, ptr {places['table']})")
    indirect.close()
    rows.close()
    each.close()


def module(parts: list[tuple[str, set[str]]], vector_bytes: int) -> str:
    """One module of several functions."""
    declared = sorted(set().union(*[declarations for _, declarations in parts]))
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{8 * vector_bytes}" }}'
    texts = [text for text, _ in parts]
    return "\n".join([*declared, SLOTS_TEXT, *texts, attributes]) + "\n"


def print_convolve(tile: Tile, vector_bytes: int) -> str:
    """Return the module of the kernel `convolve`."""
    parts = [fill_text(tile.kind, tile.lanes), pack_text(tile), write_text(tile),
             tile_text("tile", tile, False), convolve_text(tile)]
    return module(parts, vector_bytes)
