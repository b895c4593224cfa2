"""LLVM text of the kernels of Winograd's convolution: what a thread does with a block of tiles."""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.strided_tiles import strip_product_text
from flambeau.backends.llvm.tiles import Tile
from flambeau.backends.llvm.winograd_text import (
    MADE,
    PLACES,
    PLANE,
    gather_text,
    results_text,
    slopes_text,
    spread_text,
    tiles_text,
)

# Blocks of an image, the rows of tiles in a block, an image's rows and columns of tiles, items of
# an image of the source and of the result, the result's channels and sizes, where things lie in a
# thread's memory, and how far apart places of a tile are
WORK = ("blocks", "block_rows", "tile_rows", "tile_columns", "source_image", "result_image",
        "rows", "height", "width", "changed_at", "products_at", "strip_at", "slot_items",
        "changed_pitch", "products_pitch")
CONTEXT = ("result", "source", "weights", "start", "plane", "work", "scratch", "flags", "seen")
# Of a weight gradient: how many blocks there are, and how many a unit of work takes
WEIGHT_WORK = ("count", "chunk", "blocks", "block_rows", "tile_rows", "tile_columns",
               "source_image", "gradient_image", "rows", "changed_at", "slopes_at", "slot_items",
               "changed_pitch", "slopes_pitch", "result_items")
WEIGHT_CONTEXT = ("result", "source", "gradient", "plane", "gradient_plane", "work", "scratch",
                  "flags")


