"""LLVM text of convolution: products of packed weights with windows of padded planes.

An image's channels are copied into planes with their padding; where the stride is more than one, a
plane is cut into phases, of every s-th item each. Then every tap of the kernel reads a window of
neighbouring items, at an offset from a table: the product's right operand is packed from there,
tile by tile, and never stored whole. A row of the result is followed by what its window leaves of
the plane's row, so that rows follow each other without a gap; what lies between them is left out
when they are stored. Axes are three everywhere (depth, height, width).

Parameters are i64 tables, whose entries the classes of names below number.
"""

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.emit import LLVM_TYPE, Emitter
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import (
    STORED,
    lane_mask,
    load_pointers,
    load_vector,
    store_vector,
)
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

    def pointers(self, names: tuple[str, ...]) -> dict[str, str]:
        """The first pointers of the kernel's context, by their names."""
        return dict(zip(names, load_pointers(self.e, len(names)), strict=True))

    def place(self, kind: str, base: str, at: str | int) -> str:
        return self.e.assign(f"getelementptr {STORED[kind]}, ptr {base}, i64 {at}")

    def function(self, head: str) -> str:
        self.e.line("ret void")
        return "\n".join([f"define {head} #0 {{", *self.e.lines, "}"])


def fill_text(kind: str, lanes: int) -> tuple[str, set[str]]:
    """``fill(source, planes, table)``: one image's channels into padded planes.

    Planes are cleared, and rows written, in whole vectors, which go beyond their ends: the next one
    comes after, and there is room behind the last.
    """
    w = Writer(lanes)
    e, t = w.e, w.named("%table", PLANES)
    rows_of_plane = w.mul(t["plane_depth"], t["plane_height"])
    items = w.mul(w.mul(rows_of_plane, t["plane_width"]), t["phases"])
    channels = Loop(e, 0, t["channels"])
    source = w.place(kind, "%source", w.mul(channels.index, t["source_pitch"]))
    target = w.place(kind, "%planes", w.mul(channels.index, t["plane_pitch"]))
    clear = Loop(e, 0, items, lanes)
    store_vector(e, e.const(kind, 0), target, clear.index, None)
    clear.close()
    phases = Loop(e, 0, t["phases"])
    p = w.named("%table", PHASE, w.add(w.mul(phases.index, len(PHASE)), len(PLANES)))
    depths, z = _inside(w, t, p, "depth")
    heights, y = _inside(w, t, p, "height")
    row = w.add(w.mul(depths.index, t["plane_height"]), heights.index)
    row = w.add(row, w.mul(phases.index, rows_of_plane))
    line = w.place(kind, target, w.mul(row, t["plane_width"]))
    start = w.add(w.mul(w.add(w.mul(z, t["height"]), y), t["width"]), p["start_width"])
    _copy_row(w, kind, w.place(kind, source, start), line, (p["first"], p["last"]),
              t["stride_width"])
    for loop in (heights, depths, phases, channels):
        loop.close()
    return w.function("internal void @fill(ptr %source, ptr %planes, ptr %table)"), e.declarations


def _inside(w: Writer, t: dict[str, str], p: dict[str, str], axis: str) -> tuple[Loop, str]:
    """A loop over the places on an axis of a plane that have a source, and which it is."""
    stride, start = t[f"stride_{axis}"], p[f"start_{axis}"]
    # the first place is the least whose source is not before the first one
    before = w.op("sub", w.op("sub", stride, 1), start)
    before = w.choose(w.test("sgt", before, 0), before, 0)
    first = w.op("udiv", before, stride)
    behind = w.op("sub", w.op("sub", w.add(t[axis], stride), 1), start)
    behind = w.choose(w.test("sgt", behind, 0), behind, 0)
    last = ln.least(w.e, w.op("udiv", behind, stride), t[f"plane_{axis}"])
    loop = Loop(w.e, first, last)
    return loop, w.add(w.mul(loop.index, stride), start)


