"""Prints pointwise programs over arrays of any strides as LLVM text.

The kernel's unit of work is a row: the elements that differ in the last index alone. Its context
holds a pointer for every output, then for every input, then the sizes of the dimensions, then for
every input its strides, counted in items, then, unless outputs are C-contiguous, theirs, of which
the last one is 1. Where an input's items of a row lie
apart, rows are taken several at a time in strips of columns, so that cache lines serve them all.
"""

from typing import NamedTuple

from flambeau.backends.llvm import printer
from flambeau.backends.llvm.emit import Emitter, Value
from flambeau.backends.llvm.lanes import least
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import STORED, Span, lanes_for, run_steps, splat_item
from flambeau.backends.llvm.program import ITEM_BYTES, Pointwise

ROWS = 16
STRIP = 128
# items so far apart are read together with those between them
FEW_APART = (2, 3, 4)
MOST_LANES = 64


class Walk(NamedTuple):
    """The number of dimensions, and how far apart an input's items of a row lie.

    0, 1, -1 (they lie side by side, the first one last), FEW_APART, or "many". `lanes` is the most
    items that are processed at once; `spread` says that outputs have strides.
    """

    rank: int
    steps: tuple[int | str, ...]
    lanes: int = MOST_LANES
    spread: bool = False


class StridedPrinter:
    """The state of printing one program."""

    def __init__(self, program: Pointwise, e: Emitter, walk: Walk) -> None:
        self.program = program
        self.e = e
        self.walk = walk
        outs, ins = len(program.outputs), len(program.inputs)
        words = printer.load_pointers(e, outs + ins + walk.rank * (1 + ins + walk.spread))
        self.outs, self.ins = words[:outs], words[outs : outs + ins]
        numbers = [e.assign(f"ptrtoint ptr {word} to i64") for word in words[outs + ins :]]
        self.sizes = numbers[: walk.rank]
        self.strides = [
            numbers[first : first + walk.rank]
            for first in range(walk.rank, len(numbers), walk.rank)
        ]

    def print_rows(self, row: str, first: str, last: str) -> None:
        """The columns from `first` to `last` of one row."""
        e, kinds = self.e, self.program.kinds
        places = self._places(row)
        bases = [
            self._base(base, item.kind, places, strides)
            for base, item, strides in zip(self.ins, self.program.inputs, self.strides)
        ]
        if self.walk.spread:
            outs = [self._base(base, kinds[number], places, self.strides[-1])
                    for base, number in zip(self.outs, self.program.outputs, strict=True)]
        else:
            start = e.assign(f"mul i64 {row}, {self.sizes[-1]}")
            outs = [
                e.assign(f"getelementptr {STORED[kinds[number]]}, ptr {base}, i64 {start}")
                for base, number in zip(self.outs, self.program.outputs, strict=True)
            ]
        fixed = {
            number: splat_item(e, item.kind, bases[number])
            for number, item in enumerate(self.program.inputs)
            if self.walk.steps[number] == 0
        }
        span = Span(e, e.fresh("span"), e.block, first, last)
        span.enter_body()
        self._print_step(outs, bases, fixed, span.index, None)
        mask = span.enter_tail()
        self._print_step(outs, bases, fixed, span.stop, mask)
        span.leave()

    def _places(self, row: str) -> list[tuple[int, str]]:
        """The place of a row along every axis but the last."""
        e, rank = self.e, self.walk.rank
        places = []
        left = row
        for axis in range(rank - 2, -1, -1):
            place = left
            if axis:
                place = e.assign(f"urem i64 {left}, {self.sizes[axis]}")
                left = e.assign(f"udiv i64 {left}, {self.sizes[axis]}")
            places.append((axis, place))
        return places

    def _base(
        self, base: str, kind: str, places: list[tuple[int, str]], strides: list[str]
    ) -> str:
        """Where an operand's items of a row start."""
        for axis, place in places:
            offset = self.e.assign(f"mul i64 {place}, {strides[axis]}")
            base = self.e.assign(f"getelementptr {STORED[kind]}, ptr {base}, i64 {offset}")
        return base

    def _print_step(
        self,
        outs: list[str],
        bases: list[str],
        fixed: dict[int, Value],
        index: str,
        mask: str | None,
    ) -> None:
        values = []
        for number, item in enumerate(self.program.inputs):
            if number in fixed:
                values.append(fixed[number])
            elif self.walk.steps[number] == 1:
                load = printer.load_vector(self.e, item.kind, bases[number], index, mask)
                values.append(load)
            elif self.walk.steps[number] == -1 and mask is None:
                values.append(load_backward(self.e, item.kind, bases[number], index))
            elif self.walk.steps[number] in FEW_APART and mask is None:
                few = int(self.walk.steps[number])
                values.append(load_apart(self.e, item.kind, bases[number], index, few))
            else:
                step = self.strides[number][-1]
                values.append(gather(self.e, item.kind, bases[number], index, step, mask))
        run_steps(self.e, self.program.steps, values)
        for base, number in zip(outs, self.program.outputs, strict=True):
            printer.store_vector(self.e, values[number], base, index, mask)


