"""LLVM text of attention's gradients: each head's blocks of queries, one after another.

The scores of a block are made again and softened; with the gradient's products they give the slopes
of the scores, from which come this block's query gradients. Slopes and weights of a few blocks side
by side, (keys, queries), are the left operands of what these add to the gradients of keys and
values.
"""

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm import packing_text
from flambeau.backends.llvm import vector_math as vm
from flambeau.backends.llvm.attention_text import (
    AREAS,
    Columns,
    HeadLoop,
    common_parts,
    reciprocal,
    shifts,
)
from flambeau.backends.llvm.conv_text import SLOTS_TEXT, Writer
from flambeau.backends.llvm.emit import LLVM_TYPE, Value
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.packing_text import least_rows
from flambeau.backends.llvm.printer import splat_item, store_vector
from flambeau.backends.llvm.shared import Shared, module, shared
from flambeau.backends.llvm.strided_tiles import strip_product_text
from flambeau.backends.llvm.tiles import Tile

MATRICES = ("query_grad", "key_grad", "value_grad", "query", "key", "value", "gradient")
# areas beside those of the forward kernel: (keys, queries) of slopes, strips of rows of the queries
# and the gradient, and what is summed for keys and values
MORE_AREAS = ("gradient_panel", "slopes", "query_rows", "gradient_rows", "key_sums", "value_sums")
# blocks of queries whose slopes lie side by side
TOGETHER = 2


def weigh_text(tile: Tile) -> tuple[str, set[str]]:
    """``weigh(scores, products, pitch, keys, scale)``: scores to weights, products to slopes.

    A weight is a power over the sum of them; a slope is weight * (product - mean) * scale, where
    the mean is the weighted one over the keys.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    scale = splat_item(e, kind, "%scale")
    peaks = shifts(w, tile)
    means, factors = _powers(w, tile, peaks)
    keys = Columns(w, tile, 0, "%keys")
    for v in range(tile.vectors):
        weight = e.mul(keys.load("%scores", v), factors[v])
        keys.store(weight, "%scores", v)
        offset = e.sub(keys.load("%products", v), means[v])
        keys.store(e.mul(e.mul(weight, scale), offset), "%products", v)
    keys.close()
    head = ("internal void @weigh(ptr %scores, ptr %products, i64 %pitch, i64 %keys, ptr %scale)")
    return w.function(head), e.declarations


def _powers(w: Writer, tile: Tile, peaks: list[Value]) -> tuple[list[Value], list[Value]]:
    """Scores become powers; the products' weighted means, and 1 over the sums of powers."""
    e = w.e
    zeros = [e.const(tile.kind, 0.0)] * (2 * tile.vectors)
    keys = Columns(w, tile, 0, "%keys", zeros)
    totals, dots = keys.values[:tile.vectors], keys.values[tile.vectors:]
    grown: list[Value] = []
    weighed: list[Value] = []
    for v in range(tile.vectors):
        power = vm.decay(e, e.sub(keys.load("%scores", v), peaks[v]))
        keys.store(power, "%scores", v)
        grown.append(e.add(totals[v], power))
        weighed.append(e.fma(power, keys.load("%products", v), dots[v]))
    found = keys.close([*grown, *weighed])
    factors = [reciprocal(w, total) for total in found[:tile.vectors]]
    means = [e.mul(dot, factor)
             for dot, factor in zip(found[tile.vectors:], factors, strict=True)]
    return means, factors


def share_text(tile: Tile) -> tuple[str, set[str]]:
    """``share(weights, keys, queries, rows, width, sums, sums_pitch, causal, first)``.

    sums (keys, width) += weights (keys, queries) times rows, which are strips of (queries, width).
    Of causal weights, those of blocks before a key's are left out.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    pitch = TOGETHER * tile.columns
    size = pitch * tile.columns
    causal = w.test("ne", "%causal", 0)
    # the keys that a block is the first to see
    step = w.choose(causal, tile.columns, w.choose(w.test("sgt", "%keys", 0), "%keys", 1))
    groups = Loop(e, 0, "%keys", step)
    count = ln.least(e, step, w.op("sub", "%keys", groups.index))
    behind = w.op("sub", groups.index, "%first")
    behind = w.choose(w.test("sgt", behind, 0), behind, 0)
    skipped = w.choose(causal, behind, 0)
    left = w.place(kind, "%weights", w.add(w.mul(groups.index, pitch), skipped))
    depth = w.op("sub", "%queries", skipped)
    strips = Loop(e, 0, "%width", tile.columns)
    right = w.mul(w.op("udiv", strips.index, tile.columns), size)
    right = w.place(kind, "%rows", w.add(right, w.mul(skipped, tile.columns)))
    target = w.add(w.mul(groups.index, "%sums_pitch"), strips.index)
    e.line(f"call void @product_add(ptr {left}, i64 {pitch}, i64 1, ptr {right}, "
           f"i64 {tile.columns}, i64 {depth}, ptr {w.place(kind, '%sums', target)}, "
           f"i64 %sums_pitch, i64 {count})")
    strips.close()
    groups.close()
    head = ("internal void @share(ptr %weights, i64 %keys, i64 %queries, ptr %rows, i64 %width, "
            "ptr %sums, i64 %sums_pitch, i64 %causal, i64 %first)")
    return w.function(head), e.declarations


def gradients_text(tile: Tile) -> tuple[str, set[str]]:
    """The kernel of attention's gradients; its unit is a whole head."""
    w = Writer(tile.lanes)
    e, stored = w.e, LLVM_TYPE[tile.kind]
    ones = e.assign(f"alloca [{tile.columns} x {stored}], align 64")
    for v in range(tile.vectors):
        store_vector(e, e.const(tile.kind, 1.0), ones, str(v * tile.lanes), None)
    h = HeadLoop(w, tile, MATRICES, AREAS + MORE_AREAS)
    s, area = h.sizes, h.area
    pitches = {width: whole_strips(w, tile, s[width]) for width in ("width", "value_width")}
    h.gather()
    for name, width in (("key_sums", "width"), ("value_sums", "value_width")):
        e.line(f"call void @zeros(ptr {area[name]}, i64 {pitches[width]}, i64 {s['keys']}, "
               f"i64 {pitches[width]})")
    query, gradient = h.matrix("query"), h.matrix("gradient")
    each = Loop(e, 0, s["queries"], TOGETHER * tile.columns)
    count = least_rows(w, s["queries"], each.index, TOGETHER * tile.columns)
    blocks = Loop(e, 0, count, tile.columns)
    _print_block(h, (query, gradient, h.matrix("query_grad")), (each.index, blocks.index, count),
                 ones)
    blocks.close()
    _print_share(h, (query, gradient), (each.index, count), pitches)
    each.close()
    for name, width in (("key", "width"), ("value", "value_width")):
        target, row = h.matrix(f"{name}_grad")
        e.line(f"call void @rows(ptr {area[name + '_sums']}, i64 {pitches[width]}, "
               f"i64 {s['keys']}, i64 {s[width]}, ptr {target}, i64 {row})")
    h.close()
    return w.function("void @kernel(ptr %context, i64 %begin, i64 %end)"), e.declarations


