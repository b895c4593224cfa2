"""LLVM text of attention: a block of queries at a time, its scores in a thread's scratch memory.

Lanes are queries: scores lie as (keys, queries of the block), so that softmax needs no sums across
lanes and what it leaves is, as it lies, the packed right operand of the product with the values.
"""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm import vector_math as vm
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.conv_weight_text import pack_left_text, turn
from flambeau.backends.llvm.emit import LLVM_TYPE, Emitter, Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import load_vector, splat_item, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES
from flambeau.backends.llvm.tiles import Tile, tile_text

# sizes and steps (in items) that both kernels read; a head is one matrix of queries, keys, values
SIZES = ("heads", "inner_heads", "queries", "keys", "width", "value_width", "causal", "parts",
         "mask_outer", "mask_inner", "masked", "slot_items", "scores_at", "left_at", "right_at",
         "panel_at", "result_at")
FORWARD = ("out", "query", "key", "value", "mask", "scale", "sizes", "scratch", "flags")


def plain_text(tile: Tile) -> tuple[str, set[str]]:
    """``plain(source, depth, width, target)``: a matrix (depth, width) as blocks of tile rows.

    Block after block of `rows` columns, one row after another; zeros beyond the width.
    """
    w = Writer(1)
    e, kind = w.e, tile.kind
    blocks = Loop(e, 0, "%width", tile.rows)
    number = w.op("udiv", blocks.index, tile.rows)
    target = w.place(kind, "%target", w.mul(w.mul(number, "%depth"), tile.rows))
    steps = Loop(e, 0, "%depth")
    source = w.mul(steps.index, "%width")
    for row in range(tile.rows):
        this = w.add(blocks.index, row)
        there = w.test("slt", this, "%width")
        at = w.place(kind, "%source", w.add(source, w.choose(there, this, blocks.index)))
        stored = LLVM_TYPE[kind]
        item = e.assign(f"load {stored}, ptr {at}, align {ITEM_BYTES[kind]}")
        kept = e.assign(f"select i1 {there}, {stored} {item}, {stored} 0.0")
        ln.store_item(e, Value(kept, kind), target, w.add(w.mul(steps.index, tile.rows), row))
    steps.close()
    blocks.close()
    head = "internal void @plain(ptr %source, i64 %depth, i64 %width, ptr %target)"
    return w.function(head), e.declarations


def _range_mask(w: Writer, first: str | int, end: str, condition: str) -> str:
    """The lanes that number what is below `end`; none where the condition does not hold."""
    name = f"@llvm.get.active.lane.mask.v{w.e.lanes}i1.i64"
    w.e.declarations.add(f"declare {w.e.type('bool')} {name}(i64, i64)")
    limit = w.choose(condition, end, 0)
    return w.e.assign(f"call {w.e.type('bool')} {name}(i64 {first}, i64 {limit})")


def panel_text(tile: Tile) -> tuple[str, set[str]]:
    """``panel(source, pitch, rows, width, target)``: rows of a matrix as the columns of a panel.

    target[column of the matrix][row]; columns beyond the rows are zeros. The panel has room behind.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    for v in range(tile.vectors):
        columns = Loop(e, 0, "%width", tile.lanes)
        rows = []
        for lane in range(tile.lanes):
            row = v * tile.lanes + lane
            there = w.test("slt", row, "%rows")
            mask = _range_mask(w, columns.index, "%width", there)
            at = w.add(w.mul("%pitch", row), columns.index)
            rows.append(load_vector(e, kind, "%source", at, mask))
        for lane, value in enumerate(turn(w, rows)):
            at = w.mul(w.add(columns.index, lane), tile.columns)
            store_vector(e, value, "%target", w.add(at, v * tile.lanes), None)
        columns.close()
    head = ("internal void @panel(ptr %source, i64 %pitch, i64 %rows, i64 %width, "
            "ptr %target)")
    return w.function(head), e.declarations


def unpanel_text(tile: Tile) -> tuple[str, set[str]]:
    """``unpanel(source, factors, rows, width, target)``: the reverse, each row times a factor."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    for v in range(tile.vectors):
        factor = load_vector(e, kind, "%factors", str(v * tile.lanes), None)
        columns = Loop(e, 0, "%width", tile.lanes)
        rows = []
        for lane in range(tile.lanes):
            at = w.add(w.mul(w.add(columns.index, lane), tile.columns), v * tile.lanes)
            rows.append(e.mul(load_vector(e, kind, "%source", at, None), factor))
        whole = w.test("sle", w.add(columns.index, tile.lanes), "%width")
        for lane, value in enumerate(turn(w, rows)):
            row = v * tile.lanes + lane
            at = w.add(w.mul("%width", row), columns.index)
            there = w.test("slt", row, "%rows")
            full = Branch(e, e.assign(f"and i1 {there}, {whole}"))
            store_vector(e, value, "%target", at, None)
            full.close()
            partly = Branch(e, e.assign(f"and i1 {there}, {e.assign(f'xor i1 {whole}, true')}"))
            mask = _range_mask(w, columns.index, "%width", "true")
            store_vector(e, value, "%target", at, mask)
            partly.close()
        columns.close()
    head = ("internal void @unpanel(ptr %source, ptr %factors, i64 %rows, i64 %width, "
            "ptr %target)")
    return w.function(head), e.declarations


