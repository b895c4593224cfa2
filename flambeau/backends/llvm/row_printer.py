"""Prints programs by rows as LLVM text: rows that lie one after another, a few walked together.

The kernel's unit of work is a piece of `height` rows. Its context holds a pointer for every output,
then for every input, then the rows, the columns of a row and the height, and, where rows are in
segments, the number of segments. Segment s of row r is the (s * rows + r)-th stretch of `columns`
items: with one segment rows are those of a matrix, with several those of the middle of three axes.

The output of a sum over rows is an array (units, columns) of zeros, which gets a row from each
unit: what a unit adds up depends on the shape and the height alone.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flambeau.backends.llvm import lanes as ln
from flambeau.backends.llvm import printer
from flambeau.backends.llvm.emit import FLOATS, Emitter, Value
from flambeau.backends.llvm.lanes import COMBINE
from flambeau.backends.llvm.loops import Branch, Loop
from flambeau.backends.llvm.program import ITEM_BYTES, ROW_REDUCTIONS, Rows, Step, identity
from flambeau.backends.llvm.row_plan import Pass, make_plan, step_of

# lanes of a value that is the same all along a row
ROW_LANES = 4
# items that a streaming kernel keeps of a row, since it does not keep them in an output
SCRATCH = 8192
CACHE_LINE = 64


class Walk(NamedTuple):
    """How a kernel goes over the rows: so many together, in steps of so many native vectors.

    `fetches`: the next row is asked for meanwhile. `streaming`: outputs are written past the
    caches; they start on printer.STREAM_ALIGN bytes, and rows are of whole steps and of SCRATCH
    items at the most. Both are for one row at a time, in one segment. `extent`: rows are of whole
    steps ("whole"), shorter than one ("short"), or any ("any"); `paired`: no row of a unit is left
    where rows are taken together. What cannot be is not printed.
    """

    together: int = 1
    vectors: int = 2
    segmented: bool = False
    fetches: bool = False
    streaming: bool = False
    extent: str = "any"
    paired: bool = False


def lanes_for(program: Rows, vector_bytes: int, vectors: int) -> int:
    """So many native vectors of the widest kind that is stored element by element."""
    stored = [item.kind for item in program.inputs if item.layout in ("array", "row")]
    stored += [program.kinds[o.value] for o in program.outputs if o.layout != "column"]
    widest = max([ITEM_BYTES[kind] for kind in stored], default=4)
    return max(ROW_LANES, vectors * vector_bytes // max(4, widest))


class RowPrinter:
    """The state of printing one program: what has been computed, by row and by element."""

    def __init__(self, program: Rows, e: Emitter, walk: Walk) -> None:
        self.program = program
        self.plan = make_plan(program)
        self.e = e
        self.walk = walk
        segmented = walk.segmented
        count = len(program.outputs)
        pointers = printer.load_pointers(e, count + len(program.inputs) + 3 + segmented)
        self.outs, self.ins = pointers[:count], pointers[count : count + len(program.inputs)]
        words = pointers[count + len(self.ins) :]
        sizes = [e.assign(f"ptrtoint ptr {word} to i64") for word in words]
        self.rows, self.columns, self.height = sizes[:3]
        self.segments = sizes[3] if segmented else "1"
        self.rest = e.assign(f"urem i64 {self.columns}, {e.lanes}")
        self.stop = e.assign(f"sub i64 {self.columns}, {self.rest}")
        self.mask = printer.lane_mask(e, self.rest)
        self.scratch = self._make_scratch() if walk.streaming else {}
        # per value and row (None where all rows share it): narrow, and spread over the lanes
        self.narrow: dict[tuple[int, int | None], Value] = {}
        self.spread: dict[tuple[int, int | None], Value] = {}
        self.numbers: list[str] = []
        self.partials: dict[int, str] = {}

    def _make_scratch(self) -> dict[int, str]:
        """Room for the kept values of one row, by output."""
        kept = {out: number for turn in self.plan.passes for out, number in turn.kept}
        found = {}
        for out, number in kept.items():
            stored = printer.STORED[self.program.kinds[number]]
            found[out] = self.e.assign(f"alloca [{SCRATCH} x {stored}], align {CACHE_LINE}")
        return found

    # values of a row

    def _key(self, number: int, which: int) -> tuple[int, int | None]:
        return number, which if self.plan.by_row[number] else None

    def prepare_fixed(self) -> None:
        """Compute what is the same for all rows."""
        for number, item in enumerate(self.program.inputs):
            if item.layout == "scalar":
                with self.e.width(ROW_LANES):
                    value = printer.splat_item(self.e, item.kind, self.ins[number])
                self.narrow[number, None] = value
        self._compute([n for n in self.plan.before if not self.plan.by_row[n]], None)
        for number, wide in enumerate(self.program.by_element):
            step = step_of(self.program, number)
            for used in step.args if step is not None and wide else ():
                if not (self.program.by_element[used] or self.plan.by_row[used]):
                    self._wide(used, 0)

    def prepare_rows(self) -> None:
        """Compute what differs between rows and can be had before the first pass."""
        for number, item in enumerate(self.program.inputs):
            if item.layout == "column":
                for which, row in enumerate(self.numbers):
                    with self.e.width(ROW_LANES):
                        value = printer.splat_item(self.e, item.kind, self.ins[number], row)
                    self.narrow[number, which] = value
        self._compute_rows(self.plan.before)

    def _compute_rows(self, numbers: Iterable[int]) -> None:
        chosen = [number for number in numbers if self.plan.by_row[number]]
        for which in range(len(self.numbers)):
            self._compute(chosen, which)

    def _compute(self, numbers: Iterable[int], which: int | None) -> None:
        with self.e.width(ROW_LANES):
            for number in numbers:
                step = step_of(self.program, number)
                assert step is not None
                args = [self.narrow[self._key(n, which or 0)] for n in step.args]
                self.narrow[number, which] = self._run(step, args, which)

    def _run(self, step: Step, args: Sequence[Value], which: int | None) -> Value:
        if step.name == "row_length":
            length = self.e.assign(f"mul i64 {self.columns}, {self.segments}")
            return self._number(length, step.kind)
        if step.name == "row_number":
            return self._number(self.numbers[which or 0], step.kind)
        return printer.run_step(self.e, step, args)

    def _number(self, text: str, kind: str | None) -> Value:
        return self.e.convert(ln.spread_item(self.e, Value(text, "i64")), kind or "i64")

    def _wide(self, number: int, which: int) -> Value:
        """A value of the row, in all lanes."""
        step = step_of(self.program, number)
        if step is not None and step.name == "const":
            return printer.run_step(self.e, step, ())
        key = self._key(number, which)
        if key not in self.spread:
            self.spread[key] = ln.spread_first(self.e, self.narrow[key], ROW_LANES)
        return self.spread[key]

    def _spread_for(self, turn: Pass) -> None:
        """Spread the row's values that a pass uses, before its loop begins."""
        stored = [number for _, number in turn.arrays if not self.program.by_element[number]]
        for number in (*turn.values, *stored):
            step = step_of(self.program, number)
            args = () if step is None else step.args
            for used in (number, *args):
                if not self.program.by_element[used]:
                    for which in range(len(self.numbers)):
                        self._wide(used, which)

    # passes

    def print_pass(self, turn: Pass) -> None:
        """Walk along the rows once, and compute what follows from it."""
        self._spread_for(turn)
        totals = self._walk(turn)
        if self.walk.segmented:
            folded = totals
        else:
            folded = [ln.fold_lanes(self.e, self._combine(number), total)
                      for (number, _), total in zip(self._slots(turn), totals, strict=True)]
        with self.e.width(ROW_LANES):
            for slot, item in zip(self._slots(turn), folded, strict=True):
                kind = self.program.kinds[slot[0]]
                self.narrow[slot] = self.e.convert(ln.spread_item(self.e, item), kind)
        self._compute_rows(turn.after)

    def _slots(self, turn: Pass) -> list[tuple[int, int | None]]:
        return [(n, which) for n in turn.reductions for which in range(len(self.numbers))]

    def _combine(self, number: int) -> str:
        step = step_of(self.program, number)
        assert step is not None
        return ROW_REDUCTIONS[step.name]

    def _starts(self, turn: Pass) -> list[Value]:
        kinds = self.program.kinds
        return [
            self.e.const(kinds[n], identity(self._combine(n), kinds[n]))
            for n, _ in self._slots(turn)
        ]

    def _walk(self, turn: Pass) -> list[Value]:
        """The lanes' totals over the row; over segments, the folded totals."""
        if not self.walk.segmented:
            return self._walk_stretch(turn, self.numbers)
        starts = [self._wide_total(n) for n, _ in self._slots(turn)]
        with self.e.width(1):
            loop = Loop(self.e, 0, self.segments, 1, starts)
        first = self.e.assign(f"mul i64 {loop.index}, {self.rows}")
        stretches = [self.e.assign(f"add i64 {first}, {row}") for row in self.numbers]
        totals = self._walk_stretch(turn, stretches)
        grown = []
        for (number, _), total, before in zip(self._slots(turn), totals, loop.values, strict=True):
            item = ln.fold_lanes(self.e, self._combine(number), total)
            with self.e.width(1):
                wide = self.e.convert(ln.in_first_lane(self.e, item), before.kind)
                grown.append(COMBINE[self._combine(number)](self.e, wide, before))
        with self.e.width(1):
            return [ln.first_item(self.e, value) for value in loop.close(grown)]

    def _wide_total(self, number: int) -> Value:
        """Where a total over segments starts: float sums go on in float64."""
        kind, combine = self.program.kinds[number], self._combine(number)
        kind = "f64" if kind == "f32" and combine == "sum" else kind
        with self.e.width(1):
            return self.e.const(kind, identity(combine, kind))

    def _walk_stretch(self, turn: Pass, stretches: Sequence[str]) -> list[Value]:
        """Whole vectors, then a masked one for what is left."""
        e = self.e
        offsets = [e.assign(f"mul i64 {stretch}, {self.columns}") for stretch in stretches]
        totals = self._starts(turn)
        if self.walk.extent == "short":
            return self._body(turn, offsets, self.stop, totals, self.mask)
        loop = Loop(e, 0, self.stop, e.lanes, totals)
        totals = loop.close(self._body(turn, offsets, loop.index, loop.values, None))
        if self.walk.extent == "whole":
            return totals
        rest = Branch(e, e.assign(f"icmp ne i64 {self.rest}, 0"))
        inside = self._body(turn, offsets, self.stop, totals, self.mask)
        return rest.close(inside, totals)

    def _body(
        self,
        turn: Pass,
        offsets: Sequence[str],
        index: str,
        totals: Sequence[Value],
        mask: str | None,
    ) -> list[Value]:
        """One vector of every row; returns the totals with it."""
        places = [self.e.assign(f"add i64 {offset}, {index}") for offset in offsets]
        found: list[dict[int, Value]] = [{} for _ in places]
        for which, (place, values) in enumerate(zip(places, found, strict=True)):
            for out, number in turn.found:
                kind = self.program.kinds[number]
                base, at = self._kept_at(out, place, index)
                values[number] = printer.load_vector(self.e, kind, base, at, mask)
            for number in turn.values:
                if which and not self.plan.by_row[number]:
                    values[number] = found[0][number]
                else:
                    values[number] = self._element(number, which, values, place, index, mask)
        self._store(turn, found, places, index, mask)
        if mask is None and self.walk.fetches and turn is self.plan.passes[-1]:
            self._fetch_next(places[0])
        return self._totals(turn, found, totals, mask)

    def _element(
        self,
        number: int,
        which: int,
        found: dict[int, Value],
        place: str,
        index: str,
        mask: str | None,
    ) -> Value:
        e, step = self.e, step_of(self.program, number)
        if step is None:
            item = self.program.inputs[number]
            at = place if item.layout == "array" else index
            return printer.load_vector(e, item.kind, self.ins[number], at, mask)
        if step.name == "column_number":
            return ln.numbers_from(e, index, step.kind or "i64")
        args = [found[n] if n in found else self._wide(n, which) for n in step.args]
        return printer.run_step(e, step, args)

    def _store(
        self,
        turn: Pass,
        found: Sequence[dict[int, Value]],
        places: Sequence[str],
        index: str,
        mask: str | None,
    ) -> None:
        for out, number in turn.kept:
            for values, place in zip(found, places, strict=True):
                base, at = self._kept_at(out, place, index)
                printer.store_vector(self.e, values[number], base, at, mask)
        stream = self.walk.streaming
        for out, number in turn.arrays:
            for which, place in enumerate(places):
                own = found[which].get(number)
                value = self._wide(number, which) if own is None else own
                printer.store_vector(self.e, value, self.outs[out], place, mask, stream)
        for out, number in turn.sums:
            parts = [values[number] for values in found]
            while len(parts) > 1:
                pairs = [self.e.add(a, b) for a, b in zip(parts[::2], parts[1::2])]
                parts = pairs + parts[len(pairs) * 2 :]
            base, kind = self.partials[out], self.program.kinds[number]
            before = printer.load_vector(self.e, kind, base, index, mask)
            printer.store_vector(self.e, self.e.add(before, parts[0]), base, index, mask)

    def _kept_at(self, out: int, place: str, index: str) -> tuple[str, str]:
        """Where what is kept in an output's row lies: base and index."""
        return (self.scratch[out], index) if self.scratch else (self.outs[out], place)

    def _fetch_next(self, place: str) -> None:
        """Ask for what the next row's walk will read one row further."""
        e = self.e
        e.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        ahead = e.assign(f"add i64 {place}, {self.columns}")
        for base, item in zip(self.ins, self.program.inputs, strict=True):
            if item.layout == "array":
                step = CACHE_LINE // ITEM_BYTES[item.kind]
                for lane in range(0, e.lanes, step):
                    at = e.assign(f"add i64 {ahead}, {lane}")
                    text = f"getelementptr {printer.STORED[item.kind]}, ptr {base}, i64 {at}"
                    line = e.assign(text)
                    e.line(f"call void @llvm.prefetch.p0(ptr {line}, i32 0, i32 3, i32 1)")

    def _totals(
        self,
        turn: Pass,
        found: Sequence[dict[int, Value]],
        totals: Sequence[Value],
        mask: str | None,
    ) -> list[Value]:
        grown = []
        for (number, which), total in zip(self._slots(turn), totals, strict=True):
            step = step_of(self.program, number)
            assert step is not None and which is not None
            grown.append(self._grown(step, which, found[which], total, mask))
        return grown

    def _grown(
        self, step: Step, which: int, found: dict[int, Value], total: Value, mask: str | None
    ) -> Value:
        combine = ROW_REDUCTIONS[step.name]
        (number,) = step.args
        item, made = found[number], step_of(self.program, number)
        if mask is not None:
            start = self.e.const(item.kind, identity(combine, item.kind))
            item = self.e.select(Value(mask, "bool"), item, start)
        elif combine == "sum" and made is not None and made.name in ("mul", "square"):
            factors = [found[n] if n in found else self._wide(n, which) for n in made.args]
            if item.kind in FLOATS:
                return self.e.fma(factors[0], factors[-1], total)
        return COMBINE[combine](self.e, item, total)

    # rows

    def print_rows(self, first: str, together: int) -> None:
        """Everything about `together` rows from `first` on."""
        for key in [key for key in self.narrow if key[1] is not None]:
            del self.narrow[key]
        fixed = {key: value for key, value in self.spread.items() if key[1] is None}
        self.numbers = [self.e.assign(f"add i64 {first}, {n}") for n in range(together)]
        self.prepare_rows()
        for turn in self.plan.passes:
            self.spread = dict(fixed)
            self.print_pass(turn)
        self.spread = fixed
        for place, output in enumerate(self.program.outputs):
            if output.layout == "column":
                self._store_column(place, output.value)

    def _store_column(self, place: int, number: int) -> None:
        for which, row in enumerate(self.numbers):
            with self.e.width(ROW_LANES):
                item = ln.first_item(self.e, self.narrow[self._key(number, which)])
            ln.store_item(self.e, item, self.outs[place], row)

    def print_unit(self, unit: str, together: int) -> None:
        """Rows several at a time, then one at a time."""
        e = self.e
        first = e.assign(f"mul i64 {unit}, {self.height}")
        last = ln.least(e, e.assign(f"add i64 {first}, {self.height}"), self.rows)
        for place, output in enumerate(self.program.outputs):
            if output.layout == "row":
                offset = e.assign(f"mul i64 {unit}, {self.columns}")
                stored = printer.STORED[self.program.kinds[output.value]]
                text = f"getelementptr {stored}, ptr {self.outs[place]}, i64 {offset}"
                self.partials[place] = e.assign(text)
        if together > 1:
            length = e.assign(f"sub i64 {last}, {first}")
            over = e.assign(f"urem i64 {length}, {together}")
            middle = e.assign(f"sub i64 {last}, {over}")
            loop = Loop(e, first, middle, together)
            self.print_rows(loop.index, together)
            loop.close()
            first = middle
            if self.walk.paired:
                return
        loop = Loop(e, first, last)
        self.print_rows(loop.index, 1)
        loop.close()


def print_rows(program: Rows, vector_bytes: int, walk: Walk) -> str:
    """Return the module of a program, for vectors of this size."""
    e = Emitter(lanes_for(program, vector_bytes, walk.vectors))
    e.label("entry")
    rows = RowPrinter(program, e, walk)
    rows.prepare_fixed()
    units = Loop(e, "%begin", "%end")
    rows.print_unit(units.index, walk.together)
    units.close()
    if walk.streaming:
        # what went past the caches must be seen before the kernel counts as done
        e.line("fence seq_cst")
    e.line("ret void")
    return printer.module_text(e, vector_bytes)