def _copy_row(
    w: Writer, kind: str, source: str, line: str, bounds: tuple[str, str], stride: str
) -> None:
    """line[i] = source[i * stride], with zeros behind, up to a whole vector."""
    e, (first, last) = w.e, bounds
    dense = w.test("eq", stride, 1)
    count = w.op("sub", last, first)
    rest = w.op("urem", count, e.lanes)
    whole = w.choose(dense, w.op("sub", last, rest), first)
    mask = lane_mask(e, rest)
    loop = Loop(e, first, whole, e.lanes)
    store_vector(e, load_vector(e, kind, source, loop.index, None), line, loop.index, None)
    loop.close()
    some = Branch(e, e.assign(f"and i1 {dense}, {w.test('ne', rest, 0)}"))
    store_vector(e, load_vector(e, kind, source, whole, mask), line, whole, None)
    some.close()
    begin = w.choose(dense, last, _copy_every_second(w, kind, source, line, bounds, stride))
    loop = Loop(e, begin, last)
    at = w.place(kind, source, w.mul(loop.index, stride))
    item = e.value(kind, f"load {LLVM_TYPE[kind]}, ptr {at}, align {ITEM_BYTES[kind]}")
    ln.store_item(e, item, line, loop.index)
    loop.close()


def _copy_every_second(w: Writer, kind: str, source: str, line: str, bounds: tuple[str, str],
                       stride: str) -> str:
    """Copy whole vectors where the stride is two; returns what is left to copy from.

    The last item is left, as what lies behind it may be nobody's.
    """
    e, (first, last) = w.e, bounds
    before = w.op("sub", w.op("sub", last, first), 1)
    before = w.choose(w.test("sgt", before, 0), before, 0)
    end = w.add(first, w.op("sub", before, w.op("urem", before, e.lanes)))
    end = w.choose(w.test("eq", stride, 2), end, first)
    loop = Loop(e, first, end, e.lanes)
    at = w.mul(loop.index, 2)
    pair = [load_vector(e, kind, source, place, None) for place in (at, w.add(at, e.lanes))]
    store_vector(e, ln.pick(e, pair, 2), line, loop.index, None)
    loop.close()
    return end


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
    """``pack(planes, offsets, depth, panel)``: a tile's columns of every window, one by one."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    steps = Loop(e, 0, "%depth")
    window = w.place(kind, "%planes", w.read("%offsets", steps.index))
    line = w.place(kind, "%panel", w.mul(steps.index, tile.columns))
    for v in range(tile.vectors):
        at = str(v * tile.lanes)
        store_vector(e, load_vector(e, kind, window, at, None), line, at, None)
    steps.close()
    head = "internal void @pack(ptr %planes, ptr %offsets, i64 %depth, ptr %panel)"
    return w.function(head), e.declarations


# entries of the table of a phase of the result: where its packed weights and its offsets start, the
# depth of the product, the rows (channels) of the result, its positions on each axis, where the
# result starts, how far apart its channels and its positions on each axis are, and how many of its
# rows of positions are made together
RESULT = ("weights", "offsets", "depth", "rows", "out_depth", "out_height", "out_width",
          "plane_height", "plane_width", "start", "row_pitch", "step_depth", "step_height",
          "step_width", "together")


def write_text(tile: Tile) -> tuple[str, set[str]]:
    """``write(buffer, pitch, result, rows, lines, table)``: rows of positions to their places."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    t = w.named("%table", RESULT)
    dense = w.test("eq", t["step_width"], 1)
    rest = w.op("urem", t["out_width"], tile.lanes)
    whole = w.op("sub", t["out_width"], rest)
    mask, some = lane_mask(e, rest), w.test("ne", rest, 0)
    rows = Loop(e, 0, "%rows")
    row = w.place(kind, "%buffer", w.mul(rows.index, "%pitch"))
    target = w.place(kind, "%result", w.mul(rows.index, t["row_pitch"]))
    # what goes beyond the end of a line is overwritten by those that lie behind it
    close = e.assign(f"and i1 {dense}, {w.test('eq', t['step_height'], t['out_width'])}")
    behind = w.op("udiv", w.add(t["out_width"], tile.lanes - 1), t["out_width"])
    before = w.op("sub", "%lines", behind)
    before = w.choose(e.assign(f"and i1 {close}, {w.test('sgt', before, 0)}"), before, 0)
    lines = Loop(e, 0, before)
    _copy_line(w, tile, t, (row, target, lines.index, t["out_width"]))
    lines.close()
    lines = Loop(e, before, w.choose(dense, "%lines", before))
    source, place = _copy_line(w, tile, t, (row, target, lines.index, whole))
    last = Branch(e, some)
    store_vector(e, load_vector(e, kind, source, whole, None), place, whole, mask)
    last.close()
    lines.close()
    lines = Loop(e, w.choose(dense, "%lines", 0), "%lines")
    source, place = _line(w, tile, t, row, target, lines.index)
    single = Loop(e, 0, t["out_width"])
    at = w.place(kind, source, single.index)
    item = e.value(kind, f"load {LLVM_TYPE[kind]}, ptr {at}, align {ITEM_BYTES[kind]}")
    ln.store_item(e, item, place, w.mul(single.index, t["step_width"]))
    for loop in (single, lines, rows):
        loop.close()
    head = ("internal void @write(ptr %buffer, i64 %pitch, ptr %result, i64 %rows, i64 %lines, "
            "ptr %table)")
    return w.function(head), e.declarations