def load_backward(e: Emitter, kind: str, base: str, index: str) -> Value:
    """Read items that lie side by side before `base`, from the `index`-th on backward."""
    last = e.assign(f"sub i64 {1 - e.lanes}, {index}")
    found = printer.load_vector(e, kind, base, last, None)
    picks = ", ".join(f"i32 {lane}" for lane in range(e.lanes - 1, -1, -1))
    vector = e.type(kind)
    return e.value(kind, f"shufflevector {vector} {found.text}, {vector} poison, "
                         f"<{e.lanes} x i32> <{picks}>")


def load_apart(e: Emitter, kind: str, base: str, index: str, step: int) -> Value:
    """Read items `step` apart, from the `index`-th on, and what lies between them.

    As many vectors are read as items are apart; each starts with the last item of the one before,
    so that nothing is read behind the last item that is needed.
    """
    first = e.assign(f"mul i64 {index}, {step}")
    lanes, found = e.lanes, ""
    vector = f"<{lanes} x {STORED[kind]}>"
    for number in range(step):
        start = number * (lanes - 1)
        place = e.assign(f"add i64 {first}, {start}")
        place = e.assign(f"getelementptr {STORED[kind]}, ptr {base}, i64 {place}")
        part = e.assign(f"load {vector}, ptr {place}, align {ITEM_BYTES[kind]}")
        # lanes whose items this vector has come from it, the others stay
        picks = [lanes + step * lane - start if 0 <= step * lane - start < lanes else lane
                 for lane in range(lanes)]
        text = ", ".join(f"i32 {at}" for at in picks)
        pair = f"{vector} {found or 'poison'}, {vector} {part}"
        found = e.assign(f"shufflevector {pair}, <{lanes} x i32> <{text}>")
    if kind == "bool":
        found = e.assign(f"icmp ne {vector} {found}, zeroinitializer")
    return Value(found, kind)


def gather(e: Emitter, kind: str, base: str, index: str, step: str, mask: str | None) -> Value:
    """Read items `step` apart, from the `index`-th on; masked lanes read the first one again."""
    stored = STORED[kind]
    vector = f"<{e.lanes} x {stored}>"
    text = "poison"
    for lane in range(e.lanes):
        number = e.assign(f"add i64 {index}, {lane}") if lane else index
        if mask is not None and lane:
            active = e.assign(f"extractelement {e.type('bool')} {mask}, i64 {lane}")
            number = e.assign(f"select i1 {active}, i64 {number}, i64 {index}")
        offset = e.assign(f"mul i64 {number}, {step}")
        place = e.assign(f"getelementptr {stored}, ptr {base}, i64 {offset}")
        item = e.assign(f"load {stored}, ptr {place}, align {ITEM_BYTES[kind]}")
        text = e.assign(f"insertelement {vector} {text}, {stored} {item}, i64 {lane}")
    if kind == "bool":
        text = e.assign(f"icmp ne {vector} {text}, zeroinitializer")
    return Value(text, kind)


def print_strided(program: Pointwise, vector_bytes: int, walk: Walk) -> str:
    """Return the module of a program, whose inputs' layouts the walk replaces."""
    stored = [item.kind for item in program.inputs]
    stored += [program.kinds[number] for number in program.outputs]
    e = Emitter(min(lanes_for(tuple(stored), vector_bytes), walk.lanes))
    e.label("entry")
    strided = StridedPrinter(program, e, walk)
    columns = strided.sizes[-1]
    if "many" in walk.steps:
        blocks = Loop(e, "%begin", "%end", ROWS)
        last_row = least(e, e.assign(f"add i64 {blocks.index}, {ROWS}"), "%end")
        strips = Loop(e, 0, columns, STRIP)
        last = least(e, e.assign(f"add i64 {strips.index}, {STRIP}"), columns)
        rows = Loop(e, blocks.index, last_row)
        strided.print_rows(rows.index, strips.index, last)
        for loop in (rows, strips, blocks):
            loop.close()
    else:
        rows = Loop(e, "%begin", "%end")
        strided.print_rows(rows.index, "0", columns)
        rows.close()
    e.line("ret void")
    return printer.module_text(e, vector_bytes)