def _loaded(w: Writer, names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for number, name in enumerate(names):
        place = w.e.assign(f"getelementptr ptr, ptr %context, i64 {number}")
        found[name] = w.e.assign(f"load ptr, ptr {place}")
    return found


class Block:
    """Which tiles a unit of work has: its image, its first row of tiles, how many rows."""

    def __init__(self, w: Writer, work: dict[str, str], number: str) -> None:
        self.image = w.op("udiv", number, work["blocks"])
        self.first = w.mul(w.op("urem", number, work["blocks"]), work["block_rows"])
        left = w.op("sub", work["tile_rows"], self.first)
        self.rows = ln.least(w.e, work["block_rows"], left)
        self.tiles = w.mul(self.rows, work["tile_columns"])


def _print_changed(w: Writer, kind: str, c: dict[str, str], work: dict[str, str],
                   block: Block, memory: str, seen: str) -> None:
    """The tiles of a block of the source, changed, to their place in a thread's memory."""
    plane = w.named(c["plane"], PLANE)
    source = w.place(kind, c["source"], w.mul(block.image, work["source_image"]))
    first = w.op("sub", w.mul(block.first, MADE), plane["before_height"])
    rows = w.add(w.mul(block.rows, MADE), 2)
    w.e.line(f"call void @spread(ptr {source}, ptr {memory}, i64 {first}, i64 {rows}, "
             f"ptr {c['plane']}, ptr {seen})")
    changed = w.place(kind, memory, work["changed_at"])
    w.e.line(f"call void @tiles(ptr {memory}, i64 {plane['columns']}, i64 {plane['kept']}, "
             f"i64 {block.rows}, i64 {work['tile_columns']}, ptr {changed}, "
             f"i64 {work['changed_pitch']})")


def convolve_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of forward convolutions and of input gradients."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = _loaded(w, CONTEXT)
    work = w.named(c["work"], WORK)
    channels, kept = w.read(c["plane"], 0), w.read(c["plane"], 1)
    units = Loop(e, "%begin", "%end")
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    memory = w.place(kind, c["scratch"], w.mul(slot, work["slot_items"]))
    seen = w.place(kind, c["seen"], w.mul(units.index, 3))
    block = Block(w, work, units.index)
    _print_changed(w, kind, c, work, block, memory, seen)
    changed, products, strip = (w.place(kind, memory, work[f"{name}_at"])
                                for name in ("changed", "products", "strip"))
    columns = Loop(e, 0, work["rows"], tile.columns)
    panel = w.place(kind, c["weights"], w.mul(columns.index, w.mul(channels, PLACES)))
    places = Loop(e, 0, PLACES)
    left = w.place(kind, changed, w.mul(places.index, work["changed_pitch"]))
    right = w.place(kind, panel, w.mul(places.index, w.mul(channels, tile.columns)))
    target = w.place(kind, products, w.mul(places.index, work["products_pitch"]))
    e.line(f"call void @product(ptr {left}, i64 {kept}, i64 1, ptr {right}, i64 {tile.columns}, "
           f"i64 {channels}, ptr {target}, i64 {tile.columns}, i64 {block.tiles})")
    places.close()
    e.line(f"call void @results(ptr {products}, i64 {work['products_pitch']}, i64 {block.rows}, "
           f"i64 {work['tile_columns']}, ptr {w.place(kind, c['start'], columns.index)}, "
           f"ptr {strip}, ptr {w.place(kind, seen, 2)})")
    _print_gathered(w, tile, c, work, block, (columns.index, strip))
    columns.close()
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _print_gathered(w: Writer, tile: Tile, c: dict[str, str], work: dict[str, str],
                    block: Block, at: tuple[str, str]) -> None:
    """Some channels of a block's results, to their place."""
    e, kind, (channel, strip) = w.e, tile.kind, at
    line = w.mul(block.first, MADE)
    lines = ln.least(e, w.mul(block.rows, MADE), w.op("sub", work["height"], line))
    result = w.add(w.mul(block.image, work["result_image"]),
                   w.mul(channel, w.mul(work["height"], work["width"])))
    result = w.place(kind, c["result"], w.add(result, w.mul(line, work["width"])))
    count = ln.least(e, w.op("sub", work["rows"], channel), str(tile.columns))
    e.line(f"call void @gather(ptr {strip}, i64 {w.mul(work['tile_columns'], MADE)}, "
           f"ptr {result}, i64 {count}, i64 {lines}, i64 {work['height']}, "
           f"i64 {work['width']})")


def weigh_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of weight gradients; the result, (units, places, rows, kept), is zeros."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = _loaded(w, WEIGHT_CONTEXT)
    work = w.named(c["work"], WEIGHT_WORK)
    kept, slopes_kept = w.read(c["plane"], 1), w.read(c["gradient_plane"], 1)
    units = Loop(e, "%begin", "%end")
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    memory = w.place(kind, c["scratch"], w.mul(slot, work["slot_items"]))
    # the ranges seen are not asked for, but there must be a place for them
    seen = memory
    memory = w.place(kind, memory, 16)
    result = w.place(kind, c["result"], w.mul(units.index, work["result_items"]))
    first = w.mul(units.index, work["chunk"])
    blocks = Loop(e, first, ln.least(e, w.add(first, work["chunk"]), work["count"]))
    block = Block(w, work, blocks.index)
    _print_changed(w, kind, c, work, block, memory, seen)
    gradient = w.place(kind, c["gradient"], w.mul(block.image, work["gradient_image"]))
    slopes = w.place(kind, memory, work["slopes_at"])
    e.line(f"call void @spread(ptr {gradient}, ptr {memory}, i64 {w.mul(block.first, MADE)}, "
           f"i64 {w.mul(block.rows, MADE)}, ptr {c['gradient_plane']}, ptr {seen})")
    e.line(f"call void @slopes(ptr {memory}, i64 {slopes_kept}, i64 {block.rows}, "
           f"i64 {work['tile_columns']}, ptr {slopes}, i64 {work['slopes_pitch']})")
    changed = w.place(kind, memory, work["changed_at"])
    columns = Loop(e, 0, kept, tile.columns)
    places = Loop(e, 0, PLACES)
    left = w.place(kind, slopes, w.mul(places.index, work["slopes_pitch"]))
    right = w.place(kind, changed, w.add(w.mul(places.index, work["changed_pitch"]),
                                         columns.index))
    cell = w.add(w.mul(places.index, w.mul(work["rows"], kept)), columns.index)
    e.line(f"call void @product(ptr {left}, i64 1, i64 {slopes_kept}, ptr {right}, i64 {kept}, "
           f"i64 {block.tiles}, ptr {w.place(kind, result, cell)}, i64 {kept}, "
           f"i64 {work['rows']})")
    for loop in (places, columns, blocks):
        loop.close()
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def print_convolve(tile: Tile, vector_bytes: int) -> str:
    """Return the module of the kernel of forward convolutions and of input gradients."""
    parts = [spread_text(tile), tiles_text(tile), *strip_product_text("product", tile, False),
             results_text(tile), gather_text(tile), convolve_text(tile)]
    return conv_text.module(parts, vector_bytes)


def print_weigh(tile: Tile, vector_bytes: int) -> str:
    """Return the module of the kernel of weight gradients."""
    parts = [spread_text(tile), tiles_text(tile), slopes_text(tile),
             *strip_product_text("product", tile, True), weigh_text(tile)]
    return conv_text.module(parts, vector_bytes)