def whole_strips(w: Writer, tile: Tile, width: str) -> str:
    """The width of as many strips as it takes."""
    return w.mul(w.op("udiv", w.add(width, tile.columns - 1), tile.columns), tile.columns)


def _print_block(h: HeadLoop, matrices: tuple[tuple[str, str], ...], at: tuple[str, str, str],
                 ones: str) -> None:
    """A block's weights and slopes, beside those of others, and the gradient of its queries."""
    w, e, tile, s, area = h.w, h.w.e, h.tile, h.sizes, h.area
    (query, gradient, target), (start, behind, count) = matrices, at
    pitch = TOGETHER * tile.columns
    first = w.add(start, behind)
    here, seen = least_rows(w, count, behind, tile.columns), h.visible(first)
    scores, slopes = (w.place(tile.kind, area[name], behind) for name in ("scores", "slopes"))
    h.score(query, (first, here, seen), scores, str(pitch))
    rows, row = h.rows_of(gradient, first)
    e.line(f"call void @panel(ptr {rows}, i64 {row}, i64 {here}, i64 {s['value_width']}, "
           f"ptr {area['gradient_panel']})")
    e.line(f"call void @product(ptr {area['values']}, i64 {s['value_pitch']}, i64 1, "
           f"ptr {area['gradient_panel']}, i64 {tile.columns}, i64 {s['value_width']}, "
           f"ptr {slopes}, i64 {pitch}, i64 {seen})")
    e.line(f"call void @weigh(ptr {scores}, ptr {slopes}, i64 {pitch}, i64 {seen}, "
           f"ptr {h.c['scale']})")
    e.line(f"call void @product(ptr {area['keys']}, i64 1, i64 {s['key_pitch']}, ptr {slopes}, "
           f"i64 {pitch}, i64 {seen}, ptr {area['result']}, i64 {tile.columns}, "
           f"i64 {s['width']})")
    rows, row = h.rows_of(target, first)
    e.line(f"call void @unpanel(ptr {area['result']}, ptr {ones}, i64 {here}, i64 {s['width']}, "
           f"ptr {rows}, i64 {row})")


def _print_share(h: HeadLoop, matrices: tuple[tuple[str, str], ...], at: tuple[str, str],
                 pitches: dict[str, str]) -> None:
    """What the blocks side by side add to the gradients of keys and values."""
    w, e, tile, s, area = h.w, h.w.e, h.tile, h.sizes, h.area
    first, count = at
    last = w.op("udiv", w.op("sub", count, 1), tile.columns)
    seen = h.visible(w.add(first, w.mul(last, tile.columns)))
    size = TOGETHER * tile.columns * tile.columns
    for matrix, width, rows, weights, sums in (
            (matrices[0], "width", "query_rows", "slopes", "key_sums"),
            (matrices[1], "value_width", "gradient_rows", "scores", "value_sums")):
        source, row = h.rows_of(matrix, first)
        strips = Loop(e, 0, s[width], tile.columns)
        target = w.mul(w.op("udiv", strips.index, tile.columns), size)
        e.line(f"call void @strip(ptr {w.place(tile.kind, source, strips.index)}, i64 {row}, "
               f"i64 {count}, i64 {w.op('sub', s[width], strips.index)}, "
               f"ptr {w.place(tile.kind, area[rows], target)})")
        strips.close()
        e.line(f"call void @share(ptr {area[weights]}, i64 {seen}, i64 {count}, ptr {area[rows]}, "
               f"i64 {s[width]}, ptr {area[sums]}, i64 {pitches[width]}, i64 {s['causal']}, "
               f"i64 {first})")


def print_gradients(tile: Tile, vector_bytes: int) -> tuple[str, tuple[Shared, ...]]:
    """Return the module of the kernel of gradients, and those that it imports."""
    adding = strip_product_text("product_add", tile, True)
    imported = (*common_parts(tile, vector_bytes), shared(adding, ["product_add"], vector_bytes))
    parts = [(SLOTS_TEXT, set[str]()), packing_text.strip_text(tile),
             packing_text.zeros_text(tile), weigh_text(tile), share_text(tile),
             gradients_text(tile)]
    return module(parts, vector_bytes, imported), imported
