"""LLVM text of the kernels of Winograd's convolution: what a thread does with a block of tiles."""

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.packing_text import negated
from flambeau.backends.llvm.strided_tiles import strip_product_text
from flambeau.backends.llvm.tiles import Tile
from flambeau.backends.llvm.turned_planes import PLANE, gather_text, spread_text
from flambeau.backends.llvm.winograd_text import (
    MADE,
    PLACES,
    results_text,
    slopes_text,
    tiles_text,
)

# Images, how many a block has, the blocks of an image, rows of tiles in a block, rows and columns
# of tiles of an image, and items of an image of the source
BLOCKS = ("images", "together", "blocks", "block_rows", "tile_rows", "tile_columns",
          "source_image")
# Of the result: items of an image, channels, how many a unit of work makes, how many such parts
# there are, and sizes. Then where things lie in a thread's memory, and how far apart places of a
# tile are
WORK = (*BLOCKS, "result_image", "rows", "part_rows", "parts", "height", "width", "changed_at",
        "products_at", "strip_at", "slot_items", "changed_pitch", "products_pitch",
        "weights_pitch")
CONTEXT = ("result", "source", "weights", "start", "plane", "work", "scratch", "flags", "seen")
# Of a weight gradient: how many blocks there are, how many a unit of work takes, items of an image
# and of a channel of the result's gradient
WEIGHT_WORK = (*BLOCKS, "count", "chunk", "gradient_image", "gradient_channel", "rows",
               "part_rows", "parts", "changed_at", "slopes_at", "slot_items", "changed_pitch",
               "slopes_pitch", "sum_items")
# items before a thread's memory proper
SEEN = 16
# `gradient_plane` is two tables, the last part's second
WEIGHT_CONTEXT = ("result", "source", "gradient", "plane", "gradient_plane", "work", "scratch",
                  "flags")


class Block:
    """A block of tiles: its images, its first row of tiles, how many rows, how many tiles."""

    def __init__(self, w: Writer, work: dict[str, str], number: str) -> None:
        self.number = w.op("urem", number, work["blocks"])
        self.image = w.mul(w.op("udiv", number, work["blocks"]), work["together"])
        self.images = ln.least(w.e, work["together"], w.op("sub", work["images"], self.image))
        self.first = w.mul(self.number, work["block_rows"])
        left = w.op("sub", work["tile_rows"], self.first)
        self.rows = ln.least(w.e, work["block_rows"], left)
        self.tiles = w.mul(self.rows, work["tile_columns"])
        self.all_tiles = w.mul(self.tiles, self.images)


def _print_changed(w: Writer, kind: str, c: dict[str, str], work: dict[str, str], block: Block,
                   memory: str, image: str, seen: str) -> None:
    """The tiles of an image of a block, changed, to their place in a thread's memory."""
    plane = w.named(c["plane"], PLANE)
    source = w.mul(w.add(block.image, image), work["source_image"])
    first = w.op("sub", w.mul(block.first, MADE), plane["before_height"])
    rows = w.add(w.mul(block.rows, MADE), 2)
    w.e.line(f"call void @spread(ptr {w.place(kind, c['source'], source)}, ptr {memory}, "
             f"i64 {first}, i64 {rows}, ptr {c['plane']}, ptr {seen})")
    changed = w.add(work["changed_at"], w.mul(image, w.mul(block.tiles, plane["kept"])))
    w.e.line(f"call void @tiles(ptr {memory}, i64 {plane['columns']}, i64 {plane['kept']}, "
             f"i64 {block.rows}, i64 {work['tile_columns']}, "
             f"ptr {w.place(kind, memory, changed)}, i64 {work['changed_pitch']})")


