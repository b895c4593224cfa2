"""Transposed copies on the pool: square tiles turned in registers, written by whole cache lines.

The source is (batch, columns, rows) in some strides whose rows lie side by side; the target is
(batch, rows, columns), C-contiguous. A unit of work is a band of target rows.
"""

import functools

from flambeau.backends.llvm import conv_text, jit
from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import LLVM_TYPE, Value
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import load_pointers, load_vector, store_vector
from flambeau.backends.llvm.program import ITEM_BYTES

# items are moved as integers of their size
MOVED = {4: "i32", 8: "i64"}
# tiles up to this size fit the registers of most hosts
TILE_BYTES = 32
CACHE_LINE = 64
CHUNK_BYTES = 1 << 17
TABLE = ("rows", "columns", "bands", "batch_step", "column_step")


def tile_of(kind: str, vector_bytes: int) -> tuple[int, int]:
    """The side of a tile, and how many rows and columns a band takes at a time."""
    size = ITEM_BYTES[kind]
    side = min(TILE_BYTES, vector_bytes) // size
    return side, CACHE_LINE // size


def print_transpose(kind: str, vector_bytes: int) -> str:
    """The kernel: context target, source, and the numbers of TABLE; steps count items."""
    side, band = tile_of(kind, vector_bytes)
    w = Writer(side)
    e = w.e
    target, source = load_pointers(e, 2)
    t = w.named("%context", TABLE, 2)
    units = Loop(e, "%begin", "%end")
    batch = w.op("udiv", units.index, t["bands"])
    first = w.mul(w.op("urem", units.index, t["bands"]), band)
    last = ln.least(e, w.add(first, band), t["rows"])
    read = w.place(kind, source, w.mul(batch, t["batch_step"]))
    written = w.place(kind, target, w.mul(batch, w.mul(t["rows"], t["columns"])))
    whole_columns = w.op("sub", t["columns"], w.op("urem", t["columns"], band))
    whole = w.test("eq", w.op("sub", last, first), band)
    end = w.choose(whole, whole_columns, 0)
    tiles = Loop(e, 0, end, band)
    for row in range(0, band, side):
        for column in range(0, band, side):
            at = w.add(tiles.index, column)
            _turn(w, kind, (read, written), t, w.add(first, row), at)
    tiles.close()
    rest = Branch(e, w.test("slt", end, t["columns"]))
    rows = Loop(e, first, last)
    columns = Loop(e, end, t["columns"])
    from_ = w.place(kind, read, w.add(rows.index, w.mul(columns.index, t["column_step"])))
    to = w.place(kind, written, w.add(w.mul(rows.index, t["columns"]), columns.index))
    item = e.assign(f"load {LLVM_TYPE[kind]}, ptr {from_}, align {ITEM_BYTES[kind]}")
    ln.store_item(e, Value(item, kind), to, "0")
    columns.close()
    rows.close()
    rest.close()
    units.close()
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, e.declarations)], vector_bytes)


def _turn(
    w: Writer, kind: str, bases: tuple[str, str], t: dict[str, str], row: str, column: str
) -> None:
    """One tile, whose corner in the target is at a row and a column."""
    side = w.e.lanes
    lines = []
    for number in range(side):
        at = w.add(row, w.mul(w.add(column, number), t["column_step"]))
        lines.append(load_vector(w.e, kind, bases[0], at, None))
    half = side // 2
    while half:
        # pairs of lines that stand `half` apart exchange blocks of `half` items
        for number in range(side):
            if not number & half:
                pair = lines[number], lines[number + half]
                lines[number] = _exchanged(w, *pair, half, 0)
                lines[number + half] = _exchanged(w, *pair, half, half)
        half //= 2
    for number, line in enumerate(lines):
        at = w.add(w.mul(w.add(row, number), t["columns"]), column)
        store_vector(w.e, line, bases[1], at, None)


def _exchanged(w: Writer, a: Value, b: Value, half: int, shift: int) -> Value:
    """Blocks of `half` items, in turn from a and b: the lower of each two, or the upper."""
    side, vector = w.e.lanes, w.e.type(a.kind)
    picks = [lane + shift if not lane & half else side + lane - half + shift
             for lane in range(side)]
    places = ", ".join([f"i32 {pick}" for pick in picks])
    text = f"shufflevector {vector} {a.text}, {vector} {b.text}, <{side} x i32> <{places}>"
    return w.e.value(a.kind, text)


@functools.cache
def _kernel(kind: str) -> tuple[int, int]:
    """The kernel's address, and how many rows a unit of work has."""
    vector_bytes = jit.host().vector_bytes
    address = jit.load(print_transpose(kind, vector_bytes), ("kernel",)).address("kernel")
    return address, tile_of(kind, vector_bytes)[1]


def route(item_bytes: int, sizes: tuple[int, int, int],
          steps: tuple[int, int]) -> tuple[int, int, int, tuple[int, ...]]:
    """The kernel's address, how many units of work, how many at a time, the numbers of TABLE.

    sizes: batch, rows and columns of the target. steps: from one batch of the source to the next,
    and from one column, in items.
    """
    batch, rows, columns = sizes
    address, band = _kernel(MOVED[item_bytes])
    bands = -(-rows // band)
    chunk = max(1, CHUNK_BYTES // (band * columns * item_bytes))
    return address, batch * bands, chunk, (rows, columns, bands, *steps)
