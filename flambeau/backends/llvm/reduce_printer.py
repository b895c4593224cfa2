"""Prints reductions as LLVM text: blocks of long rows, and short rows together.

Every piece of work ("unit") of blocks writes one partial result, in the kind that accumulates.
Rows start a stride apart, in items.
"""

from typing import NamedTuple

from flambeau.backends.llvm import printer
from flambeau.backends.llvm.emit import LLVM_TYPE, Emitter, Value
from flambeau.backends.llvm.lanes import (
    COMBINE,
    first_item,
    fold_lanes,
    halves,
    in_first_lane,
    least,
    spread_item,
    store_item,
)
from flambeau.backends.llvm.printer import Span, load_vector, run_steps
from flambeau.backends.llvm.program import Reduction, identity
from flambeau.backends.llvm.strided_printer import FEW_APART, gather, load_apart

# items in one block of a long row
BLOCK = 1 << 15
# places read side by side, which memory serves faster than one: parts of a long row, short rows
PARTS = 4
ROWS_TOGETHER = 4


class Ending(NamedTuple):
    """What is stored of a row's total: in which kind, and whether over a number of items."""

    kind: str
    mean: bool = False


def lanes_of(reduction: Reduction, vector_bytes: int, columns: int) -> int:
    """How many items travel together along rows of so many."""
    most = printer.lanes_for(reduction.prologue.kinds, vector_bytes)
    return max(2, min(most, 1 << (columns.bit_length() - 1)))


def emitter(lanes: int) -> Emitter:
    e = Emitter(lanes)
    e.label("entry")
    return e


def load_sizes(e: Emitter, first: int, count: int) -> list[str]:
    found = []
    for number in range(first, first + count):
        place = e.assign(f"getelementptr ptr, ptr %context, i64 {number}")
        found.append(e.assign(f"load i64, ptr {place}"))
    return found


def _open_units(e: Emitter, back: str) -> None:
    """Open the loop over pieces of work; it is come back to from the label `back`."""
    e.line("br label %units")
    e.label("units")
    e.line(f"%unit = phi i64 [%begin, %entry], [%unit.next, %{back}]")
    more = e.assign("icmp slt i64 %unit, %end")
    e.line(f"br i1 {more}, label %unit.body, label %units.done")
    e.label("unit.body")


def _close_units(e: Emitter) -> None:
    e.line("%unit.next = add i64 %unit, 1")
    e.line("br label %units")
    e.label("units.done")
    e.line("ret void")


def prepared(
    e: Emitter, reduction: Reduction, bases: list[str], index: str, mask: str | None
) -> Value:
    """Load the vectors at these bases and this index, take them through the prologue, combine them.

    float32 sums add these few in float32, pairwise, and go to float64 from there.
    """
    items = [_loaded(e, reduction, base, index, mask) for base in bases]
    while len(items) > 1:
        pairs = zip(items[::2], items[1::2], strict=True)
        items = [COMBINE[reduction.combine](e, a, b) for a, b in pairs]
    return e.convert(items[0], reduction.accumulate)


def _loaded(e: Emitter, reduction: Reduction, base: str, index: str, mask: str | None) -> Value:
    """One vector after the prologue: float32 to be summed as it is, others as they accumulate."""
    program = reduction.prologue
    values = [_read(e, reduction, base, index, mask)]
    run_steps(e, program.steps, values)
    item = values[program.outputs[0]]
    if reduction.combine == "sum" and item.kind == "f32":
        return item
    return e.convert(item, reduction.accumulate)


def _read(e: Emitter, reduction: Reduction, base: str, index: str, mask: str | None) -> Value:
    """The items of a row that starts at `base`, from the `index`-th on."""
    kind, step = reduction.prologue.inputs[0].kind, reduction.step
    if step == 1:
        return load_vector(e, kind, base, index, mask)
    if mask is None and step in FEW_APART:
        return load_apart(e, kind, base, index, step)
    return gather(e, kind, base, index, str(step), mask)


def print_blocks(reduction: Reduction, vector_bytes: int) -> str:
    """Return the kernel whose unit is one block of one row.

    Context: partials, input, blocks in a row, columns, stride.
    """
    e = emitter(lanes_of(reduction, vector_bytes, BLOCK))
    partial, source = printer.load_pointers(e, 2)
    blocks, columns, stride = load_sizes(e, 2, 3)
    _open_units(e, "span.done")
    row = e.assign(f"udiv i64 %unit, {blocks}")
    block = e.assign(f"urem i64 %unit, {blocks}")
    first = e.assign(f"mul i64 {block}, {BLOCK}")
    last = least(e, e.assign(f"add i64 {first}, {BLOCK}"), columns)
    offset = e.assign(f"mul i64 {row}, {stride}")
    stored = printer.STORED[reduction.prologue.inputs[0].kind]
    base = e.assign(f"getelementptr {stored}, ptr {source}, i64 {offset}")
    total = _print_total(e, reduction, base, first, last)
    _store_item(e, reduction, total, e.lanes, partial, "%unit")
    _close_units(e)
    return printer.module_text(e, vector_bytes)


