"""LLVM text of the register tile that products and convolutions are made of.

A tile of `rows` x `vectors` accumulators runs through the depth of two packed operands: `a` has
`rows` items at every step, `b` whole vectors. Both lie one step after another.
"""

from typing import NamedTuple

from flambeau.backends.llvm.emit import Emitter, Value
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import load_vector, splat_item, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

# steps of the depth between two jumps
UNROLL = 2


class Tile(NamedTuple):
    """A tile for one kind and host: its rows, its columns in vectors, and a vector's lanes."""

    kind: str
    lanes: int
    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        """How many columns the tile has."""
        return self.vectors * self.lanes


def wide_tile(kind: str, vector_bytes: int, registers: int, rows: int) -> Tile:
    """Return the tile that fills the registers, of at most so many rows, for long rows.

    It has few rows and many columns.
    """
    many = [(8, 3), (4, 5), (2, 8), (1, 8)]
    shapes = many if registers >= 32 else [(4, 3), (2, 5), (1, 8)]
    fits = [shape for shape in shapes if shape[0] <= rows]
    return Tile(kind, vector_bytes // ITEM_BYTES[kind], *(fits or shapes[-1:])[0])


def tile_text(name: str, tile: Tile, adds: bool) -> tuple[str, set[str]]:
    """Return a function and what it declares: ``name(a, b, depth, c, ldc, start)``.

    It writes `rows` rows of whole vectors to `c`, `ldc` items apart: a @ b, plus what is there
    already where it `adds`, else plus one number a row from `start`.
    """
    e = Emitter(tile.lanes)
    e.label("entry")
    rows = [e.assign(f"mul i64 %ldc, {row}") for row in range(tile.rows)]
    cells = [(row, v) for row in range(tile.rows) for v in range(tile.vectors)]
    starts = []
    for row, v in cells:
        if adds:
            at = e.assign(f"add i64 {rows[row]}, {v * tile.lanes}")
            starts.append(load_vector(e, tile.kind, "%c", at, None))
        elif v:
            starts.append(starts[-1])
        else:
            starts.append(splat_item(e, tile.kind, "%start", str(row)))
    rest = e.assign(f"urem i64 %depth, {UNROLL}")
    whole = e.assign(f"sub i64 %depth, {rest}")
    loop = Loop(e, 0, whole, UNROLL, starts)
    values = loop.values
    for step in range(UNROLL):
        values = _step(e, tile, e.assign(f"add i64 {loop.index}, {step}"), values)
    last = Loop(e, whole, "%depth", 1, loop.close(values))
    found = last.close(_step(e, tile, last.index, last.values))
    for (row, v), value in zip(cells, found, strict=True):
        at = e.assign(f"add i64 {rows[row]}, {v * tile.lanes}")
        store_vector(e, value, "%c", at, None)
    e.line("ret void")
    head = f"define internal void @{name}(ptr %a, ptr %b, i64 %depth, ptr %c, i64 %ldc, ptr %start)"
    return "\n".join([head + " #0 {", *e.lines, "}"]), e.declarations


def _step(e: Emitter, tile: Tile, at: str, totals: list[Value]) -> list[Value]:
    """One step of the depth."""
    right = e.assign(f"mul i64 {at}, {tile.columns}")
    places = [right] + [e.assign(f"add i64 {right}, {v * tile.lanes}")
                        for v in range(1, tile.vectors)]
    columns = [load_vector(e, tile.kind, "%b", place, None) for place in places]
    left = e.assign(f"mul i64 {at}, {tile.rows}")
    grown = []
    for row in range(tile.rows):
        item = splat_item(e, tile.kind, "%a", e.assign(f"add i64 {left}, {row}"))
        for v, column in enumerate(columns):
            grown.append(e.fma(item, column, totals[row * tile.vectors + v]))
    return grown
