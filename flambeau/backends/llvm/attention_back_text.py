"""LLVM text of attention's gradients: each head's blocks of queries, one after another.

The scores of a block are made again and softened; with the gradient's products they give the slopes
of the scores, from which come this block's query gradients and its share of those of all keys and
values. These are summed as (width, keys) and turned in the end.
"""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.attention_text import (
    HeadLoop,
    common_parts,
    visible_keys,
    zero_rows,
)
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.conv_weight_text import turn
from flambeau.backends.llvm.emit import LLVM_TYPE
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import load_vector, splat_item, store_vector
from flambeau.backends.llvm.tiles import Tile, tile_text

CONTEXT = ("query_grad", "key_grad", "value_grad", "query", "key", "value", "gradient", "mask",
           "scale", "sizes", "scratch", "flags", "areas")
# areas of the scratch memory beside those of the forward kernel, and the pitch of sums over keys
AREAS = ("value_left", "key_right", "gradient_panel", "slopes", "turned", "query_left",
         "gradient_left", "key_sums", "value_sums", "pitch")


def slopes_text(tile: Tile) -> tuple[str, set[str]]:
    """``slopes(powers, products, keys, sums, scale)``: products become the scores' slopes.

    Powers become weights: times the sums' reciprocals. A slope is weight * (product - mean) *
    scale, where the mean is the weighted one over the keys.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    scale = splat_item(e, kind, "%scale")
    for v in range(tile.vectors):
        factor = load_vector(e, kind, "%sums", str(v * tile.lanes), None)
        keys = Loop(e, 0, "%keys", 1, [e.const(kind, 0.0)])
        at = w.add(w.mul(keys.index, tile.columns), v * tile.lanes)
        weight = e.mul(load_vector(e, kind, "%powers", at, None), factor)
        store_vector(e, weight, "%powers", at, None)
        product = load_vector(e, kind, "%products", at, None)
        (mean,) = keys.close([e.fma(weight, product, keys.values[0])])
        keys = Loop(e, 0, "%keys")
        at = w.add(w.mul(keys.index, tile.columns), v * tile.lanes)
        weight = e.mul(load_vector(e, kind, "%powers", at, None), scale)
        product = load_vector(e, kind, "%products", at, None)
        store_vector(e, e.mul(weight, e.sub(product, mean)), "%products", at, None)
        keys.close()
    head = ("internal void @slopes(ptr %powers, ptr %products, i64 %keys, ptr %sums, ptr %scale)")
    return w.function(head), e.declarations


def square_text(tile: Tile) -> tuple[str, set[str]]:
    """``square(source, rows, target)``: (rows, columns) to (columns, columns), turned.

    Up to a tile's columns of rows; what lies beyond them is zeros.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    for a in range(tile.vectors):
        for b in range(tile.vectors):
            rows = []
            for lane in range(tile.lanes):
                row = a * tile.lanes + lane
                there = w.test("slt", row, "%rows")
                at = w.choose(there, row * tile.columns + b * tile.lanes, 0)
                value = load_vector(e, kind, "%source", at, None)
                text = (f"select i1 {there}, {e.type(kind)} {value.text}, "
                        f"{e.type(kind)} zeroinitializer")
                rows.append(e.value(kind, text))
            for lane, value in enumerate(turn(w, rows)):
                place = (b * tile.lanes + lane) * tile.columns + a * tile.lanes
                store_vector(e, value, "%target", str(place), None)
    head = "internal void @square(ptr %source, i64 %rows, ptr %target)"
    return w.function(head), e.declarations