def _print_total(e: Emitter, reduction: Reduction, source: str, begin: str, end: str) -> Value:
    """The lanes' totals over [begin, end), at the label span.done."""
    kind = reduction.accumulate
    combine = COMBINE[reduction.combine]
    start = e.const(kind, identity(reduction.combine, kind))
    length = e.assign(f"sub i64 {end}, {begin}")
    rounds = e.assign(f"udiv i64 {length}, {PARTS * e.lanes}")
    part = e.assign(f"mul i64 {rounds}, {e.lanes}")
    covered = e.assign(f"mul i64 {part}, {PARTS}")
    starts = [source]
    for number in range(1, PARTS):
        offset = e.assign(f"mul i64 {part}, {number * reduction.step}")
        stored = printer.STORED[reduction.prologue.inputs[0].kind]
        starts.append(e.assign(f"getelementptr {stored}, ptr {source}, i64 {offset}"))
    part_end = e.assign(f"add i64 {begin}, {part}")
    left = e.assign(f"add i64 {begin}, {covered}")
    wide = Span(e, "wide", "unit.body", begin, part_end)
    total = _print_running(e, reduction, wide, starts, start, "unit.body")
    wide.leave_early()
    span = Span(e, "span", "wide.rest", left, end)
    total = _print_running(e, reduction, span, [source], total, "wide.rest")
    mask = span.enter_tail()
    rest = prepared(e, reduction, [source], span.stop, mask)
    finished = combine(e, e.select(Value(mask, "bool"), rest, start), total)
    span.leave()
    ends = f"[{total.text}, %span.rest], [{finished.text}, %span.tail]"
    return e.value(kind, f"phi {e.type(kind)} {ends}")


def _print_running(
    e: Emitter,
    reduction: Reduction,
    span: Span,
    bases: list[str],
    start: Value,
    entered_from: str,
) -> Value:
    """Print the body of a span that reads all bases at its index; returns the running total."""
    kind, name = reduction.accumulate, f"%{span.name}.total"
    vector = e.type(kind)
    e.line(f"{name} = phi {vector} [{start.text}, %{entered_from}], [{name}.next, %{span.name}]")
    total = Value(name, kind)
    span.enter_body()
    item = prepared(e, reduction, bases, span.index, None)
    grown = COMBINE[reduction.combine](e, item, total)
    e.line(f"{name}.next = bitcast {vector} {grown.text} to {vector}")
    return total


def print_rows(reduction: Reduction, vector_bytes: int, ending: Ending, lanes: int) -> str:
    """Return the kernel whose unit is a row, several of them walked together.

    Context: results, input, columns, what a mean divides by, and stride.
    """
    e = emitter(lanes)
    length = e.assign("sub i64 %end, %begin")
    part = e.assign(f"udiv i64 {length}, {ROWS_TOGETHER}")
    part_end = e.assign(f"add i64 %begin, {part}")
    covered = e.assign(f"mul i64 {part}, {ROWS_TOGETHER}")
    left = e.assign(f"add i64 %begin, {covered}")
    # a row of every part together, then what remains one by one
    for name, bounds, count, apart in (
        ("group", ("entry", "%begin", part_end), ROWS_TOGETHER, part),
        ("row", ("group.done", left, "%end"), 1, "1"),
    ):
        _print_row_loop(e, reduction, name, bounds, count, apart, ending)
    e.line("ret void")
    return printer.module_text(e, vector_bytes)


