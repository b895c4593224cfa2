"""Prints pointwise programs as LLVM text.

A kernel is `void (ptr context, i64 begin, i64 end)`. The context holds a pointer for every output,
then for every input, then, for programs by rows, the number of columns. Begin and end count
elements, or rows.
"""

from collections.abc import Sequence

from flambeau.backends.llvm.emit import LLVM_TYPE, Emitter, Value
from flambeau.backends.llvm.program import ITEM_BYTES, Pointwise, Step
from flambeau.backends.llvm.scalars import TABLE

KERNEL = "kernel"
STORED = {**LLVM_TYPE, "bool": "i8"}
# on what bytes the outputs of a streaming kernel start
STREAM_ALIGN = 64
# long chains of steps, each of which waits for the last: more vectors side by side fill the time
CHAINS = frozenset({"decay", "exp", "one_plus_exp", "sigmoid", "tanh"})


def lanes_for(kinds: tuple[str, ...], vector_bytes: int) -> int:
    """Two native vectors of the widest kind: enough to overlap latencies, few enough to hold."""
    widest = max(ITEM_BYTES[kind] for kind in kinds)
    return max(2, 2 * vector_bytes // widest)


def run_steps(e: Emitter, steps: tuple[Step, ...], values: list[Value]) -> None:
    """Append the value of every step."""
    for step in steps:
        values.append(run_step(e, step, [values[number] for number in step.args]))


def run_step(e: Emitter, step: Step, args: Sequence[Value]) -> Value:
    """Return the value of one step."""
    if step.name == "const":
        assert step.kind is not None and step.value is not None
        return e.const(step.kind, step.value)
    if step.name == "cast":
        assert step.kind is not None
        return e.convert(args[0], step.kind)
    return TABLE[step.name](e, *args)


def load_pointers(e: Emitter, count: int) -> list[str]:
    """Return the context's first entries."""
    found = []
    for number in range(count):
        place = e.assign(f"getelementptr ptr, ptr %context, i64 {number}")
        found.append(e.assign(f"load ptr, ptr {place}"))
    return found


def load_vector(e: Emitter, kind: str, base: str, index: str, mask: str | None) -> Value:
    """Read one vector of stored items; masked lanes are not touched and come out as zero."""
    stored = STORED[kind]
    vector = f"<{e.lanes} x {stored}>"
    place = e.assign(f"getelementptr {stored}, ptr {base}, i64 {index}")
    align = ITEM_BYTES[kind]
    if mask is None:
        text = e.assign(f"load {vector}, ptr {place}, align {align}")
    else:
        name = f"@llvm.masked.load.v{e.lanes}{_suffix(stored)}.p0"
        types = f"{vector} {name}(ptr, i32 immarg, {e.type('bool')}, {vector})"
        e.declarations.add(f"declare {types}")
        text = e.assign(
            f"call {vector} {name}(ptr {place}, i32 {align}, "
            f"{e.type('bool')} {mask}, {vector} zeroinitializer)"
        )
    if kind == "bool":
        text = e.assign(f"icmp ne {vector} {text}, zeroinitializer")
    return Value(text, kind)


def store_vector(
    e: Emitter, value: Value, base: str, index: str, mask: str | None, streaming: bool = False
) -> None:
    """Write one vector; masked lanes are left as they are.

    Streaming goes past the caches, to places that are multiples of the vector's size.
    """
    stored = STORED[value.kind]
    vector = f"<{e.lanes} x {stored}>"
    text = value.text
    if value.kind == "bool":
        text = e.assign(f"zext {e.type('bool')} {text} to {vector}")
    place = e.assign(f"getelementptr {stored}, ptr {base}, i64 {index}")
    align = ITEM_BYTES[value.kind]
    if mask is None and streaming and value.kind != "bool":
        align = min(STREAM_ALIGN, align * e.lanes)
        e.line(f"store {vector} {text}, ptr {place}, align {align}, !nontemporal !0")
        return
    if mask is None:
        e.line(f"store {vector} {text}, ptr {place}, align {align}")
        return
    name = f"@llvm.masked.store.v{e.lanes}{_suffix(stored)}.p0"
    e.declarations.add(f"declare void {name}({vector}, ptr, i32 immarg, {e.type('bool')})")
    e.line(f"call void {name}({vector} {text}, ptr {place}, i32 {align}, {e.type('bool')} {mask})")


def _suffix(stored: str) -> str:
    return {"float": "f32", "double": "f64"}.get(stored, stored)


def splat_item(e: Emitter, kind: str, base: str, index: str = "0") -> Value:
    """Read one item into every lane."""
    stored = STORED[kind]
    place = e.assign(f"getelementptr {stored}, ptr {base}, i64 {index}")
    item = e.assign(f"load {stored}, ptr {place}, align {ITEM_BYTES[kind]}")
    if kind == "bool":
        item = e.assign(f"icmp ne i8 {item}, 0")
    vector = e.type(kind)
    first = e.assign(f"insertelement {vector} poison, {LLVM_TYPE[kind]} {item}, i64 0")
    zeros = f"<{e.lanes} x i32> zeroinitializer"
    return e.value(kind, f"shufflevector {vector} {first}, {vector} poison, {zeros}")


def lane_mask(e: Emitter, left: str) -> str:
    """Return a mask of the first `left` lanes."""
    name = f"@llvm.get.active.lane.mask.v{e.lanes}i1.i64"
    e.declarations.add(f"declare {e.type('bool')} {name}(i64, i64)")
    return e.assign(f"call {e.type('bool')} {name}(i64 0, i64 {left})")


class Span:
    """Text of a loop over [begin, end): whole vectors, then one masked vector for what is left.

    Where there can be nothing left, `leave_early` ends it without the masked part.
    """

    def __init__(self, e: Emitter, name: str, entered_from: str, begin: str, end: str) -> None:
        self.e = e
        self.name = name
        length = e.assign(f"sub i64 {end}, {begin}")
        rest = e.assign(f"urem i64 {length}, {e.lanes}")
        self.stop = e.assign(f"sub i64 {end}, {rest}")
        self.rest = rest
        e.line(f"br label %{name}.head")
        e.label(f"{name}.head")
        self.index = f"%{name}.index"
        e.line(f"{self.index} = phi i64 [{begin}, %{entered_from}], [{self.index}.next, %{name}]")

    def enter_body(self) -> None:
        more = self.e.assign(f"icmp slt i64 {self.index}, {self.stop}")
        self.e.line(f"br i1 {more}, label %{self.name}, label %{self.name}.rest")
        self.e.label(self.name)

    def leave_early(self) -> None:
        """Close the body; the label is now name.rest."""
        self.e.line(f"{self.index}.next = add i64 {self.index}, {self.e.lanes}")
        self.e.line(f"br label %{self.name}.head")
        self.e.label(f"{self.name}.rest")

    def enter_tail(self) -> str:
        """Close the body and open the tail; returns its mask."""
        e = self.e
        self.leave_early()
        some = e.assign(f"icmp ne i64 {self.rest}, 0")
        e.line(f"br i1 {some}, label %{self.name}.tail, label %{self.name}.done")
        e.label(f"{self.name}.tail")
        return lane_mask(e, self.rest)

    def leave(self) -> None:
        self.e.line(f"br label %{self.name}.done")
        self.e.label(f"{self.name}.done")


def module_text(e: Emitter, vector_bytes: int) -> str:
    """Wrap the emitter's lines as the one kernel of a module."""
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{8 * vector_bytes}" }}'
    head = f"define void @{KERNEL}(ptr %context, i64 %begin, i64 %end) #0 {{"
    lines = [*sorted(e.declarations), head, *e.lines, "}", attributes, "!0 = !{i32 1}"]
    return "\n".join(lines) + "\n"


def print_pointwise(program: Pointwise, vector_bytes: int, streaming: bool = False) -> str:
    """Return the module of a program, for vectors of this size.

    A streaming kernel, not for programs by rows, writes past the caches: its outputs start on
    STREAM_ALIGN bytes, are no inputs, and `begin` is a multiple of the lanes.
    """
    kinds = program.kinds
    stored = [item.kind for item in program.inputs if item.layout != "scalar"]
    stored += [kinds[number] for number in program.outputs]
    lanes = lanes_for(tuple(stored), vector_bytes)
    if not program.by_rows and any(step.name in CHAINS for step in program.steps):
        lanes *= 2
    e = Emitter(lanes)
    e.label("entry")
    pointers = load_pointers(e, len(program.outputs) + len(program.inputs))
    outs, ins = pointers[: len(program.outputs)], pointers[len(program.outputs) :]
    fixed = {
        number: splat_item(e, item.kind, ins[number])
        for number, item in enumerate(program.inputs)
        if item.layout == "scalar"
    }
    if program.by_rows:
        _print_rows(e, program, outs, ins, fixed)
    else:
        _print_span(e, program, "entry", "%begin", "%end", outs, ins, fixed, streaming)
    if streaming:
        # what went past the caches must be seen before the kernel counts as done
        e.line("fence seq_cst")
    e.line("ret void")
    return module_text(e, vector_bytes)


def _print_span(
    e: Emitter,
    program: Pointwise,
    entered_from: str,
    begin: str,
    end: str,
    outs: list[str],
    ins: list[str],
    fixed: dict[int, Value],
    streaming: bool = False,
) -> None:
    """A loop that computes the items from begin to end of these outputs."""
    span = Span(e, "span", entered_from, begin, end)
    span.enter_body()
    _print_step(e, program, outs, ins, fixed, span.index, None, streaming)
    mask = span.enter_tail()
    _print_step(e, program, outs, ins, fixed, span.stop, mask)
    span.leave()


def _print_step(
    e: Emitter,
    program: Pointwise,
    outs: list[str],
    ins: list[str],
    fixed: dict[int, Value],
    index: str,
    mask: str | None,
    streaming: bool = False,
) -> None:
    values = [
        fixed[number] if number in fixed else load_vector(e, item.kind, ins[number], index, mask)
        for number, item in enumerate(program.inputs)
    ]
    run_steps(e, program.steps, values)
    for base, number in zip(outs, program.outputs, strict=True):
        store_vector(e, values[number], base, index, mask, streaming)


def _print_rows(
    e: Emitter, program: Pointwise, outs: list[str], ins: list[str], fixed: dict[int, Value]
) -> None:
    """A loop over rows around the loop over columns."""
    place = e.assign(f"getelementptr ptr, ptr %context, i64 {len(outs) + len(ins)}")
    columns = e.assign(f"load i64, ptr {place}")
    e.line("br label %rows")
    e.label("rows")
    e.line("%row = phi i64 [%begin, %entry], [%row.next, %span.done]")
    more = e.assign("icmp slt i64 %row, %end")
    e.line(f"br i1 {more}, label %row.body, label %rows.done")
    e.label("row.body")
    start = e.assign(f"mul i64 %row, {columns}")
    kinds = program.kinds
    row_outs = [
        e.assign(f"getelementptr {STORED[kinds[number]]}, ptr {base}, i64 {start}")
        for base, number in zip(outs, program.outputs, strict=True)
    ]
    row_ins, row_fixed = list(ins), dict(fixed)
    for number, item in enumerate(program.inputs):
        if item.layout == "array":
            stored = STORED[item.kind]
            row_ins[number] = e.assign(f"getelementptr {stored}, ptr {ins[number]}, i64 {start}")
        elif item.layout == "column":
            row_fixed[number] = splat_item(e, item.kind, ins[number], "%row")
    _print_span(e, program, "row.body", "0", columns, row_outs, row_ins, row_fixed)
    e.line("%row.next = add i64 %row, 1")
    e.line("br label %rows")
    e.label("rows.done")