def share_text(tile: Tile) -> tuple[str, set[str]]:
    """``share(left, width, weights, keys, queries, sums, pitch, turned)``: sums over queries.

    sums[column][key] += left (queries, width; packed) times weights (keys, queries), turned.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    panels = Loop(e, 0, "%keys", tile.columns)
    source = w.place(kind, "%weights", w.mul(panels.index, tile.columns))
    left_over = w.op("sub", "%keys", panels.index)
    e.line(f"call void @square(ptr {source}, i64 {left_over}, ptr %turned)")
    blocks = Loop(e, 0, "%width", tile.rows)
    a = w.place(kind, "%left", w.mul(blocks.index, "%queries"))
    c = w.place(kind, "%sums", w.add(w.mul(blocks.index, "%pitch"), panels.index))
    e.line(f"call void @tile_add(ptr {a}, ptr %turned, i64 %queries, ptr {c}, i64 %pitch, "
           "ptr null)")
    blocks.close()
    panels.close()
    head = ("internal void @share(ptr %left, i64 %width, ptr %weights, i64 %keys, i64 %queries, "
            "ptr %sums, i64 %pitch, ptr %turned)")
    return w.function(head), e.declarations


def flip_text(tile: Tile) -> tuple[str, set[str]]:
    """``flip(source, pitch, rows, width, target)``: source (width, pitch) to (rows, width)."""
    w = Writer(1)
    e, kind = w.e, tile.kind
    rows = Loop(e, 0, "%rows")
    line = w.mul(rows.index, "%width")
    columns = Loop(e, 0, "%width")
    at = w.place(kind, "%source", w.add(w.mul(columns.index, "%pitch"), rows.index))
    item = e.value(kind, f"load {LLVM_TYPE[kind]}, ptr {at}")
    ln.store_item(e, item, "%target", w.add(line, columns.index))
    columns.close()
    rows.close()
    head = "internal void @flip(ptr %source, i64 %pitch, i64 %rows, i64 %width, ptr %target)"
    return w.function(head), e.declarations


def _clear(w: Writer, tile: Tile, place: str, items: str) -> None:
    loop = Loop(w.e, 0, items, tile.lanes)
    store_vector(w.e, w.e.const(tile.kind, 0.0), place, loop.index, None)
    loop.close()


class Places:
    """Where everything of one head lies."""

    def __init__(self, w: Writer, tile: Tile, h: HeadLoop) -> None:
        areas = w.named(h.c["areas"], AREAS)
        self.pitch = areas["pitch"]
        for name in AREAS[:-1]:
            setattr(self, name, w.place(tile.kind, h.scratch, areas[name]))
        for name in ("left", "right", "panel", "scores", "result"):
            setattr(self, name, h.area(f"{name}_at"))

    def __getattr__(self, name: str) -> str:
        raise AttributeError(name)


def gradients_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of attention's gradients; its unit is a whole head."""
    w = Writer(tile.lanes)
    e, stored = w.e, LLVM_TYPE[tile.kind]
    zeros = zero_rows(e, tile)
    sums, ones = (e.assign(f"alloca [{tile.columns} x {stored}], align 64") for _ in range(2))
    for v in range(tile.vectors):
        store_vector(e, e.const(tile.kind, 1.0), ones, str(v * tile.lanes), None)
    h = HeadLoop(w, tile, CONTEXT)
    p, s = Places(w, tile, h), h.sizes
    _prepare(w, tile, h, p)
    each = Loop(e, 0, s["queries"], tile.columns)
    here = ln.least(e, w.op("sub", s["queries"], each.index), str(tile.columns))
    seen = visible_keys(w, tile, s, each.index)
    _weigh(w, tile, h, p, (each.index, here, seen, zeros, sums))
    _spread(w, tile, h, p, (each.index, here, seen, zeros, ones))
    each.close()
    for name, area, width in (("key_grad", p.key_sums, "width"),
                              ("value_grad", p.value_sums, "value_width")):
        target = h.matrix(name, "keys", width)
        e.line(f"call void @flip(ptr {area}, i64 {p.pitch}, i64 {s['keys']}, i64 {s[width]}, "
               f"ptr {target})")
    h.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _prepare(w: Writer, tile: Tile, h: HeadLoop, p: Places) -> None:
    """Pack this head's keys and values, and clear the sums."""
    e, s = w.e, h.sizes
    for name, target, width in (("key", p.left, "width"), ("value", p.value_left, "value_width")):
        block = w.mul(s[width], tile.rows)
        source = h.matrix(name, "keys", width)
        e.line(f"call void @left(ptr {source}, i64 {s[width]}, i64 {s['keys']}, i64 {s[width]}, "
               f"ptr {target}, i64 {block})")
    keys = h.matrix("key", "keys", "width")
    e.line(f"call void @plain(ptr {keys}, i64 {s['keys']}, i64 {s['width']}, ptr {p.key_right})")
    for area, width in ((p.key_sums, "width"), (p.value_sums, "value_width")):
        rows = w.mul(w.op("udiv", w.add(s[width], tile.rows - 1), tile.rows), tile.rows)
        _clear(w, tile, area, w.mul(rows, p.pitch))


