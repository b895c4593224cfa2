"""Reductions run over all items, the last axes, or others that stand together.

Every piece of work writes one partial result, in the kind that accumulates; a second kernel, or
NumPy where columns are reduced, combines the partials. Pieces depend on the shape alone, so a
result does not depend on the number of threads.
float32 sums and products accumulate in float64, sums of up to eight neighbours in float32 before.
"""

import functools

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, jit, printer
from flambeau.backends.llvm.lanes import identity
from flambeau.backends.llvm.program import Input, Pointwise, Reduction
from flambeau.backends.llvm.reduce_printer import (
    BLOCK,
    COLUMN_BLOCK,
    ROWS_TOGETHER,
    Ending,
    print_blocks,
    print_columns,
    print_rows,
)

# rows in one piece of columns: at most so many pieces, of at least so many rows
ROW_PIECES = 16
MIN_ROW_PIECE = 64
# items from which threads take short rows in larger pieces, whose parts memory serves faster
MANY = 1 << 21

FINISH: dict[str, np.ufunc] = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


@functools.cache
def plain(combine: str, kind: str) -> Reduction:
    """Return the reduction of one array as it is, in the kind its result deserves."""
    wide = {"f32": "f64", "i32": "i64", "bool": "i64"}
    accumulate = wide.get(kind, kind) if combine in ("sum", "prod") else kind
    return Reduction(Pointwise((Input(kind),), (), (0,)), combine, accumulate)


def run_blocks(
    reduction: Reduction,
    array: np.ndarray,
    rows: int,
    ending: Ending | None = None,
    shape: tuple[int, ...] | None = None,
) -> np.ndarray:
    """Reduce a C-contiguous array, taken as (rows, columns), over its columns: -> (rows,).

    Results are of the kind that accumulates, or as `ending` says, means over a row's columns; they
    get a `shape` of as many items where one is given.
    """
    columns = _columns(array, rows)
    ending = ending or Ending(reduction.accumulate)
    blocks = max(1, -(-columns // BLOCK))
    _check(reduction, array)
    results = memory.empty((rows,) if shape is None else shape, calls.DTYPES[ending.kind])
    if blocks == 1:
        items = BLOCK * 4 if array.size >= MANY else BLOCK
        chunk = max(ROWS_TOGETHER, items // max(1, columns) // ROWS_TOGETHER * ROWS_TOGETHER)
        kernel = _rows_kernel(reduction, ending)
        calls.launch(kernel, rows, chunk, results, array, columns, columns)
        return results
    partial = np.empty((rows, blocks), calls.DTYPES[reduction.accumulate])
    calls.launch(_kernel(reduction, "blocks"), rows * blocks, 1, partial, array, blocks, columns)
    kernel = _rows_kernel(_of_partials(reduction), ending)
    calls.launch(kernel, rows, BLOCK, results, partial, blocks, columns)
    return results


@functools.cache
def _of_partials(reduction: Reduction) -> Reduction:
    """The reduction of what blocks left."""
    kind = reduction.accumulate
    return Reduction(Pointwise((Input(kind),), (), (0,)), reduction.combine, kind)


def run_columns(reduction: Reduction, array: np.ndarray, batch: int, rows: int) -> np.ndarray:
    """Reduce an array taken as (batch, rows, columns) over its rows: -> (batch, columns)."""
    columns = _columns(array, batch * rows)
    height = max(MIN_ROW_PIECE, -(-rows // ROW_PIECES))
    pieces = -(-rows // height)
    strips = -(-columns // COLUMN_BLOCK)
    start = identity(reduction.combine, reduction.accumulate)
    partial = np.full((batch, pieces, columns), start, calls.DTYPES[reduction.accumulate])
    _check(reduction, array)
    kernel = _kernel(reduction, "columns")
    sizes = (pieces, strips, height, rows, columns)
    calls.launch(kernel, batch * pieces * strips, 1, partial, array, *sizes)
    return _combined(reduction, partial)


def _combined(reduction: Reduction, partial: np.ndarray) -> np.ndarray:
    """Combine the pieces, which are the second axis."""
    if partial.shape[1] == 1:
        return partial[:, 0]
    with np.errstate(all="ignore"):
        result: np.ndarray = FINISH[reduction.combine].reduce(partial, axis=1)
    return result


def _columns(array: np.ndarray, rows: int) -> int:
    if rows < 1 or array.size % rows:
        raise ValueError(f"{array.size} items are not {rows} rows")
    return array.size // rows


def _check(reduction: Reduction, array: np.ndarray) -> None:
    kind = reduction.prologue.inputs[0].kind
    if calls.KINDS.get(array.dtype) != kind:
        raise ValueError(f"expected items of {kind}, got {array.dtype}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError("expected an aligned, C-contiguous array")


@functools.cache
def _kernel(reduction: Reduction, layout: str) -> int:
    if len(reduction.prologue.inputs) != 1:
        raise ValueError("reductions of one array only")
    printers = {"blocks": print_blocks, "columns": print_columns}
    text = printers[layout](reduction, jit.host().vector_bytes)
    return jit.load(text, (printer.KERNEL,)).address(printer.KERNEL)


@functools.cache
def _rows_kernel(reduction: Reduction, ending: Ending) -> int:
    text = print_rows(reduction, jit.host().vector_bytes, ending)
    return jit.load(text, (printer.KERNEL,)).address(printer.KERNEL)