def _query_numbers(w: Writer, tile: Tile, v: int) -> Value:
    return ln.numbers_from(w.e, w.add("%first", v * tile.lanes), "i32")


def soften_text(tile: Tile) -> tuple[str, set[str]]:
    """``soften(scores, keys, first, causal, scale, mask, queries, masked, sums)``: softmax.

    Scores (keys, columns) become powers; `sums` gets 1 over their sums, 0 for no key at all. The
    mask, to be added, is (keys, queries of the head) from this block's first query on; `left` of
    its queries are there.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    scale = splat_item(e, kind, "%scale")
    for v in range(tile.vectors):
        peak = _peaks(w, tile, v, scale)
        endless = e.compare("oeq", peak, float("-inf"))
        shift = e.select(endless, 0.0, peak)
        keys = Loop(e, 0, "%keys", 1, [e.const(kind, 0.0)])
        at = w.add(w.mul(keys.index, tile.columns), v * tile.lanes)
        power = vm.decay(e, e.sub(load_vector(e, kind, "%scores", at, None), shift))
        store_vector(e, power, "%scores", at, None)
        (total,) = keys.close([e.add(keys.values[0], power)])
        none = e.compare("oeq", total, 0.0)
        store_vector(e, e.select(none, 0.0, e.div(1.0, total)), "%sums", str(v * tile.lanes), None)
    head = ("internal void @soften(ptr %scores, i64 %keys, i64 %first, i64 %causal, ptr %scale, "
            "ptr %mask, i64 %queries, i64 %left, i64 %masked, ptr %sums)")
    return w.function(head), e.declarations


def _peaks(w: Writer, tile: Tile, v: int, scale: Value) -> Value:
    """Scale and mask the scores of a vector of queries; returns the greatest of each."""
    e, kind = w.e, tile.kind
    numbers = _query_numbers(w, tile, v)
    there = _range_mask(w, v * tile.lanes, "%left", w.test("ne", "%masked", 0))
    hide = e.assign("icmp ne i64 %causal, 0")
    keys = Loop(e, 0, "%keys", 1, [e.const(kind, float("-inf"))])
    at = w.add(w.mul(keys.index, tile.columns), v * tile.lanes)
    score = e.mul(load_vector(e, kind, "%scores", at, None), scale)
    place = w.add(w.mul(keys.index, "%queries"), v * tile.lanes)
    score = e.add(score, load_vector(e, kind, "%mask", place, there))
    key = ln.spread_item(e, Value(e.assign(f"trunc i64 {keys.index} to i32"), "i32"))
    later = e.compare("sgt", key, numbers)
    hidden = e.assign(f"select i1 {hide}, {e.type('bool')} {later.text}, "
                      f"{e.type('bool')} zeroinitializer")
    score = e.select(Value(hidden, "bool"), float("-inf"), score)
    store_vector(e, score, "%scores", at, None)
    (peak,) = keys.close([ln.COMBINE["peak"](e, score, keys.values[0])])
    return peak


class HeadLoop:
    """The loop over units of work, each a part of the queries of one head."""

    def __init__(self, w: Writer, tile: Tile, names: tuple[str, ...]) -> None:
        self.w, self.tile = w, tile
        e, kind = w.e, tile.kind
        self.c = {}
        for number, name in enumerate(names):
            place = e.assign(f"getelementptr ptr, ptr %context, i64 {number}")
            self.c[name] = e.assign(f"load ptr, ptr {place}")
        self.sizes = w.named(self.c["sizes"], SIZES)
        self.units = Loop(e, "%begin", "%end")
        self.part = w.op("urem", self.units.index, self.sizes["parts"])
        self.head = w.op("udiv", self.units.index, self.sizes["parts"])
        self.slot = e.assign(f"call i64 @claim(ptr {self.c['flags']})")
        self.scratch = w.place(kind, self.c["scratch"], w.mul(self.slot, self.sizes["slot_items"]))

    def area(self, name: str) -> str:
        """An area of this thread's scratch memory."""
        return self.w.place(self.tile.kind, self.scratch, self.sizes[name])

    def matrix(self, name: str, rows: str, width: str) -> str:
        """This head's matrix of an operand."""
        size = self.w.mul(self.sizes[rows], self.sizes[width])
        return self.w.place(self.tile.kind, self.c[name], self.w.mul(self.head, size))

    def mask(self, first: str) -> str:
        """This head's mask, from a query on."""
        w, s = self.w, self.sizes
        outer = w.op("udiv", self.head, s["inner_heads"])
        inner = w.op("urem", self.head, s["inner_heads"])
        at = w.add(w.mul(outer, s["mask_outer"]), w.mul(inner, s["mask_inner"]))
        return w.place(self.tile.kind, self.c["mask"], w.add(at, first))

    def products(self, left: str, panel: str, depth: str, target: str, rows: str,
                 zeros: str) -> None:
        """target[row][column] = the product of packed blocks with a panel."""
        w, e, tile = self.w, self.w.e, self.tile
        blocks = Loop(e, 0, rows, tile.rows)
        a = w.place(tile.kind, left, w.mul(blocks.index, depth))
        c = w.place(tile.kind, target, w.mul(blocks.index, tile.columns))
        e.line(f"call void @tile(ptr {a}, ptr {panel}, i64 {depth}, ptr {c}, "
               f"i64 {tile.columns}, ptr {zeros})")
        blocks.close()

    def close(self) -> None:
        self.w.e.line(f"call void @release(ptr {self.c['flags']}, i64 {self.slot})")
        self.units.close()


