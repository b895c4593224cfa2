"""Prints reductions of columns as LLVM text: strips of them over pieces of rows, or over all.

Arrays are (batch, rows, columns); rows start a stride apart, batches another one, in items.
"""

import functools
from collections.abc import Callable

from flambeau.backends.llvm import printer
from flambeau.backends.llvm.emit import LLVM_TYPE, Emitter, Value
from flambeau.backends.llvm.lanes import COMBINE, least
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import load_vector
from flambeau.backends.llvm.program import Reduction, identity
from flambeau.backends.llvm.reduce_printer import Ending, emitter, ended, load_sizes, prepared

# columns in one strip
COLUMN_BLOCK = 1024
# rows read side by side, which memory serves faster than one
ROWS_AT_ONCE = 8


def print_columns(reduction: Reduction, vector_bytes: int, lanes: int) -> str:
    """Return the kernel whose unit is one strip of columns over one piece of rows of one batch.

    Context: partials (already holding the identity), input, pieces, strips, height, rows, columns,
    stride of rows, stride of batches.
    """
    e = emitter(lanes)
    partial, source = printer.load_pointers(e, 2)
    pieces, strips, height, rows, columns, stride, apart = load_sizes(e, 2, 7)
    units = Loop(e, "%begin", "%end")
    outer = e.assign(f"udiv i64 {units.index}, {strips}")
    piece = e.assign(f"urem i64 {outer}, {pieces}")
    batch = e.assign(f"udiv i64 {outer}, {pieces}")
    bounds = _strip(e, e.assign(f"urem i64 {units.index}, {strips}"), columns)
    top = e.assign(f"mul i64 {piece}, {height}")
    bottom = least(e, e.assign(f"add i64 {top}, {height}"), rows)
    target = _place(e, LLVM_TYPE[reduction.accumulate], partial, outer, columns)
    plane = _place(e, _stored(reduction), source, batch, apart)

    _combine_rows(e, reduction, plane, target, (top, bottom), stride, ROWS_AT_ONCE, bounds)
    units.close()
    return _module(e, vector_bytes)


def print_whole_columns(
    reduction: Reduction, vector_bytes: int, lanes: int, ending: Ending, at_once: int
) -> str:
    """Return the kernel whose unit is one strip of columns of one batch, over all rows.

    Totals of a strip stay near. Context: results, input, strips, rows, columns, what a mean divides
    by, stride of rows, stride of batches.
    """
    e = emitter(lanes)
    kind = reduction.accumulate
    totals = e.assign(f"alloca [{COLUMN_BLOCK} x {LLVM_TYPE[kind]}], align 64")
    results, source = printer.load_pointers(e, 2)
    strips, rows, columns, items, stride, apart = load_sizes(e, 2, 6)
    units = Loop(e, "%begin", "%end")
    batch = e.assign(f"udiv i64 {units.index}, {strips}")
    first, last = _strip(e, e.assign(f"urem i64 {units.index}, {strips}"), columns)
    width = ("0", e.assign(f"sub i64 {last}, {first}"))
    plane = _place(e, _stored(reduction), source, batch, apart)
    plane = _place(e, _stored(reduction), plane, first, "1")
    target = _place(e, printer.STORED[ending.kind], results, batch, columns)
    target = _place(e, printer.STORED[ending.kind], target, first, "1")
    start = e.const(kind, identity(reduction.combine, kind))
    _each_vector(e, width, lambda at, mask: printer.store_vector(e, start, totals, at, mask))
    _combine_rows(e, reduction, plane, totals, ("0", rows), stride, at_once, width)

    def end(at: str, mask: str | None) -> None:
        total = load_vector(e, kind, totals, at, mask)
        printer.store_vector(e, ended(e, total, items, ending), target, at, mask)

    _each_vector(e, width, end)
    units.close()
    return _module(e, vector_bytes)


def _combine_rows(e: Emitter, reduction: Reduction, plane: str, target: str,
                  rows: tuple[str, str], stride: str, at_once: int,
                  columns: tuple[str, str]) -> None:
    """Combine rows, several at a time and then one at a time, into what lies at the target."""
    top, bottom = rows
    rest = e.assign(f"urem i64 {e.assign(f'sub i64 {bottom}, {top}')}, {at_once}")
    middle = e.assign(f"sub i64 {bottom}, {rest}")
    loops = ((top, middle, at_once), (middle, bottom, 1))
    for begin, end, count in loops if at_once > 1 else loops[:1]:
        several = Loop(e, begin, end, count)
        bases = _rows(e, reduction, plane, several.index, count, stride)
        _each_vector(e, columns, functools.partial(_combine, e, reduction, bases, target))
        several.close()


def _stored(reduction: Reduction) -> str:
    return printer.STORED[reduction.prologue.inputs[0].kind]


def _strip(e: Emitter, number: str, columns: str) -> tuple[str, str]:
    """The first column of a strip, and the one behind its last."""
    first = e.assign(f"mul i64 {number}, {COLUMN_BLOCK}")
    return first, least(e, e.assign(f"add i64 {first}, {COLUMN_BLOCK}"), columns)


def _place(e: Emitter, stored: str, base: str, number: str, apart: str) -> str:
    offset = e.assign(f"mul i64 {number}, {apart}")
    return e.assign(f"getelementptr {stored}, ptr {base}, i64 {offset}")


def _rows(e: Emitter, reduction: Reduction, plane: str, first: str, count: int,
          stride: str) -> list[str]:
    """Where `count` rows start, from `first` on."""
    numbers = [e.assign(f"add i64 {first}, {number}") for number in range(count)]
    return [_place(e, _stored(reduction), plane, number, stride) for number in numbers]


def _each_vector(e: Emitter, bounds: tuple[str, str],
                 body: Callable[[str, str | None], None]) -> None:
    """Run `body(index, mask)` over the columns within bounds."""
    first, last = bounds
    rest = e.assign(f"urem i64 {e.assign(f'sub i64 {last}, {first}')}, {e.lanes}")
    stop = e.assign(f"sub i64 {last}, {rest}")
    whole = Loop(e, first, stop, e.lanes)
    body(whole.index, None)
    whole.close()
    tail = Branch(e, e.assign(f"icmp ne i64 {rest}, 0"))
    body(stop, printer.lane_mask(e, rest))
    tail.close()


def _combine(e: Emitter, reduction: Reduction, bases: list[str], target: str, at: str,
             mask: str | None) -> None:
    """Combine rows into the partials, over one vector of columns."""
    total: Value = load_vector(e, reduction.accumulate, target, at, mask)
    rows = prepared(e, reduction, bases, at, mask)
    total = COMBINE[reduction.combine](e, rows, total)
    printer.store_vector(e, total, target, at, mask)


def _module(e: Emitter, vector_bytes: int) -> str:
    e.line("ret void")
    return printer.module_text(e, vector_bytes)