def _line(w: Writer, tile: Tile, t: dict[str, str], row: str, target: str,
          line: str) -> tuple[str, str]:
    """Where a row of positions lies, and where it is to be."""
    return (w.place(tile.kind, row, w.mul(line, t["plane_width"])),
            w.place(tile.kind, target, w.mul(line, t["step_height"])))


def _copy_line(w: Writer, tile: Tile, t: dict[str, str],
               at: tuple[str, str, str, str]) -> tuple[str, str]:
    """Copy whole vectors of a row of positions, until so many items are there."""
    e, kind, (row, target, line, end) = w.e, tile.kind, at
    source, place = _line(w, tile, t, row, target, line)
    columns = Loop(e, 0, end, tile.lanes)
    value = load_vector(e, kind, source, columns.index, None)
    store_vector(e, value, place, columns.index, None)
    columns.close()
    return source, place


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
        "weights_group", "start_group", "phases", "depth_block", "panel_at", "buffer_at",
        "buffer_pitch", "slot_items")
# what its context holds
CONVOLVE = ("result", "source", "weights", "start", "offsets", "planes", "results", "work",
            "scratch", "flags")


def convolve_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of forward convolutions and of input gradients."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = w.pointers(CONVOLVE)
    work = w.named(c["work"], WORK)
    units = Loop(e, "%begin", "%end")
    part = w.op("urem", units.index, work["parts"])
    rest = w.op("udiv", units.index, work["parts"])
    group, image = w.op("urem", rest, work["groups"]), w.op("udiv", rest, work["groups"])
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    planes = w.place(kind, c["scratch"], w.mul(slot, work["slot_items"]))
    buffer = w.place(kind, planes, work["buffer_at"])
    source = _of_unit(w, kind, c["source"], work, "source", image, group)
    result = _of_unit(w, kind, c["result"], work, "result", image, group)
    e.line(f"call void @fill(ptr {source}, ptr {planes}, ptr {c['planes']})")
    weights = w.place(kind, c["weights"], w.mul(group, work["weights_group"]))
    start = w.place(kind, c["start"], w.mul(group, work["start_group"]))
    phases = Loop(e, 0, work["phases"])
    table = w.place("i64", c["results"], w.mul(phases.index, len(RESULT)))
    parts = (part, work["parts"])
    places = {"planes": planes, "weights": weights, "start": start, "offsets": c["offsets"],
              "result": result, "buffer": buffer, "pitch": work["buffer_pitch"], "table": table,
              "panel": w.place(kind, planes, work["panel_at"]),
              "depth_block": work["depth_block"]}
    _print_phase(w, tile, parts, places)
    phases.close()
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _of_unit(
    w: Writer, kind: str, base: str, work: dict[str, str], name: str, image: str, group: str
) -> str:
    """Where this image's group starts."""
    at = w.add(w.mul(image, work[f"{name}_image"]), w.mul(group, work[f"{name}_group"]))
    return w.place(kind, base, at)


