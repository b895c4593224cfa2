"""Matrix products on the pool, by generated kernels: any sizes and transposes, also in batches."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import calls, gemm_text, jit
from flambeau.backends.llvm.array_program import Contraction
from flambeau.backends.llvm.conv import registers
from flambeau.backends.llvm.program import Pointwise
from flambeau.backends.llvm.strided_tiles import broadest
from flambeau.backends.llvm.tiles import Tile
from flambeau.backends.product_choice import Layout, Steps, is_readable, steps_of

# rows of a unit of work at the most, and their bytes, of a block of so many bytes of a strip; units
# that give threads enough to share
PART_ROWS = 192
LEFT_BYTES = 160 << 10
STRIP_BYTES = 64 << 10
UNITS = 8
# strips that rows are packed for, and rows that strips are packed for once for all units
STRIPS = 4
ROWS = 192
# strips packed at once, and pieces that work falls into: each has memory of its own, so that it
# does not matter how many threads there are later
PACKED = 8
PIECES = 16


class Work(NamedTuple):
    """A product as the kernels take it: their table of sizes, their units, and their memory.

    `strips` is how many units pack the right operand before; `packed`, `scratch` and `slots` are
    items of memory for the packed operand, for all pieces of the work, and flags of these.
    """

    sizes: list[int]
    strips: int
    units: int
    chunk: int
    packed: int
    scratch: int
    slots: int


@functools.cache
def kernels(program: Contraction) -> tuple[int, int]:
    """Where the code is that packs, and that multiplies."""
    tile = broadest(program.kind, jit.host().vector_bytes, registers())
    text = gemm_text.print_multiply(program, tile, jit.host().vector_bytes)
    library = jit.load(text, ("pack", "kernel"))
    return library.address("pack"), library.address("kernel")


def tile_for(dtype: np.dtype) -> Tile:
    """The tile that products of a dtype are made of."""
    return broadest(calls.KINDS[dtype], jit.host().vector_bytes, registers())


def layout_of(a: np.ndarray, b: np.ndarray) -> Layout:
    """How the product of two stacks lies."""
    (count, m, k), n = a.shape, b.shape[2]
    left, right = (steps_of(x, x.strides[0] // x.itemsize) for x in (a, b))
    return Layout(a.dtype, count, (m, k, n), left, right)


def covers(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the operands lie as `multiply` can read them."""
    if a.size == 0 or b.size == 0 or not (a.flags.aligned and b.flags.aligned):
        return False
    if any(step % x.itemsize for x in (a, b) for step in x.strides):
        return False
    return is_readable(steps_of(b, b.strides[0] // b.itemsize))


def work_of(tile: Tile, itemsize: int, batch: int, sizes: tuple[int, int, int], left: Steps,
            right: Steps, adds: bool = False) -> Work:
    """How a product of (batch, m, k) and (batch, k, n) is cut into units."""
    m, k, n = sizes
    strips = -(-n // tile.columns)
    most = max(tile.lanes, STRIP_BYTES // (itemsize * tile.columns) // 8 * 8)
    block = -(-k // -(-k // most))
    shares = m >= ROWS and (batch == 1 or right.next == 0)
    most_rows = min(PART_ROWS, max(tile.rows, LEFT_BYTES // (block * itemsize)))
    row_parts, part_rows, column_parts, part_strips = _shares(batch, m, strips, tile, most_rows)
    packs = part_strips >= STRIPS and left.row == 1
    rows_items = part_rows * block + part_rows // tile.rows * gemm_text.ROOM if packs else 0
    strip_at = -(-rows_items // 16) * 16
    part_at = strip_at + (0 if shares else -(-block * tile.columns // 16) * 16)
    slot = part_at + part_rows * tile.columns
    columns, together = strips * tile.columns, min(PACKED, -(-strips // 2))
    table = [m, n, k, *left, *right, n, m * n, row_parts, part_rows, column_parts,
             part_strips * tile.columns, block, slot, strip_at, part_at, int(adds), int(packs),
             columns if shares else 0, together]
    units = batch * row_parts * column_parts
    chunk = -(-units // max(PIECES, 2 * threads.get_num_threads()))
    slots = -(-units // chunk)
    return Work(table, -(-strips // together) if shares else 0, units, chunk,
                columns * k if shares else 0, slots * slot, slots)


def _shares(batch: int, rows: int, strips: int, tile: Tile,
            most_rows: int) -> tuple[int, int, int, int]:
    """Parts of rows, rows of one, parts of columns, strips of one."""
    each = -(-rows // -(-rows // most_rows))
    part_rows = -(-each // tile.rows) * tile.rows
    row_parts = -(-rows // part_rows)
    wanted = min(strips, max(1, -(-UNITS // (batch * row_parts))))
    part = -(-strips // wanted)
    return row_parts, part_rows, -(-strips // part), part


def planned(x: Layout, epilogue: Pointwise | None = None,
            adds: bool = False) -> Callable[..., None]:
    """How such products are computed: ``run(out, a, b, row)``, for operands that are `readable`.

    `out` is C-contiguous, and added to where it `adds`. `epilogue` takes the product, and `row` of
    n items where it has a second input, to what is stored.
    """
    tile, dtype = tile_for(x.dtype), x.dtype
    work = work_of(tile, dtype.itemsize, x.batch, x.sizes, x.left, x.right, adds)
    pack, kernel = kernels(Contraction(calls.KINDS[dtype], epilogue))
    sizes, no_row = np.array(work.sizes, np.int64), np.zeros(1, dtype)
    units, chunk, launch = work.units, work.chunk, calls.launch_strided

    def run(out: np.ndarray, a: np.ndarray, b: np.ndarray, row: np.ndarray = no_row) -> None:
        packed = memory.empty((work.packed,), dtype) if work.packed else no_row
        scratch = memory.empty((work.scratch,), dtype)
        context = (out, a, b, row, sizes, packed, scratch, np.zeros(work.slots, np.int64))
        if work.strips:
            launch(pack, work.strips, 1, *context)
        launch(kernel, units, chunk, *context)

    return run


def multiply(
    a: np.ndarray,
    b: np.ndarray,
    epilogue: Pointwise | None = None,
    row: np.ndarray | None = None,
    out: np.ndarray | None = None,
    adds: bool = False,
) -> np.ndarray:
    """``a @ b`` for (batch, m, k) and (batch, k, n) of float32 or float64: -> (batch, m, n).

    `a` may have any strides, `b` any of which one of the last two is 1 (`covers` says so); a batch
    stride of 0 repeats an operand. The others are as `planned` says.
    """
    if out is None:
        out = memory.empty((a.shape[0], a.shape[1], b.shape[2]), a.dtype)
    rows = () if row is None else (np.ascontiguousarray(row, a.dtype),)
    planned(layout_of(a, b), epilogue, adds)(out, a, b, *rows)
    return out
