"""Prints programs by rows for rows that lie side by side: the middle axis of three is reduced.

Lanes are neighbouring rows; a row's elements are `inner` items apart. The kernel's unit of work is
a strip of `STRIP` vectors of rows. Its context holds a pointer for every output, then for every
input, then the number of matrices, the length of a row, and the rows of a matrix (`inner`).
Row (batch, inner) is the (batch * inner)-th of a "column" operand. There are no sums over rows.
"""

from collections.abc import Iterable, Sequence

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm import printer
from flambeau.backends.llvm.emit import Emitter, Value
from flambeau.backends.llvm.lanes import COMBINE
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.program import ROW_REDUCTIONS, Rows, Step, identity
from flambeau.backends.llvm.row_plan import Pass, make_plan, step_of

# items added up before the sum goes on in float64, and vectors in one unit of work
BLOCK = 128
STRIP = 8


class AcrossPrinter:
    """The state of printing one program: values of the rows at hand, of their elements."""

    def __init__(self, program: Rows, e: Emitter) -> None:
        self.program = program
        self.plan = make_plan(program)
        self.e = e
        count, words = len(program.outputs), len(program.outputs) + len(program.inputs)
        pointers = printer.load_pointers(e, words + 3)
        self.outs, self.ins = pointers[:count], pointers[count:words]
        sizes = [e.assign(f"ptrtoint ptr {word} to i64") for word in pointers[words:]]
        self.batch, self.length, self.inner = sizes
        self.fixed: dict[int, Value] = {}
        self.row: dict[int, Value] = {}
        self.at = ""
        self.mask: str | None = None

    def prepare(self) -> None:
        """Compute what is the same for all rows."""
        for number, item in enumerate(self.program.inputs):
            if item.layout == "scalar":
                self.fixed[number] = printer.splat_item(self.e, item.kind, self.ins[number])
        chosen = [number for number in self.plan.before if not self.plan.by_row[number]]
        self._compute(chosen, self.fixed)

    def _compute(self, numbers: Iterable[int], values: dict[int, Value]) -> None:
        for number in numbers:
            step = step_of(self.program, number)
            assert step is not None
            if number not in self.fixed:
                values[number] = self._run(step, values)

    def _run(self, step: Step, values: dict[int, Value]) -> Value:
        kind = step.kind or "i64"
        if step.name == "row_length":
            return self.e.convert(ln.spread_item(self.e, Value(self.length, "i64")), kind)
        if step.name == "row_number":
            return ln.numbers_from(self.e, self.at, kind)
        return printer.run_step(self.e, step, [values[number] for number in step.args])

    def print_rows(self, first: str, place: str, mask: str | None) -> None:
        """Everything about the rows in the lanes; `first` is their number, `place` their start."""
        self.at, self.mask = first, mask
        self.row = dict(self.fixed)
        for number, item in enumerate(self.program.inputs):
            if item.layout == "column":
                base = self.ins[number]
                self.row[number] = printer.load_vector(self.e, item.kind, base, first, mask)
        self._compute(self.plan.before, self.row)
        for turn in self.plan.passes:
            for number, total in zip(turn.reductions, self._walk(turn, place), strict=True):
                self.row[number] = self.e.convert(total, self.program.kinds[number])
            self._compute(turn.after, self.row)
        for base, output in zip(self.outs, self.program.outputs, strict=True):
            if output.layout == "column":
                printer.store_vector(self.e, self.row[output.value], base, first, mask)

    def _walk(self, turn: Pass, place: str) -> list[Value]:
        """Down the columns in blocks; float32 sums go on in float64 from block to block."""
        e = self.e
        wide = []
        for number in turn.reductions:
            kind = self._sum_kind(number)
            wide.append(e.const(kind, identity(self._combine(number), kind)))
        blocks = Loop(e, 0, self.length, BLOCK, wide)
        end = ln.least(e, e.assign(f"add i64 {blocks.index}, {BLOCK}"), self.length)
        starts = []
        for number in turn.reductions:
            kind = self.program.kinds[number]
            starts.append(e.const(kind, identity(self._combine(number), kind)))
        items = Loop(e, blocks.index, end, 1, starts)
        totals = items.close(self._body(turn, items.index, place, items.values))
        grown = []
        for number, total, before in zip(turn.reductions, totals, blocks.values, strict=True):
            total = e.convert(total, before.kind)
            grown.append(COMBINE[self._combine(number)](e, total, before))
        return blocks.close(grown)

    def _combine(self, number: int) -> str:
        step = step_of(self.program, number)
        assert step is not None
        return ROW_REDUCTIONS[step.name]

    def _sum_kind(self, number: int) -> str:
        kind = self.program.kinds[number]
        return "f64" if kind == "f32" and self._combine(number) == "sum" else kind

    def _body(
        self, turn: Pass, index: str, place: str, totals: Sequence[Value]
    ) -> list[Value]:
        e, kinds = self.e, self.program.kinds
        offset = e.assign(f"mul i64 {index}, {self.inner}")
        at = e.assign(f"add i64 {offset}, {place}")
        values = dict(self.row)
        for out, number in turn.found:
            values[number] = printer.load_vector(e, kinds[number], self.outs[out], at, self.mask)
        for number in turn.values:
            values[number] = self._element(number, values, index, at)
        for out, number in (*turn.kept, *turn.arrays):
            printer.store_vector(e, values[number], self.outs[out], at, self.mask)
        grown = []
        for number, total in zip(turn.reductions, totals, strict=True):
            step = step_of(self.program, number)
            assert step is not None
            grown.append(COMBINE[self._combine(number)](e, values[step.args[0]], total))
        return grown

    def _element(self, number: int, values: dict[int, Value], index: str, at: str) -> Value:
        step = step_of(self.program, number)
        if step is None:
            item = self.program.inputs[number]
            if item.layout == "row":
                return printer.splat_item(self.e, item.kind, self.ins[number], index)
            return printer.load_vector(self.e, item.kind, self.ins[number], at, self.mask)
        if step.name == "column_number":
            kind = step.kind or "i64"
            return self.e.convert(ln.spread_item(self.e, Value(index, "i64")), kind)
        return self._run(step, values)