def _print_row_loop(
    e: Emitter,
    reduction: Reduction,
    name: str,
    bounds: tuple[str, str, str],
    count: int,
    apart: str,
    ending: Ending,
) -> None:
    """Totals of `count` rows at a time; bounds: the label come from, the first row, the end."""
    _open_loop(e, name, *bounds)
    results, source = printer.load_pointers(e, 2)
    columns, items, stride = load_sizes(e, 2, 3)
    bases = row_bases(e, reduction, source, f"%{name}.at", count, stride, apart)
    for number, total in enumerate(_print_totals(e, reduction, name, bases, columns)):
        offset = e.assign(f"mul i64 {apart}, {number}")
        this = e.assign(f"add i64 %{name}.at, {offset}")
        item = _folded(e, reduction, total, e.lanes // 2)
        with e.width(1):
            last = first_item(e, ended(e, in_first_lane(e, item), items, ending))
        store_item(e, last, results, this)
    _close_loop(e, name, 1)


def ended(e: Emitter, total: Value, items: str, ending: Ending) -> Value:
    """What is stored for totals; `items` is what a mean divides by."""
    if ending.mean:
        number = e.assign(f"sitofp i64 {items} to {LLVM_TYPE[total.kind]}")
        total = e.div(total, spread_item(e, Value(number, total.kind)))
    return e.convert(total, ending.kind)


def _open_loop(e: Emitter, name: str, entered_from: str, begin: str, end: str) -> None:
    """Open a loop whose body holds the span name.span."""
    e.line(f"br label %{name}")
    e.label(name)
    back = f"[%{name}.next, %{name}.span.done]"
    e.line(f"%{name}.at = phi i64 [{begin}, %{entered_from}], {back}")
    more = e.assign(f"icmp slt i64 %{name}.at, {end}")
    e.line(f"br i1 {more}, label %{name}.body, label %{name}.done")
    e.label(f"{name}.body")


def _close_loop(e: Emitter, name: str, step: int) -> None:
    e.line(f"%{name}.next = add i64 %{name}.at, {step}")
    e.line(f"br label %{name}")
    e.label(f"{name}.done")


def row_bases(
    e: Emitter, reduction: Reduction, source: str, row: str, count: int, stride: str, apart: str
) -> list[str]:
    """Return where `count` rows start, from `row` on and so many apart."""
    stored = printer.STORED[reduction.prologue.inputs[0].kind]
    bases = []
    for number in range(count):
        step = e.assign(f"mul i64 {apart}, {number}")
        this = e.assign(f"add i64 {row}, {step}")
        offset = e.assign(f"mul i64 {this}, {stride}")
        bases.append(e.assign(f"getelementptr {stored}, ptr {source}, i64 {offset}"))
    return bases


def _print_totals(
    e: Emitter, reduction: Reduction, name: str, bases: list[str], columns: str
) -> list[Value]:
    """The lanes' totals of every row, at the label name.span.done."""
    kind = reduction.accumulate
    # totals of half the lanes: those of several rows stay in registers
    half = e.lanes // 2
    vector = f"<{half} x {LLVM_TYPE[kind]}>"
    start = e.const(kind, identity(reduction.combine, kind))
    span = Span(e, f"{name}.span", f"{name}.body", "0", columns)
    totals = [Value(f"%{name}.total{number}", kind) for number in range(len(bases))]
    for total in totals:
        first = f"[{start.text}, %{name}.body]"
        e.line(f"{total.text} = phi {vector} {first}, [{total.text}.next, %{name}.span]")
    span.enter_body()
    for total, base in zip(totals, bases, strict=True):
        grown = __with_halves(e, reduction, total, base, span.index, None)
        e.line(f"{total.text}.next = bitcast {vector} {grown.text} to {vector}")
    mask = span.enter_tail()
    finished = [
        __with_halves(e, reduction, total, base, span.stop, mask)
        for total, base in zip(totals, bases, strict=True)
    ]
    span.leave()
    ends = [
        f"phi {vector} [{total.text}, %{name}.span.rest], [{last.text}, %{name}.span.tail]"
        for total, last in zip(totals, finished, strict=True)
    ]
    return [e.value(kind, text) for text in ends]


def __with_halves(
    e: Emitter, reduction: Reduction, total: Value, base: str, index: str, mask: str | None
) -> Value:
    """Combine a vector's halves, as `prepared` does vectors, and then them with the total."""
    combine = COMBINE[reduction.combine]
    item = _loaded(e, reduction, base, index, mask)
    if mask is not None:
        ignored = identity(reduction.combine, item.kind)
        item = e.select(Value(mask, "bool"), item, e.const(item.kind, ignored))
    low, high = halves(e, item)
    e.lanes //= 2
    both = e.convert(combine(e, low, high), reduction.accumulate)
    grown = combine(e, both, total)
    e.lanes *= 2
    return grown


def _store_item(
    e: Emitter, reduction: Reduction, total: Value, lanes: int, partial: str, index: str
) -> None:
    """Combine a total's lanes and store the one item."""
    store_item(e, _folded(e, reduction, total, lanes), partial, index)


def _folded(e: Emitter, reduction: Reduction, total: Value, lanes: int) -> Value:
    """A total's lanes combined: one item."""
    with e.width(lanes):
        return fold_lanes(e, reduction.combine, total)
