"""LLVM text of attention: a block of queries at a time, its scores in a thread's scratch memory.

Lanes are queries: scores lie as (keys, queries of the block), so that softmax needs no sums across
lanes and what it leaves is, as it lies, a strip that the values are multiplied with.
"""

import functools

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm import packing_text
from flambeau.backends.llvm import vector_math as vm
from flambeau.backends.llvm.conv_text import SLOTS_TEXT, Writer
from flambeau.backends.llvm.emit import LLVM_TYPE, Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import least_rows, range_mask
from flambeau.backends.llvm.printer import load_pointers, load_vector, splat_item, store_vector
from flambeau.backends.llvm.shared import Shared, module, shared
from flambeau.backends.llvm.strided_tiles import strip_product_text
from flambeau.backends.llvm.tiles import Tile

# sizes and steps (in items) that both kernels read; a head is one matrix of queries, keys, values,
# of which keys and values are copied, at pitches of their own
SIZES = ("inner_heads", "queries", "keys", "width", "value_width", "causal", "parts", "mask_outer",
         "mask_inner", "masked", "slot_items", "key_pitch", "value_pitch")
# per matrix how far apart outer heads, inner heads and rows are
STRIDES = ("outer", "inner", "row")
FORWARD = ("out", "query", "key", "value")
# what the contexts end with
SHARED = ("mask", "scale", "sizes", "strides", "areas", "scratch", "flags")
AREAS = ("keys", "values", "panel", "scores", "result")


def stretch_text(tile: Tile) -> tuple[str, set[str]]:
    """``stretch(strip, depth, scale)``: a strip times a number."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    scale = splat_item(e, kind, "%scale")
    items = Loop(e, 0, w.mul("%depth", tile.columns), tile.lanes)
    value = e.mul(load_vector(e, kind, "%strip", items.index, None), scale)
    store_vector(e, value, "%strip", items.index, None)
    items.close()
    return w.function("internal void @stretch(ptr %strip, i64 %depth, ptr %scale)"), e.declarations


class Columns:
    """A loop over keys, in which every vector of a block's queries is loaded and stored."""

    def __init__(self, w: Writer, tile: Tile, first: str | int, last: str,
                 carried: list[Value] | None = None) -> None:
        self.w, self.tile = w, tile
        self.loop = Loop(w.e, first, last, 1, carried or [])
        self.line = w.mul(self.loop.index, "%pitch")

    @property
    def values(self) -> list[Value]:
        """What is carried, as this key finds it."""
        return self.loop.values

    def at(self, v: int) -> str:
        """Where a vector of this key lies."""
        return self.w.add(self.line, v * self.tile.lanes)

    def load(self, base: str, v: int) -> Value:
        """The vector of this key."""
        return load_vector(self.w.e, self.tile.kind, base, self.at(v), None)

    def store(self, value: Value, base: str, v: int) -> None:
        """Write the vector of this key."""
        store_vector(self.w.e, value, base, self.at(v), None)

    def close(self, values: list[Value] | None = None) -> list[Value]:
        """End the loop; what is carried out of it."""
        return self.loop.close(values or [])