def strip_rows(vector_bytes: int) -> int:
    """Return how many rows are one unit of work."""
    return STRIP * _lanes(vector_bytes)


def _lanes(vector_bytes: int) -> int:
    """A whole cache line of float32, and a whole vector."""
    return max(16, vector_bytes // 4)


def print_across(program: Rows, vector_bytes: int) -> str:
    """Return the module of a program, for vectors of this size."""
    if any(output.layout == "row" for output in program.outputs):
        raise ValueError("rows side by side have no sums over rows")
    e = Emitter(_lanes(vector_bytes))
    e.label("entry")
    across = AcrossPrinter(program, e)
    across.prepare()
    width = strip_rows(vector_bytes)
    strips = e.assign(f"udiv i64 {e.assign(f'add i64 {across.inner}, {width - 1}')}, {width}")
    units = Loop(e, "%begin", "%end")
    batch = e.assign(f"udiv i64 {units.index}, {strips}")
    first = e.assign(f"mul i64 {e.assign(f'urem i64 {units.index}, {strips}')}, {width}")
    last = ln.least(e, e.assign(f"add i64 {first}, {width}"), across.inner)
    _print_strip(across, batch, first, last)
    units.close()
    e.line("ret void")
    return printer.module_text(e, vector_bytes)


def _print_strip(across: AcrossPrinter, batch: str, first: str, last: str) -> None:
    """Rows from `first` to `last` of one matrix: full vectors, then a masked one."""
    e = across.e
    above = e.assign(f"mul i64 {batch}, {across.inner}")
    matrix = e.assign(f"mul i64 {above}, {across.length}")
    rest = e.assign(f"urem i64 {e.assign(f'sub i64 {last}, {first}')}, {e.lanes}")
    stop = e.assign(f"sub i64 {last}, {rest}")
    full = Loop(e, first, stop, e.lanes)
    row = e.assign(f"add i64 {above}, {full.index}")
    across.print_rows(row, e.assign(f"add i64 {matrix}, {full.index}"), None)
    full.close()
    some = Branch(e, e.assign(f"icmp ne i64 {rest}, 0"))
    row = e.assign(f"add i64 {above}, {stop}")
    mask = printer.lane_mask(e, rest)
    across.print_rows(row, e.assign(f"add i64 {matrix}, {stop}"), mask)
    some.close()
