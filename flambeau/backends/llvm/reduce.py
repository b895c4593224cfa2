"""Reductions run over rows, or over columns, of arrays taken as matrices or batches of them.

Every piece of work writes one partial result, in the kind that accumulates; a second kernel
combines the partials. Pieces depend on the shape alone, so a result does not depend on the number
of threads.
float32 sums and products accumulate in float64, sums of up to eight neighbours in float32 before.
"""

import functools
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, jit, printer
from flambeau.backends.llvm.column_printer import (
    COLUMN_BLOCK,
    ROWS_AT_ONCE,
    print_columns,
    print_whole_columns,
)
from flambeau.backends.llvm.program import Input, Pointwise, Reduction, identity
from flambeau.backends.llvm.reduce_printer import (
    BLOCK,
    FEW_APART,
    ROWS_TOGETHER,
    Ending,
    lanes_of,
    print_blocks,
    print_rows,
)

# rows in one piece of columns: at most so many pieces, of at least so many rows
ROW_PIECES = 16
MIN_ROW_PIECE = 64
# items from which threads take short rows in larger pieces, whose parts memory serves faster
MANY = 1 << 21
# how far apart items of a row may lie
STEPS = (1, *FEW_APART)


class Laid(NamedTuple):
    """Rows of so many columns in memory: how many items apart rows start, and batches of them."""

    columns: int
    stride: int
    apart: int = 0


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
    laid: Laid | None = None,
    items: int | None = None,
) -> np.ndarray:
    """Reduce an array, taken as (rows, columns), over its columns: -> (rows,).

    It is C-contiguous where it is not `laid` otherwise. Results are of the kind that accumulates,
    or as `ending` says; a mean is over a row's columns, or `items`. They get a `shape` of as many
    items where one is given.
    """
    columns, stride, _ = _rows_of(reduction, array, rows, laid)
    ending = ending or Ending(reduction.accumulate)
    items = columns if items is None else items
    blocks = max(1, -(-columns // BLOCK))
    results = memory.empty((rows,) if shape is None else shape, calls.DTYPES[ending.kind])
    if blocks == 1:
        most = BLOCK * 4 if array.size >= MANY else BLOCK
        chunk = calls.piece(rows, max(ROWS_TOGETHER, most // max(1, columns)), ROWS_TOGETHER)
        kernel = _rows_kernel(reduction, ending, _lanes(reduction, columns))
        calls.launch_strided(kernel, rows, chunk, results, array, columns, items, stride)
        return results
    partial = np.empty((rows, blocks), calls.DTYPES[reduction.accumulate])
    calls.launch_strided(_blocks_kernel(reduction), rows * blocks, 1, partial, array, blocks,
                         columns, stride)
    after = of_partials(reduction)
    kernel = _rows_kernel(after, ending, _lanes(after, blocks))
    calls.launch(kernel, rows, BLOCK, results, partial, blocks, items, blocks)
    return results


@functools.cache
def of_partials(reduction: Reduction) -> Reduction:
    """The reduction of what pieces left."""
    kind = reduction.accumulate
    return Reduction(Pointwise((Input(kind),), (), (0,)), reduction.combine, kind)


def run_columns(
    reduction: Reduction,
    array: np.ndarray,
    batch: int,
    rows: int,
    ending: Ending | None = None,
    shape: tuple[int, ...] | None = None,
    laid: Laid | None = None,
    items: int | None = None,
) -> np.ndarray:
    """Reduce an array taken as (batch, rows, columns) over its rows: -> (batch, columns).

    As `run_blocks` otherwise; a mean is over the rows, and items of a row lie side by side.
    """
    if reduction.step != 1:
        raise ValueError("columns lie side by side")
    columns, stride, apart = _rows_of(reduction, array, batch * rows, laid)
    if laid is None:
        apart = rows * columns
    ending = ending or Ending(reduction.accumulate)
    items = rows if items is None else items
    height = max(MIN_ROW_PIECE, -(-rows // ROW_PIECES))
    pieces = -(-rows // height)
    strips = -(-columns // COLUMN_BLOCK)
    lanes = _lanes(reduction, columns)
    results = memory.empty(shape or (batch, columns), calls.DTYPES[ending.kind])
    at_once = ROWS_AT_ONCE
    if pieces > 1:
        start = identity(reduction.combine, reduction.accumulate)
        partial = np.full((batch, pieces, columns), start, calls.DTYPES[reduction.accumulate])
        work = height * min(columns, COLUMN_BLOCK)
        chunk = calls.piece(batch * pieces * strips, max(1, BLOCK // work))
        calls.launch_strided(
            _columns_kernel(reduction, lanes), batch * pieces * strips, chunk, partial, array,
            pieces, strips, height, rows, columns, stride, apart)
        # one after the other: the order of additions is that of the rows
        array, rows, stride, apart, at_once = partial, pieces, columns, pieces * columns, 1
        reduction = of_partials(reduction)
    kernel = _whole_columns_kernel(reduction, _lanes(reduction, columns), ending, at_once)
    work = rows * min(columns, COLUMN_BLOCK)
    chunk = calls.piece(batch * strips, max(1, BLOCK // work))
    calls.launch_strided(kernel, batch * strips, chunk, results, array, strips, rows, columns,
                         items, stride, apart)
    return results


def _lanes(reduction: Reduction, columns: int) -> int:
    return lanes_of(reduction, jit.host().vector_bytes, columns)


def _rows_of(reduction: Reduction, array: np.ndarray, rows: int, laid: Laid | None) -> Laid:
    """How the rows of an array lie; ValueError where its kind or they are not as is said."""
    kind = reduction.prologue.inputs[0].kind
    if calls.STORED_KINDS.get(array.dtype) != kind:
        raise ValueError(f"expected items of {kind}, got {array.dtype}")
    if not array.flags.aligned or laid is None and not array.flags.c_contiguous:
        raise ValueError("expected an aligned, C-contiguous array")
    if laid is not None:
        return laid
    if rows < 1 or array.size % rows:
        raise ValueError(f"{array.size} items are not {rows} rows")
    columns = array.size // rows
    return Laid(columns, columns)


@functools.cache
def _blocks_kernel(reduction: Reduction) -> int:
    if len(reduction.prologue.inputs) != 1:
        raise ValueError("reductions of one array only")
    return _load(print_blocks(reduction, jit.host().vector_bytes))


@functools.cache
def _rows_kernel(reduction: Reduction, ending: Ending, lanes: int) -> int:
    return _load(print_rows(reduction, jit.host().vector_bytes, ending, lanes))


@functools.cache
def _columns_kernel(reduction: Reduction, lanes: int) -> int:
    return _load(print_columns(reduction, jit.host().vector_bytes, lanes))


@functools.cache
def _whole_columns_kernel(reduction: Reduction, lanes: int, ending: Ending, at_once: int) -> int:
    text = print_whole_columns(reduction, jit.host().vector_bytes, lanes, ending, at_once)
    return _load(text)


def _load(text: str) -> int:
    return jit.load(text, (printer.KERNEL,)).address(printer.KERNEL)
