"""Prints reductions of columns as LLVM text: strips of them over pieces of rows, or over all.

Arrays are (batch, rows, columns); rows start a stride apart, batches another one, in items.
"""

from collections.abc import Callable

from flambeau.backends.llvm import printer
from flambeau.backends.llvm.emit import LLVM_TYPE, Emitter, Value
from flambeau.backends.llvm.lanes import COMBINE, identity, least
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.printer import load_vector
from flambeau.backends.llvm.program import Reduction
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

    def group(first: str, count: int) -> None:
        bases = _rows(e, reduction, plane, first, count, stride)
        _each_vector(e, bounds, lambda at, mask: _combine(e, reduction, bases, target, at, mask))

    rest = e.assign(f"urem i64 {e.assign(f'sub i64 {bottom}, {top}')}, {ROWS_AT_ONCE}")
    middle = e.assign(f"sub i64 {bottom}, {rest}")
    for begin, end, count in ((top, middle, ROWS_AT_ONCE), (middle, bottom, 1)):
        several = Loop(e, begin, end, count)
        group(several.index, count)
        several.close()
    units.close()
    return _module(e, vector_bytes)


def print_whole_columns(
    reduction: Reduction, vector_bytes: int, lanes: int, ending: Ending, at_once: int
) -> str:
    """Return the kernel whose unit is one strip of columns of one batch, over all rows.

    Totals stay in registers. Context: results, input, strips, rows, columns, what a mean divides
    by, stride of rows, stride of batches.
    """
    e = emitter(lanes)
    results, source = printer.load_pointers(e, 2)
    strips, rows, columns, items, stride, apart = load_sizes(e, 2, 6)
    units = Loop(e, "%begin", "%end")
    batch = e.assign(f"udiv i64 {units.index}, {strips}")
    bounds = _strip(e, e.assign(f"urem i64 {units.index}, {strips}"), columns)
    plane = _place(e, _stored(reduction), source, batch, apart)
    target = _place(e, printer.STORED[ending.kind], results, batch, columns)
    middle = e.assign(f"sub i64 {rows}, {e.assign(f'urem i64 {rows}, {at_once}')}")

    def total(at: str, mask: str | None) -> None:
        kind = reduction.accumulate
        found = e.const(kind, identity(reduction.combine, kind))
        loops = (("0", middle, at_once), (middle, rows, 1))
        for begin, end, count in loops if at_once > 1 else loops[:1]:
            several = Loop(e, begin, end, count, [found])
            bases = _rows(e, reduction, plane, several.index, count, stride)
            item = prepared(e, reduction, bases, at, mask)
            (found,) = several.close([COMBINE[reduction.combine](e, item, several.values[0])])
        printer.store_vector(e, ended(e, found, items, ending), target, at, mask)

    _each_vector(e, bounds, total)
    units.close()
    return _module(e, vector_bytes)


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