def visible_keys(w: Writer, tile: Tile, sizes: dict[str, str], first: str) -> str:
    """How many keys the block from a query on may see."""
    seen = ln.least(w.e, sizes["keys"], w.add(first, tile.columns))
    return w.choose(w.test("ne", sizes["causal"], 0), seen, sizes["keys"])


def zero_rows(e: Emitter, tile: Tile) -> str:
    """Zeros for a tile to start from."""
    stored = LLVM_TYPE[tile.kind]
    place = e.assign(f"alloca [{tile.rows} x {stored}]")
    for row in range(tile.rows):
        ln.store_item(e, Value("0.0", tile.kind), place, str(row))
    return place


def attend_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of attention's forward."""
    w = Writer(tile.lanes)
    e = w.e
    zeros = zero_rows(e, tile)
    sums = e.assign(f"alloca [{tile.columns} x {LLVM_TYPE[tile.kind]}], align 64")
    h = HeadLoop(w, tile, FORWARD)
    s = h.sizes
    keys, values = h.matrix("key", "keys", "width"), h.matrix("value", "keys", "value_width")
    left, right = h.area("left_at"), h.area("right_at")
    block = w.mul(s["width"], tile.rows)
    e.line(f"call void @left(ptr {keys}, i64 {s['width']}, i64 {s['keys']}, i64 {s['width']}, "
           f"ptr {left}, i64 {block})")
    e.line(f"call void @plain(ptr {values}, i64 {s['keys']}, i64 {s['value_width']}, ptr {right})")
    query, out = h.matrix("query", "queries", "width"), h.matrix("out", "queries", "value_width")
    blocks = w.op("udiv", w.add(s["queries"], tile.columns - 1), tile.columns)
    bounds = [w.op("udiv", w.mul(blocks, n), s["parts"]) for n in (h.part, w.add(h.part, 1))]
    each = Loop(e, bounds[0], bounds[1])
    first = w.mul(each.index, tile.columns)
    here = ln.least(e, w.op("sub", s["queries"], first), str(tile.columns))
    seen = visible_keys(w, tile, s, first)
    panel, scores, result = h.area("panel_at"), h.area("scores_at"), h.area("result_at")
    rows = w.place(tile.kind, query, w.mul(first, s["width"]))
    e.line(f"call void @panel(ptr {rows}, i64 {s['width']}, i64 {here}, i64 {s['width']}, "
           f"ptr {panel})")
    h.products(left, panel, s["width"], scores, seen, zeros)
    e.line(f"call void @soften(ptr {scores}, i64 {seen}, i64 {first}, i64 {s['causal']}, "
           f"ptr {h.c['scale']}, ptr {h.mask(first)}, i64 {s['queries']}, i64 {here}, "
           f"i64 {s['masked']}, ptr {sums})")
    _print_output(h, right, scores, seen, result, zeros)
    target = w.place(tile.kind, out, w.mul(first, s["value_width"]))
    e.line(f"call void @unpanel(ptr {result}, ptr {sums}, i64 {here}, i64 {s['value_width']}, "
           f"ptr {target})")
    each.close()
    h.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _print_output(h: HeadLoop, right: str, scores: str, seen: str, result: str,
                  zeros: str) -> None:
    """The values weighed: blocks are packed for all keys, and used for those seen."""
    w, e, tile, s = h.w, h.w.e, h.tile, h.sizes
    blocks = Loop(e, 0, s["value_width"], tile.rows)
    a = w.place(tile.kind, right, w.mul(blocks.index, s["keys"]))
    c = w.place(tile.kind, result, w.mul(blocks.index, tile.columns))
    e.line(f"call void @tile(ptr {a}, ptr {scores}, i64 {seen}, ptr {c}, i64 {tile.columns}, "
           f"ptr {zeros})")
    blocks.close()


def common_parts(tile: Tile) -> list[tuple[str, set[str]]]:
    """The functions that both kernels use."""
    return [plain_text(tile), panel_text(tile), unpanel_text(tile), soften_text(tile),
            pack_left_text(tile), tile_text("tile", tile, False)]


def print_attend(tile: Tile, vector_bytes: int) -> str:
    """Return the module of the forward kernel."""
    return conv_text.module([*common_parts(tile), attend_text(tile)], vector_bytes)