def mask_text(tile: Tile) -> tuple[str, set[str]]:
    """``mask(scores, pitch, keys, mask, queries, left)``: a mask (keys, queries) is added.

    It is that of the block's first query and those after it, of which `left` are there.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    there = [range_mask(w, v * tile.lanes, "%left", "true") for v in range(tile.vectors)]
    keys = Columns(w, tile, 0, "%keys")
    place = w.place(kind, "%mask", w.mul(keys.loop.index, "%queries"))
    for v in range(tile.vectors):
        added = load_vector(e, kind, place, str(v * tile.lanes), there[v])
        keys.store(e.add(keys.load("%scores", v), added), "%scores", v)
    keys.close()
    head = ("internal void @mask(ptr %scores, i64 %pitch, i64 %keys, ptr %mask, i64 %queries, "
            "i64 %left)")
    return w.function(head), e.declarations


def hide_text(tile: Tile) -> tuple[str, set[str]]:
    """``hide(scores, pitch, first, keys)``: no query sees the keys that come after it."""
    w = Writer(tile.lanes)
    e = w.e
    numbers = [ln.numbers_from(e, w.add("%first", v * tile.lanes), "i32")
               for v in range(tile.vectors)]
    keys = Columns(w, tile, "%first", "%keys")
    key = ln.spread_item(e, Value(e.assign(f"trunc i64 {keys.loop.index} to i32"), "i32"))
    for v in range(tile.vectors):
        later = e.compare("sgt", key, numbers[v])
        keys.store(e.select(later, float("-inf"), keys.load("%scores", v)), "%scores", v)
    keys.close()
    return w.function("internal void @hide(ptr %scores, i64 %pitch, i64 %first, i64 %keys)"
                      ), e.declarations


def shifts(w: Writer, tile: Tile) -> list[Value]:
    """The greatest score of every query; 0 where all are -inf."""
    e = w.e
    lowest = [e.const(tile.kind, float("-inf"))] * tile.vectors
    keys = Columns(w, tile, 0, "%keys", lowest)
    peaks = keys.close([ln.COMBINE["peak"](e, keys.load("%scores", v), keys.values[v])
                        for v in range(tile.vectors)])
    return [e.select(e.compare("oeq", peak, float("-inf")), 0.0, peak) for peak in peaks]


def reciprocal(w: Writer, total: Value) -> Value:
    """1 over a sum of powers; 0 for no key at all."""
    return w.e.select(w.e.compare("oeq", total, 0.0), 0.0, w.e.div(1.0, total))


def soften_text(tile: Tile) -> tuple[str, set[str]]:
    """``soften(scores, pitch, keys, sums)``: scores become powers, `sums` 1 over their sums."""
    w = Writer(tile.lanes)
    e = w.e
    peaks = shifts(w, tile)
    keys = Columns(w, tile, 0, "%keys", [e.const(tile.kind, 0.0)] * tile.vectors)
    totals = []
    for v in range(tile.vectors):
        power = vm.decay(e, e.sub(keys.load("%scores", v), peaks[v]))
        keys.store(power, "%scores", v)
        totals.append(e.add(keys.values[v], power))
    for v, total in enumerate(keys.close(totals)):
        store_vector(e, reciprocal(w, total), "%sums", str(v * tile.lanes), None)
    return w.function("internal void @soften(ptr %scores, i64 %pitch, i64 %keys, ptr %sums)"
                      ), e.declarations


class HeadLoop:
    """The loop over units of work, each a part of the queries of one head."""

    def __init__(self, w: Writer, tile: Tile, matrices: tuple[str, ...],
                 areas: tuple[str, ...]) -> None:
        self.w, self.tile, self.matrices = w, tile, matrices
        e, kind = w.e, tile.kind
        names = matrices + SHARED
        self.c = dict(zip(names, load_pointers(e, len(names)), strict=True))
        self.sizes = s = w.named(self.c["sizes"], SIZES)
        self.units = Loop(e, "%begin", "%end")
        self.part = w.op("urem", self.units.index, s["parts"])
        head = w.op("udiv", self.units.index, s["parts"])
        self.outer = w.op("udiv", head, s["inner_heads"])
        self.inner = w.op("urem", head, s["inner_heads"])
        self.slot = e.assign(f"call i64 @claim(ptr {self.c['flags']})")
        scratch = w.place(kind, self.c["scratch"], w.mul(self.slot, s["slot_items"]))
        places = w.named(self.c["areas"], areas)
        self.area = {name: w.place(kind, scratch, at) for name, at in places.items()}

    def matrix(self, name: str) -> tuple[str, str]:
        """This head's matrix of an operand, and how far apart its rows are."""
        w = self.w
        at = len(STRIDES) * self.matrices.index(name)
        steps = w.named(self.c["strides"], STRIDES, at)
        first = w.add(w.mul(self.outer, steps["outer"]), w.mul(self.inner, steps["inner"]))
        return w.place(self.tile.kind, self.c[name], first), steps["row"]

    def rows_of(self, matrix: tuple[str, str], first: str) -> tuple[str, str]:
        """A matrix from one of its rows on."""
        place, row = matrix
        return self.w.place(self.tile.kind, place, self.w.mul(first, row)), row

    def gather(self) -> None:
        """Copy this head's keys and values, so that their rows lie close together."""
        s = self.sizes
        for name, width in (("key", "width"), ("value", "value_width")):
            source, row = self.matrix(name)
            self.w.e.line(f"call void @rows(ptr {source}, i64 {row}, i64 {s['keys']}, "
                          f"i64 {s[width]}, ptr {self.area[name + 's']}, i64 {s[name + '_pitch']})")

    def visible(self, first: str) -> str:
        """How many keys the block from a query on may see."""
        w, s = self.w, self.sizes
        seen = ln.least(w.e, s["keys"], w.add(first, self.tile.columns))
        return w.choose(w.test("ne", s["causal"], 0), seen, s["keys"])

    def score(self, query: tuple[str, str], block: tuple[str, str, str], scores: str,
              pitch: str) -> None:
        """The scores of a block (its first query, how many, and the keys that they see)."""
        w, e, s, (first, here, seen) = self.w, self.w.e, self.sizes, block
        rows, row = self.rows_of(query, first)
        panel = self.area["panel"]
        e.line(f"call void @panel(ptr {rows}, i64 {row}, i64 {here}, i64 {s['width']}, "
               f"ptr {panel})")
        e.line(f"call void @stretch(ptr {panel}, i64 {s['width']}, ptr {self.c['scale']})")
        e.line(f"call void @product(ptr {self.area['keys']}, i64 {s['key_pitch']}, i64 1, "
               f"ptr {panel}, i64 {self.tile.columns}, i64 {s['width']}, ptr {scores}, "
               f"i64 {pitch}, i64 {seen})")
        masked = Branch(e, w.test("ne", s["masked"], 0))
        at = w.add(w.mul(self.outer, s["mask_outer"]), w.mul(self.inner, s["mask_inner"]))
        mask = w.place(self.tile.kind, self.c["mask"], w.add(at, first))
        e.line(f"call void @mask(ptr {scores}, i64 {pitch}, i64 {seen}, ptr {mask}, "
               f"i64 {s['queries']}, i64 {here})")
        masked.close()
        causal = Branch(e, w.test("ne", s["causal"], 0))
        e.line(f"call void @hide(ptr {scores}, i64 {pitch}, i64 {first}, i64 {seen})")
        causal.close()

    def close(self) -> None:
        """End the unit."""
        self.w.e.line(f"call void @release(ptr {self.c['flags']}, i64 {self.slot})")
        self.units.close()