def convolve_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of forward convolutions and of input gradients."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = w.pointers(CONTEXT)
    work = w.named(c["work"], WORK)
    channels, kept = w.read(c["plane"], 0), w.read(c["plane"], 1)
    units = Loop(e, "%begin", "%end")
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    memory = w.place(kind, c["scratch"], w.mul(slot, work["slot_items"]))
    part = w.op("urem", units.index, work["parts"])
    block = Block(w, work, w.op("udiv", units.index, work["parts"]))
    # what each image's tiles were like, for every part
    seen = w.mul(w.add(w.mul(part, work["images"]), block.image), work["blocks"])
    seen = w.place(kind, c["seen"], w.mul(w.add(seen, block.number), 3))
    step = w.mul(work["blocks"], 3)
    images = Loop(e, 0, block.images)
    _print_changed(w, kind, c, work, block, memory, images.index,
                   w.place(kind, seen, w.mul(images.index, step)))
    images.close()
    changed, products, strip = (w.place(kind, memory, work[f"{name}_at"])
                                for name in ("changed", "products", "strip"))
    first = w.mul(part, work["part_rows"])
    last = ln.least(e, w.add(first, work["part_rows"]), work["rows"])
    columns = Loop(e, first, last, tile.columns)
    number = w.op("udiv", columns.index, tile.columns)
    panel = w.mul(number, w.mul(work["weights_pitch"], PLACES))
    panel = w.place(kind, c["weights"], panel)
    places = Loop(e, 0, PLACES)
    left = w.place(kind, changed, w.mul(places.index, work["changed_pitch"]))
    right = w.place(kind, panel, w.mul(places.index, work["weights_pitch"]))
    target = w.place(kind, products, w.mul(places.index, work["products_pitch"]))
    e.line(f"call void @product(ptr {left}, i64 {kept}, i64 1, ptr {right}, i64 {tile.columns}, "
           f"i64 {channels}, ptr {target}, i64 {tile.columns}, i64 {block.all_tiles})")
    places.close()
    images = Loop(e, 0, block.images)
    here = w.mul(images.index, w.mul(block.tiles, tile.columns))
    flaw = w.place(kind, seen, w.add(w.mul(images.index, step), 2))
    e.line(f"call void @results(ptr {w.place(kind, products, here)}, "
           f"i64 {work['products_pitch']}, i64 {block.rows}, "
           f"i64 {work['tile_columns']}, ptr {w.place(kind, c['start'], columns.index)}, "
           f"ptr {strip}, ptr {flaw})")
    _print_gathered(w, tile, c, work, block, (images.index, columns.index, strip))
    for loop in (images, columns):
        loop.close()
    e.line(f"call void @release(ptr {c['flags']}, i64 {slot})")
    units.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def _print_gathered(w: Writer, tile: Tile, c: dict[str, str], work: dict[str, str],
                    block: Block, at: tuple[str, str, str]) -> None:
    """Some channels of a block's results of an image, to their place."""
    e, kind, (image, channel, strip) = w.e, tile.kind, at
    line = w.mul(block.first, MADE)
    lines = ln.least(e, w.mul(block.rows, MADE), w.op("sub", work["height"], line))
    result = w.add(w.mul(w.add(block.image, image), work["result_image"]),
                   w.mul(channel, w.mul(work["height"], work["width"])))
    result = w.place(kind, c["result"], w.add(result, w.mul(line, work["width"])))
    count = ln.least(e, w.op("sub", work["rows"], channel), str(tile.columns))
    e.line(f"call void @gather(ptr {strip}, i64 {w.mul(work['tile_columns'], MADE)}, "
           f"ptr {result}, i64 {count}, i64 {lines}, i64 {work['height']}, "
           f"i64 {work['width']})")


def weigh_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of weight gradients: of sums (chunks, places, rows, kept)."""
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    c = w.pointers(WEIGHT_CONTEXT)
    work = w.named(c["work"], WEIGHT_WORK)
    kept = w.read(c["plane"], 1)
    units = Loop(e, "%begin", "%end")
    slot = e.assign(f"call i64 @claim(ptr {c['flags']})")
    # the ranges seen are not asked for, but there must be a place for them
    seen = w.place(kind, c["scratch"], w.mul(slot, work["slot_items"]))
    memory = w.place(kind, seen, SEEN)
    part = w.op("urem", units.index, work["parts"])
    chunk = w.op("udiv", units.index, work["parts"])
    last = w.test("eq", part, w.op("sub", work["parts"], 1))
    table = w.place("i64", c["gradient_plane"], w.choose(last, len(PLANE), 0))
    rows, slopes_kept = w.read(table, 0), w.read(table, 1)
    first_row = w.mul(part, work["part_rows"])
    result = w.add(w.mul(chunk, work["sum_items"]), w.mul(first_row, kept))
    result = w.place(kind, c["result"], result)
    first = w.mul(chunk, work["chunk"])
    blocks = Loop(e, first, ln.least(e, w.add(first, work["chunk"]), work["count"]))
    block = Block(w, work, blocks.index)
    images = Loop(e, 0, block.images)
    _print_changed(w, kind, c, work, block, memory, images.index, seen)
    lead = w.add(w.mul(w.add(block.image, images.index), work["gradient_image"]),
                 w.mul(first_row, work["gradient_channel"]))
    e.line(f"call void @spread(ptr {w.place(kind, c['gradient'], lead)}, ptr {memory}, "
           f"i64 {w.mul(block.first, MADE)}, i64 {w.mul(block.rows, MADE)}, ptr {table}, "
           f"ptr {seen})")
    slopes = w.add(work["slopes_at"], w.mul(images.index, w.mul(block.tiles, slopes_kept)))
    e.line(f"call void @slopes(ptr {memory}, i64 {slopes_kept}, i64 {block.rows}, "
           f"i64 {work['tile_columns']}, ptr {w.place(kind, memory, slopes)}, "
           f"i64 {work['slopes_pitch']})")
    images.close()
    columns = Loop(e, 0, kept, tile.columns)
    places = Loop(e, 0, PLACES)
    left = w.add(work["slopes_at"], w.mul(places.index, work["slopes_pitch"]))
    right = w.add(work["changed_at"], w.mul(places.index, work["changed_pitch"]))
    right = w.add(right, columns.index)
    cell = w.add(w.mul(places.index, w.mul(work["rows"], kept)), columns.index)
    operands = (f"ptr {w.place(kind, memory, left)}, i64 1, i64 {slopes_kept}, "
                f"ptr {w.place(kind, memory, right)}, i64 {kept}, i64 {block.all_tiles}, "
                f"ptr {w.place(kind, result, cell)}, i64 {kept}, i64 {rows}")
    begins = w.test("eq", blocks.index, first)
    for name, wanted in (("product", begins), ("product_add", negated(w, begins))):
        this = Branch(e, wanted)
        e.line(f"call void @{name}({operands})")
        this.close()
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
             *strip_product_text("product", tile, False),
             *strip_product_text("product_add", tile, True), weigh_text(tile)]
    return conv_text.module(parts, vector_bytes)
