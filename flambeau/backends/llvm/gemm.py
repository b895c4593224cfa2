"""Matrix products on the pool, by generated kernels: any sizes and transposes, also in batches."""

import functools

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import calls, gemm_text, jit
from flambeau.backends.llvm.conv import registers
from flambeau.backends.llvm.program import Pointwise
from flambeau.backends.llvm.tiles import Tile, best_tile

# rows of a unit of work, steps of the depth between two walks over the result, units that give
# threads enough to share
PART_ROWS = 96
DEPTH = 384
UNITS = 8


@functools.cache
def _kernel(tile: Tile, program: Pointwise | None) -> int:
    text = gemm_text.print_multiply(tile, jit.host().vector_bytes, program)
    return jit.load(text, ("kernel",)).address("kernel")


def _steps(a: np.ndarray) -> tuple[int, int]:
    """The strides of the last two axes, in items; an axis of one item has any."""
    row, column = (step // a.itemsize for step in a.strides[-2:])
    rows, columns = a.shape[-2:]
    if columns == 1:
        column = 1
    if rows == 1:
        row = 1 if column != 1 else columns
    return row, column


def _shares(batch: int, rows: int, columns: int, tile: Tile) -> tuple[int, int, int, int]:
    """Parts of rows, rows of one, parts of columns, columns of one."""
    row_parts = max(1, rows // PART_ROWS)
    each = -(-rows // row_parts)
    part_rows = -(-each // tile.rows) * tile.rows
    row_parts = -(-rows // part_rows)
    panels = -(-columns // tile.columns)
    wanted = min(panels, max(1, -(-UNITS // (batch * row_parts))))
    part = -(-panels // wanted)
    return row_parts, part_rows, -(-panels // part), part * tile.columns


def covers(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether the operands lie as `multiply` can read them."""
    if a.size == 0 or b.size == 0 or not (a.flags.aligned and b.flags.aligned):
        return False
    if any(step % x.itemsize for x in (a, b) for step in x.strides):
        return False
    return 1 in _steps(b) and min(_steps(b)) > 0


def multiply(
    a: np.ndarray,
    b: np.ndarray,
    program: Pointwise | None = None,
    row: np.ndarray | None = None,
    out: np.ndarray | None = None,
    adds: bool = False,
) -> np.ndarray:
    """``a @ b`` for (batch, m, k) and (batch, k, n) of float32 or float64: -> (batch, m, n).

    `a` may have any strides, `b` any of which one of the last two is 1 (`covers` says so); a batch
    stride of 0 repeats an operand. `program` takes the product, and `row` of n items where it has
    a second input, to what is stored. `out`, C-contiguous, is added to where `adds`.
    """
    batch, rows, depth = a.shape
    columns = b.shape[2]
    tile = best_tile(calls.KINDS[a.dtype], jit.host().vector_bytes, registers(), False, rows)
    row_parts, part_rows, column_parts, part_columns = _shares(batch, rows, columns, tile)
    block = min(depth, DEPTH)
    if out is None:
        out = memory.empty((batch, rows, columns), a.dtype)
    slot = -(-(block + tile.lanes) * tile.columns // 16) * 16
    slots = threads.get_num_threads() + 1
    sizes = np.array([
        rows, columns, depth, *_steps(a), a.strides[0] // a.itemsize, *_steps(b),
        b.strides[0] // b.itemsize, columns, rows * columns, row_parts, part_rows, column_parts,
        part_columns, block, slot, int(adds)], np.int64)
    units = batch * row_parts * column_parts
    chunk = max(1, units // (16 * threads.get_num_threads()))
    kept = np.zeros(1, a.dtype) if row is None else np.ascontiguousarray(row, a.dtype)
    places = [x.__array_interface__["data"][0] for x in (a, b)]
    calls.launch(_kernel(tile, program), units, chunk, out, *places, kept, sizes,
                 memory.empty((slots * slot,), a.dtype), np.zeros(slots, np.int64))
    return out