def attend_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of attention's forward."""
    w = Writer(tile.lanes)
    e = w.e
    sums = e.assign(f"alloca [{tile.columns} x {LLVM_TYPE[tile.kind]}], align 64")
    h = HeadLoop(w, tile, FORWARD, AREAS)
    s, area = h.sizes, h.area
    h.gather()
    query, out = h.matrix("query"), h.matrix("out")
    blocks = w.op("udiv", w.add(s["queries"], tile.columns - 1), tile.columns)
    bounds = [w.op("udiv", w.mul(blocks, n), s["parts"]) for n in (h.part, w.add(h.part, 1))]
    each = Loop(e, bounds[0], bounds[1])
    first = w.mul(each.index, tile.columns)
    here = least_rows(w, s["queries"], first, tile.columns)
    seen = h.visible(first)
    h.score(query, (first, here, seen), area["scores"], str(tile.columns))
    e.line(f"call void @soften(ptr {area['scores']}, i64 {tile.columns}, i64 {seen}, ptr {sums})")
    e.line(f"call void @product(ptr {area['values']}, i64 1, i64 {s['value_pitch']}, "
           f"ptr {area['scores']}, i64 {tile.columns}, i64 {seen}, ptr {area['result']}, "
           f"i64 {tile.columns}, i64 {s['value_width']})")
    target, row = h.rows_of(out, first)
    e.line(f"call void @unpanel(ptr {area['result']}, ptr {sums}, i64 {here}, "
           f"i64 {s['value_width']}, ptr {target}, i64 {row})")
    each.close()
    h.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


@functools.cache
def common_parts(tile: Tile, vector_bytes: int) -> tuple[Shared, ...]:
    """The functions that both kernels use."""
    product = strip_product_text("product", tile, False)
    others = [packing_text.rows_text(tile), packing_text.panel_text(tile),
              packing_text.unpanel_text(tile), stretch_text(tile), mask_text(tile),
              hide_text(tile)]
    names = ("rows", "panel", "unpanel", "stretch", "mask", "hide")
    return shared(product, ["product"], vector_bytes), shared(others, names, vector_bytes)


def print_attend(tile: Tile, vector_bytes: int) -> tuple[str, tuple[Shared, ...]]:
    """Return the module of the forward kernel, and those that it imports."""
    common = common_parts(tile, vector_bytes)
    parts = [(SLOTS_TEXT, set[str]()), soften_text(tile), attend_text(tile)]
    return module(parts, vector_bytes, common), common
