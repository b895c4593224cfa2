"""LLVM text of Winograd's convolution F(2x2, 3x3): 16 products where the definition has 36.

Every 2x2 results are made of a tile of 4x4 items. Tiles, weights and results are changed by the
matrices of Lavin and Gray (Fast Algorithms for Convolutional Neural Networks, 2016):

    Y = A' [(G w G') * (B' d B)] A

and for each of the 16 places of a tile, the sum over channels is a matrix product. Channels stand
in the lanes of vectors: planes are turned over on their way in, results on their way out.
"""

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import load_vector, store_vector
from flambeau.backends.llvm.tiles import Tile

# what a tile has on each axis, and in all; of results it makes
SIDE, PLACES, MADE = 4, 16, 2


def _tiles(w: Writer) -> tuple[Loop, Loop, str]:
    """Loops over the tiles of a block, and a tile's number."""
    rows = Loop(w.e, 0, "%tile_rows")
    columns = Loop(w.e, 0, "%tile_columns")
    return rows, columns, w.add(w.mul(rows.index, "%tile_columns"), columns.index)


def tiles_text(tile: Tile) -> tuple[str, set[str]]:
    """``tiles(planes, columns, kept, tile_rows, tile_columns, changed, pitch)``: B' d B.

    changed[place][tile][channel]; places are `pitch` apart.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    line = w.mul("%columns", "%kept")
    rows, columns, number = _tiles(w)
    corner = w.add(w.mul(w.mul(rows.index, MADE), line),
                   w.mul(w.mul(columns.index, MADE), "%kept"))
    here, there = w.place(kind, "%planes", corner), w.mul(number, "%kept")
    there = w.place(kind, "%changed", there)
    channels = Loop(e, 0, "%kept", e.lanes)
    lines = [w.add(channels.index, w.mul(line, y)) for y in range(SIDE)]
    changed = []
    for x in range(SIDE):
        step = w.mul("%kept", x)
        changed.append(_differences(w, [load_vector(e, kind, here, w.add(at, step), None)
                                        for at in lines]))
    for y in range(SIDE):
        for x, value in enumerate(_differences(w, [column[y] for column in changed])):
            at = w.add(channels.index, w.mul("%pitch", y * SIDE + x))
            store_vector(e, value, there, at, None)
    for loop in (channels, columns, rows):
        loop.close()
    head = ("internal void @tiles(ptr %planes, i64 %columns, i64 %kept, i64 %tile_rows, "
            "i64 %tile_columns, ptr %changed, i64 %pitch)")
    return w.function(head), e.declarations


def _differences(w: Writer, d: list[Value]) -> list[Value]:
    """B' d of four items."""
    e = w.e
    return [e.sub(d[0], d[2]), e.add(d[1], d[2]), e.sub(d[2], d[1]), e.sub(d[1], d[3])]


def results_text(tile: Tile) -> tuple[str, set[str]]:
    """``results(products, pitch, tile_rows, tile_columns, start, strip, seen)``: A' m A + start.

    strip[row][column][channel], of a tile's columns of channels, to which `start` is added, one
    number for each. `seen` gets 0 added, or NaN where a result is not finite.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    across = w.mul("%tile_columns", MADE * tile.columns)
    rows = Loop(e, 0, "%tile_rows", 1, [e.const(kind, 0.0)])
    columns = Loop(e, 0, "%tile_columns", 1, rows.values)
    number = w.add(w.mul(rows.index, "%tile_columns"), columns.index)
    source = w.mul(number, tile.columns)
    corner = w.add(w.mul(w.mul(rows.index, MADE), across),
                   w.mul(columns.index, MADE * tile.columns))
    (flaw,) = columns.values
    for v in range(tile.vectors):
        at = w.add(source, v * tile.lanes)
        summed = []
        for x in range(SIDE):
            places = [w.add(at, w.mul("%pitch", y * SIDE + x)) for y in range(SIDE)]
            summed.append(_sums(w, [load_vector(e, kind, "%products", place, None)
                                    for place in places]))
        start = load_vector(e, kind, "%start", str(v * tile.lanes), None)
        for y in range(MADE):
            line = w.add(w.add(corner, v * tile.lanes), w.mul(across, y))
            for x, value in enumerate(_sums(w, [column[y] for column in summed])):
                total = e.add(value, start)
                flaw = e.fma(total, 0.0, flaw)
                store_vector(e, total, "%strip", w.add(line, x * tile.columns), None)
    (flaw,) = rows.close(columns.close([flaw]))
    ln.add_item(e, ln.fold_lanes(e, "sum", flaw), "%seen")
    head = ("internal void @results(ptr %products, i64 %pitch, i64 %tile_rows, "
            "i64 %tile_columns, ptr %start, ptr %strip, ptr %seen)")
    return w.function(head), e.declarations


def _sums(w: Writer, m: list[Value]) -> list[Value]:
    """A' m of four items."""
    e = w.e
    inner, outer = e.add(m[1], m[2]), e.sub(m[1], m[2])
    return [e.add(m[0], inner), e.sub(outer, m[3])]


def slopes_text(tile: Tile) -> tuple[str, set[str]]:
    """``slopes(planes, kept, tile_rows, tile_columns, changed, pitch)``: A g A', as `tiles`.

    The planes have the positions that the tiles make, and no more.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    line = w.mul(w.mul("%tile_columns", MADE), "%kept")
    rows, columns, number = _tiles(w)
    corner = w.add(w.mul(w.mul(rows.index, MADE), line),
                   w.mul(w.mul(columns.index, MADE), "%kept"))
    here = w.place(kind, "%planes", corner)
    there = w.place(kind, "%changed", w.mul(number, "%kept"))
    channels = Loop(e, 0, "%kept", e.lanes)
    changed = []
    for x in range(MADE):
        first = w.add(channels.index, w.mul("%kept", x))
        changed.append(_spread_pair(w, [load_vector(e, kind, here, w.add(first, w.mul(line, y)),
                                                    None) for y in range(MADE)]))
    for y in range(SIDE):
        for x, value in enumerate(_spread_pair(w, [column[y] for column in changed])):
            at = w.add(channels.index, w.mul("%pitch", y * SIDE + x))
            store_vector(e, value, there, at, None)
    for loop in (channels, columns, rows):
        loop.close()
    head = ("internal void @slopes(ptr %planes, i64 %kept, i64 %tile_rows, i64 %tile_columns, "
            "ptr %changed, i64 %pitch)")
    return w.function(head), e.declarations


def _spread_pair(w: Writer, g: list[Value]) -> list[Value]:
    """A g of two items."""
    e = w.e
    return [g[0], e.add(g[0], g[1]), e.sub(g[0], g[1]), e.neg(g[1])]