def _weigh(
    w: Writer, tile: Tile, h: HeadLoop, p: Places, at: tuple[str, str, str, str, str]
) -> None:
    """The block's weights, and the slopes of its scores."""
    e, s, (first, here, seen, zeros, sums) = w.e, h.sizes, at
    for name, target, width in (("query", p.panel, "width"),
                                ("gradient", p.gradient_panel, "value_width")):
        rows = w.place(tile.kind, h.matrix(name, "queries", width), w.mul(first, s[width]))
        e.line(f"call void @panel(ptr {rows}, i64 {s[width]}, i64 {here}, i64 {s[width]}, "
               f"ptr {target})")
    h.products(p.left, p.panel, s["width"], p.scores, seen, zeros)
    e.line(f"call void @soften(ptr {p.scores}, i64 {seen}, i64 {first}, i64 {s['causal']}, "
           f"ptr {h.c['scale']}, ptr {h.mask(first)}, i64 {s['queries']}, i64 {here}, "
           f"i64 {s['masked']}, ptr {sums})")
    h.products(p.value_left, p.gradient_panel, s["value_width"], p.slopes, seen, zeros)
    e.line(f"call void @slopes(ptr {p.scores}, ptr {p.slopes}, i64 {seen}, ptr {sums}, "
           f"ptr {h.c['scale']})")


def _spread(
    w: Writer, tile: Tile, h: HeadLoop, p: Places, at: tuple[str, str, str, str, str]
) -> None:
    """This block's query gradients, and its share of those of keys and values."""
    e, s, (first, here, seen, zeros, ones) = w.e, h.sizes, at
    blocks = Loop(e, 0, s["width"], tile.rows)
    a = w.place(tile.kind, p.key_right, w.mul(blocks.index, s["keys"]))
    c = w.place(tile.kind, p.result, w.mul(blocks.index, tile.columns))
    e.line(f"call void @tile(ptr {a}, ptr {p.slopes}, i64 {seen}, ptr {c}, "
           f"i64 {tile.columns}, ptr {zeros})")
    blocks.close()
    offset = w.mul(first, s["width"])
    target = w.place(tile.kind, h.matrix("query_grad", "queries", "width"), offset)
    e.line(f"call void @unpanel(ptr {p.result}, ptr {ones}, i64 {here}, i64 {s['width']}, "
           f"ptr {target})")
    for name, left, weights, total, width in (
            ("query", p.query_left, p.slopes, p.key_sums, "width"),
            ("gradient", p.gradient_left, p.scores, p.value_sums, "value_width")):
        rows = w.place(tile.kind, h.matrix(name, "queries", width), w.mul(first, s[width]))
        e.line(f"call void @plain(ptr {rows}, i64 {here}, i64 {s[width]}, ptr {left})")
        e.line(f"call void @share(ptr {left}, i64 {s[width]}, ptr {weights}, i64 {seen}, "
               f"i64 {here}, ptr {total}, i64 {p.pitch}, ptr {p.turned})")


def print_gradients(tile: Tile, vector_bytes: int) -> str:
    """Return the module of the kernel of gradients."""
    parts = [*common_parts(tile), tile_text("tile_add", tile, True), slopes_text(tile),
             square_text(tile), share_text(tile), flip_text(tile), gradients_text(tile)]
    return conv_text.module(parts, vector_bytes)