def _print_phase(w: Writer, tile: Tile, parts: tuple[str, str], places: dict[str, str]) -> None:
    """This part's rows of positions of one phase of the result, some at a time."""
    e, kind = w.e, tile.kind
    t = w.named(places["table"], RESULT)
    each = w.op("udiv", w.add(t["out_height"], w.op("sub", t["together"], 1)), t["together"])
    count = w.mul(t["out_depth"], each)
    first, last = (w.op("udiv", w.mul(count, number), parts[1])
                   for number in (parts[0], w.add(parts[0], 1)))
    some = Loop(e, first, last)
    z = w.op("udiv", some.index, each)
    y = w.mul(w.op("urem", some.index, each), t["together"])
    lines = ln.least(e, t["together"], w.op("sub", t["out_height"], y))
    items = w.add(w.mul(w.op("sub", lines, 1), t["plane_width"]), t["out_width"])
    source = w.mul(w.add(w.mul(z, t["plane_height"]), y), t["plane_width"])
    at = w.add(t["start"], w.add(w.mul(z, t["step_depth"]), w.mul(y, t["step_height"])))
    _print_lines(w, tile, t, places, (w.place(kind, places["planes"], source),
                                      w.place(kind, places["result"], at), lines, items))
    some.close()


def _print_lines(w: Writer, tile: Tile, t: dict[str, str], places: dict[str, str],
                 at: tuple[str, str, str, str]) -> None:
    """All channels of some rows of positions: a part of the depth, then the next.

    What is packed of it stays near while all channels are made.
    """
    e, kind, (source, result, lines, items) = w.e, tile.kind, at
    direct = _lies_ready(w, tile, t, items)
    base = e.assign(f"select i1 {direct}, ptr {result}, ptr {places['buffer']}")
    pitch = w.choose(direct, t["row_pitch"], places["pitch"])
    # without any depth the rows are what they begin with
    some = w.choose(w.test("eq", t["depth"], 0), 1, t["depth"])
    block = ln.least(e, places["depth_block"], some)
    parts = Loop(e, 0, some, block)
    depth = ln.least(e, block, w.op("sub", t["depth"], parts.index))
    weights = w.add(t["weights"], w.mul(parts.index, tile.rows))
    weights = w.place(kind, places["weights"], weights)
    offsets = w.place("i64", places["offsets"], w.add(t["offsets"], parts.index))
    first = w.test("eq", parts.index, 0)
    tiles = Loop(e, 0, items, tile.columns)
    e.line(f"call void @pack(ptr {w.place(kind, source, tiles.index)}, ptr {offsets}, "
           f"i64 {depth}, ptr {places['panel']})")
    rows = Loop(e, 0, t["rows"], tile.rows)
    a = w.place(kind, weights, w.mul(rows.index, t["depth"]))
    c = w.add(w.mul(rows.index, pitch), tiles.index)
    operands = (f"ptr {a}, ptr {places['panel']}, i64 {depth}, "
                f"ptr {w.place(kind, base, c)}, i64 {pitch}, "
                f"ptr {w.place(kind, places['start'], rows.index)}")
    for name, wanted in (("tile", first), ("tile_add", e.assign(f"xor i1 {first}, true"))):
        this = Branch(e, wanted)
        e.line(f"call void @{name}({operands})")
        this.close()
    for loop in (rows, tiles, parts):
        loop.close()
    aside = Branch(e, e.assign(f"xor i1 {direct}, true"))
    e.line(f"call void @write(ptr {places['buffer']}, i64 {places['pitch']}, ptr {result}, "
           f"i64 {t['rows']}, i64 {lines}, ptr {places['table']})")
    aside.close()


def _lies_ready(w: Writer, tile: Tile, t: dict[str, str], items: str) -> str:
    """Whether whole tiles are neither more nor less than what is stored."""
    found = w.test("eq", items, t["out_width"])
    for number, divisor in ((items, tile.columns), (t["rows"], tile.rows)):
        whole = w.test("eq", w.op("urem", number, divisor), 0)
        found = w.e.assign(f"and i1 {found}, {whole}")
    return w.e.assign(f"and i1 {found}, {w.test('eq', t['step_width'], 1)}")


def module(parts: list[tuple[str, set[str]]], vector_bytes: int) -> str:
    """One module of several functions."""
    declared = sorted(set().union(*[declarations for _, declarations in parts]))
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{8 * vector_bytes}" }}'
    texts = [text for text, _ in parts]
    return "\n".join([*declared, SLOTS_TEXT, *texts, attributes]) + "\n"


def print_convolve(tile: Tile, vector_bytes: int) -> str:
    """Return the module of the kernel `convolve`."""
    parts = [fill_text(tile.kind, tile.lanes), pack_text(tile), write_text(tile),
             tile_text("tile", tile, False), tile_text("tile_add", tile, True),
             convolve_text(tile)]
    return module(parts, vector_bytes)
