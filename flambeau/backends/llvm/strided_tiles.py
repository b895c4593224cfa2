"""LLVM text of products whose left operand lies in any strides, by tiles that stay in registers.

The right operand is a strip of whole vectors: a tile's columns of every step of the depth. Rows
that are left over are done by lower tiles.
"""

from typing import NamedTuple

from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import load_vector, splat_item, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES
from flambeau.backends.llvm.tiles import UNROLL, Tile

OPERANDS = ("ptr %a, i64 %row, i64 %step, ptr %b, i64 %next, i64 %depth, ptr %c, i64 %pitch")


class Heights(NamedTuple):
    """The heights of tiles for a host's registers, tallest first, and their vectors."""

    rows: tuple[int, ...]
    vectors: int


def heights(registers: int) -> Heights:
    """Tiles that fill the registers, and what is left over in the end."""
    return Heights((12, 8, 4, 2, 1) if registers >= 32 else (6, 4, 2, 1), 2)


def tallest(kind: str, vector_bytes: int, registers: int) -> Tile:
    """The tile that most of a product is done by."""
    found = heights(registers)
    return Tile(kind, vector_bytes // ITEM_BYTES[kind], found.rows[0], found.vectors)


def broadest(kind: str, vector_bytes: int, registers: int) -> Tile:
    """The tile for products of many columns: where registers are many, it has few rows."""
    tile = tallest(kind, vector_bytes, registers)
    return tile._replace(rows=6, vectors=4) if registers >= 32 else tile


def lower(tile: Tile) -> list[Tile]:
    """A tile, and those for the rows that it leaves."""
    rows = heights(32 if tile.rows > 6 else 16).rows
    return [tile._replace(rows=height) for height in rows]


def strided_tile_text(name: str, tile: Tile, adds: bool) -> tuple[str, set[str]]:
    """``name(a, row, step, b, next, depth, c, pitch)``: one tile of a product.

    The left operand's rows are `row` items apart, its columns `step`; the right one's rows `next`.
    The result is added to what is there where it `adds`.
    """
    w = Writer(tile.lanes)
    e, kind = w.e, tile.kind
    lines = [w.mul("%pitch", row) for row in range(tile.rows)]
    left = [w.place(kind, "%a", w.mul("%row", row)) for row in range(tile.rows)]
    _fetch(w, tile, lines, adds)
    cells = [(row, v) for row in range(tile.rows) for v in range(tile.vectors)]
    starts = [load_vector(e, kind, "%c", w.add(lines[row], v * tile.lanes), None) if adds
              else e.const(kind, 0.0) for row, v in cells]
    rest = w.op("urem", "%depth", UNROLL)
    whole = w.op("sub", "%depth", rest)
    loop = Loop(e, 0, whole, UNROLL, starts)
    values = loop.values
    for step in range(UNROLL):
        values = _step(w, tile, left, w.add(loop.index, step), values)
    last = Loop(e, whole, "%depth", 1, loop.close(values))
    found = last.close(_step(w, tile, left, last.index, last.values))
    for (row, v), value in zip(cells, found, strict=True):
        store_vector(e, value, "%c", w.add(lines[row], v * tile.lanes), None)
    return w.function(f"internal void @{name}({OPERANDS})"), e.declarations


def _fetch(w: Writer, tile: Tile, lines: list[str], adds: bool) -> None:
    """Have the places of the result brought near while the depth is walked.

    Where it adds it reads its own at once, and so fetches those of the tile below.
    """
    below = w.mul("%pitch", tile.rows) if adds else "0"
    for line in lines:
        fetch(w, w.place(tile.kind, "%c", w.add(line, below)), writes=True)


def fetch(w: Writer, place: str, writes: bool) -> None:
    """Have a cache line brought near; any address will do."""
    w.e.declarations.add(
        "declare void @llvm.prefetch.p0(ptr, i32 immarg, i32 immarg, i32 immarg)")
    w.e.line(f"call void @llvm.prefetch.p0(ptr {place}, i32 {int(writes)}, i32 3, i32 1)")


def _step(w: Writer, tile: Tile, left: list[str], at: str, totals: list[Value]) -> list[Value]:
    line = w.place(tile.kind, "%b", w.mul(at, "%next"))
    return multiply(w, tile, line, left, w.mul(at, "%step"), totals)


def multiply(w: Writer, tile: Tile, line: str, left: list[str], offset: str,
             totals: list[Value]) -> list[Value]:
    """A tile's totals with a step of the depth: one item of each row times a line of columns.

    The items lie `offset` items behind the places of `left`.
    """
    e, kind = w.e, tile.kind
    columns = [load_vector(e, kind, line, str(v * tile.lanes), None)
               for v in range(tile.vectors)]
    grown = []
    for row, place in enumerate(left):
        item = splat_item(e, kind, place, offset)
        grown += [e.fma(item, column, totals[row * tile.vectors + v])
                  for v, column in enumerate(columns)]
    return grown


def strip_product_text(name: str, tile: Tile, adds: bool) -> list[tuple[str, set[str]]]:
    """``name(a, row, step, b, next, depth, c, pitch, rows)``: any number of rows by one strip.

    Its tiles come with it.
    """
    tiles = lower(tile)
    parts = [strided_tile_text(f"{name}{t.rows}", t, adds) for t in tiles]
    w = Writer(tile.lanes)
    e = w.e
    rest = w.op("urem", "%rows", tile.rows)
    # two rows alone are slow: two tiles of four make eight
    few = e.assign(f"and i1 {w.test('eq', w.add(rest, tile.rows), 8)}, "
                   f"{w.test('sge', '%rows', 8)}")
    rest = w.choose(few, 8, rest)
    done = w.op("sub", "%rows", rest)
    loop = Loop(e, 0, done, tile.rows)
    _call(w, name, tile, loop.index)
    loop.close()
    for t in tiles[1:]:
        count = w.op("udiv", w.op("sub", "%rows", done), t.rows)
        end = w.add(done, w.mul(count, t.rows))
        some = Branch(e, w.test("ne", count, 0))
        loop = Loop(e, done, end, t.rows)
        _call(w, name, t, loop.index)
        loop.close()
        some.close()
        done = end
    return [*parts, (w.function(f"internal void @{name}({OPERANDS}, i64 %rows)"), e.declarations)]


def _call(w: Writer, name: str, tile: Tile, first: str) -> None:
    a = w.place(tile.kind, "%a", w.mul(first, "%row"))
    c = w.place(tile.kind, "%c", w.mul(first, "%pitch"))
    w.e.line(f"call void @{name}{tile.rows}(ptr {a}, i64 %row, i64 %step, ptr %b, i64 %next, "
             f"i64 %depth, ptr {c}, i64 %pitch)")
