"""From a group of nodes to one kernel: its program, its text, and what it is called with."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from flambeau.backends.llvm import calls, chores, jit, printer, row_printer, rows
from flambeau.backends.llvm.expressions import Builder, Symbol
from flambeau.backends.llvm.program import Pointwise, Rows
from flambeau.compiler.calls import Call, Place, Word
from flambeau.compiler.elementwise import likeness_of, steps_of
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.groups import Group, Operand, reduction_of
from flambeau.core.formulas import STORED

__all__ = ["Kernel", "compile_all", "kernel_of"]


class Code:
    """Loaded code of a kernel: it stays where it is while somebody holds this."""

    __slots__ = ("__weakref__", "address", "library")

    def __init__(self, library: jit.Library, address: int) -> None:
        self.library = library
        self.address = address


# The code that is loaded, by a digest of its text, and the latest, kept for the next program.
_LOADED: WeakValueDictionary[bytes, Code] = WeakValueDictionary()
_LATEST: deque[Code] = deque(maxlen=256)
# The fewest elements of a piece of an elementwise kernel.
GRAIN = 1 << 10
# Partial sums that are added up at once.
SUMMED = 1 << 15
# Designs of kernels, by what they depend on: networks have many layers that are alike.
_DESIGNS: dict[Hashable, Design] = {}
MOST_DESIGNS = 1 << 8


class Design:
    """The program and text of a kernel, and how its work is cut."""

    def __init__(self, program: Pointwise | Rows, size: int, columns: int, item: int) -> None:
        self.program = program
        self.items = size
        columns = columns or size
        count = size // columns
        # Past the caches or not: the text. How rows are walked; None for elementwise programs.
        self.texts: dict[bool, str] = {}
        self.walk: row_printer.Walk | None = None
        if isinstance(program, Pointwise):
            self._plan_pointwise(program, count, columns, item)
        else:
            self._plan_rows(program, count, columns)

    def _plan_pointwise(self, program: Pointwise, count: int, columns: int, item: int) -> None:
        self.sizes = [columns] if program.by_rows else []
        if program.by_rows:
            self.count, self.chunk = count, max(1, calls.CHUNK_BYTES // (item * columns))
        else:
            self.count, self.chunk = self.items, calls.CHUNK_BYTES // item

    def _plan_rows(self, program: Rows, count: int, columns: int) -> None:
        plan = rows.RowsKernel(program)
        if columns < rows.SHORT:
            walk = row_printer.Walk(together=4 if count >= 4 else 1, vectors=1)
        else:
            walk = row_printer.Walk(1, 2 if plan.has_sums else 4, fetches=count > 1)
        height = max(1, rows.UNIT_BYTES // (columns * max(plan.item_bytes, 1)))
        if plan.has_sums:
            height = max(height, -(-count // rows.SUM_UNITS))
        height = -(-height // walk.together) * walk.together
        lanes = row_printer.lanes_for(program, jit.host().vector_bytes, walk.vectors)
        extent = "short" if columns < lanes else "any" if columns % lanes else "whole"
        self.walk = walk._replace(extent=extent, paired=count % walk.together == 0)
        self.sizes = [count, columns, height]
        self.count, self.chunk = -(-count // height), 1

    def streams(self, outs: Sequence[int], ins: Sequence[int]) -> bool:
        """Whether to write past the caches, for arrays that come out and go in, of these bytes.

        They are aligned, and none is both.
        """
        if isinstance(self.program, Pointwise):
            return not self.program.by_rows and calls.past_caches(outs, ins)
        walk, columns = self.walk, self.sizes[1]
        fits = (walk is not None and walk.together == 1 and walk.extent == "whole"
                and columns <= row_printer.SCRATCH)
        return fits and min(outs, default=0) >= rows.STREAM_BYTES

    def text(self, streams: bool) -> str:
        """The text, of a kernel that writes past the caches or of one that does not."""
        if streams not in self.texts:
            program, size = self.program, jit.host().vector_bytes
            if isinstance(program, Pointwise):
                self.texts[streams] = printer.print_pointwise(program, size, streams)
            else:
                assert self.walk is not None
                walk = self.walk._replace(streaming=streams)
                self.texts[streams] = row_printer.print_rows(program, size, walk)
        return self.texts[streams]


class Kernel:
    """A kernel and its call: outputs, inputs (value, offset), sizes, and how it is cut."""

    def __init__(self, design: Design, outs: list[Value], layouts: list[str],
                 ins: list[tuple[Value, int]]) -> None:
        self.design = design
        self.program = design.program
        self.outs = outs
        self.layouts = layouts
        self.ins = ins
        self.items, self.sizes = design.items, design.sizes
        self.count, self.chunk = design.count, design.chunk
        self.streams = False
        self.code: Code | None = None

    def stream(self) -> None:
        """Write past the caches, where outputs are large; they are aligned and no inputs."""
        arrays = [v.nbytes for v, layout in zip(self.outs, self.layouts) if layout == "array"]
        self.streams = self.design.streams(arrays, [v.nbytes for v, _ in self.ins])

    @property
    def text(self) -> str:
        """Its LLVM text."""
        return self.design.text(self.streams)

    @property
    def address(self) -> int:
        """Where its code is; compiled if need be."""
        if self.code is None:
            compile_all([self])
        assert self.code is not None
        return self.code.address

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes, each operand once."""
        return sum([v.nbytes for v in self.outs]) + sum([v.nbytes for v, _ in self.ins])

    @property
    def scratch(self) -> list[int]:
        """Bytes of memory for what units leave of sums over rows, for each of these sums."""
        return [self.count * v.nbytes for v, layout in zip(self.outs, self.layouts)
                if layout == "row"]

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """Zeros for sums over rows, the kernel, and the sums of what its units left."""
        outs, ins = words[:len(self.outs)], words[len(self.outs):]
        parts = iter(scratch)
        before, after = [], []
        for at, (value, layout) in enumerate(zip(self.outs, self.layouts)):
            if layout != "row":
                continue
            part: Word = next(parts), 0
            size = self.count * value.nbytes
            before.append(Call(chores.chore("zero"), size, size, [part], size, size))
            name = "sum_f32" if value.dtype == np.float32 else "sum_f64"
            chunk = -(-max(GRAIN, SUMMED // self.count) // 64) * 64
            after.append(Call(chores.chore(name), value.size, chunk,
                              [outs[at], part, self.count, value.size], size, 64))
            outs[at] = part
        simple = isinstance(self.program, Pointwise) and not self.program.by_rows
        call = Call(self.address, self.count, self.chunk, [*outs, *ins, *self.sizes], self.nbytes,
                    GRAIN if simple else 1)
        return [x for x in (before, [call], after) if x]

    @property
    def passes(self) -> int:
        """How often it walks along a row."""
        if isinstance(self.program, Pointwise):
            return 1
        return len(row_printer.make_plan(self.program).passes)


def kernel_of(group: Group, kept: set[int]) -> Kernel:
    """The kernel that computes the values of ``group`` whose numbers are in ``kept``."""
    ins: dict[tuple, tuple[Value, int]] = {}
    for node in group.nodes:
        for x in group.operands[id(node)]:
            if isinstance(x, Operand) and x.access.root.number not in group.layouts:
                ins.setdefault(_input_key(x), (x.access.root, x.access.offset))
    outs = [n.outputs[0] for n in group.nodes if n.outputs[0].number in kept]
    layouts = [group.layouts[v.number] for v in outs]
    key = _likeness(group, outs, list(ins))
    design = None if key is None else _DESIGNS.get(key)
    if design is None:
        program = _program_of(group, outs, layouts, ins)
        item = max([4, *[v.dtype.itemsize for v in outs]])
        design = Design(program, group.size, group.columns, item)
        if key is not None:
            if len(_DESIGNS) >= MOST_DESIGNS:
                _DESIGNS.clear()
            _DESIGNS[key] = design
    return Kernel(design, outs, layouts, list(ins.values()))


def _input_key(x: Operand) -> tuple:
    return x.access.root.number, x.access.offset, x.layout


def _likeness(group: Group, outs: list[Value], ins: list[tuple]) -> Hashable | None:
    """What the design of a group's kernel depends on; None where that cannot be told."""
    places: dict[Any, Any] = {key: -1 - at for at, key in enumerate(ins)}
    parts: list[Any] = [group.size, group.columns]
    for at, node in enumerate(group.nodes):
        like = likeness_of(node)
        if like is None:
            return None
        uses = [(places.get(x.access.root.number) or places[_input_key(x)], x.layout,
                 x.access.root.dtype) if isinstance(x, Operand) else None
                for x in group.operands[id(node)]]
        parts.append((like, reduction_of(node), tuple(uses)))
        places[node.outputs[0].number] = at + 1
    made = [(places[v.number], group.layouts[v.number]) for v in outs]
    return (*parts, *made)


def _program_of(group: Group, outs: list[Value], layouts: list[str],
                ins: dict[tuple, tuple[Value, int]]) -> Pointwise | Rows:
    b = Builder()
    inputs = {key: b.input(STORED[root.dtype], key[2]) for key, (root, _) in ins.items()}
    made: dict[int, Symbol] = {}
    # The values that differ along a row.
    along = {id(s) for (_, _, layout), s in inputs.items() if layout in ("array", "row")}
    for node in group.nodes:
        symbols = [_symbol(x, inputs, made) for x in group.operands[id(node)]]
        found = made[node.outputs[0].number] = _result(node, symbols, b, along)
        if reduction_of(node) is None and any([id(s) in along for s in symbols]):
            along.add(id(found))
    if group.reduces:
        return b.rows(*[(made[v.number], layout) for v, layout in zip(outs, layouts)])
    return b.pointwise(*[made[v.number] for v in outs])


def _symbol(x: Any, inputs: dict[tuple, Symbol], made: dict[int, Symbol]) -> Any:
    if not isinstance(x, Operand):
        return x.value
    found = made.get(x.access.root.number)
    return inputs[_input_key(x)] if found is None else found


def _result(node: Node, symbols: list[Any], b: Builder, along: set[int]) -> Symbol:
    found = reduction_of(node)
    assert node.op is not None
    if found is None or node.op.kind == "pointwise":
        return steps_of(node, symbols, b)
    step, columns, by_rows = found
    x = symbols[0] if id(symbols[0]) in along else _along_row(symbols[0], b)
    if by_rows:
        return x
    total = b.step(step, x)
    return total / float(columns) if node.op.name.startswith("mean") else total


def _along_row(x: Symbol, b: Builder) -> Symbol:
    """``x``, the same all along a row, as a value of every element: to be reduced."""
    column = b.make("column_number", (), "i32")
    return b.on.where(column >= 0, x, x)


# The most modules that kernels come in, and characters of text that are worth one.
MODULES = 4
MODULE_TEXT = 24_000


def compile_all(kernels: Iterable[Kernel]) -> None:
    """Compile kernels as a few modules, which is quicker than one by one."""
    new: dict[bytes, tuple[str, list[Kernel]]] = {}
    for kernel in kernels:
        text = kernel.text
        key = hashlib.blake2b(text.encode(), digest_size=16).digest()
        kernel.code = _LOADED.get(key)
        if kernel.code is None:
            new.setdefault(key, (text, []))[1].append(kernel)
    if not new:
        return
    parts = _parted({key: len(text) for key, (text, _) in new.items()})
    names = [tuple([f"k{at}" for at in range(len(keys))]) for keys in parts]
    modules = [(_module_of([new[key][0] for key in keys], own), own)
               for keys, own in zip(parts, names)]
    for library, keys, own in zip(jit.load_all(modules, passing=True), parts, names):
        for name, key in zip(own, keys):
            code = _LOADED[key] = Code(library, library.address(name))
            _LATEST.append(code)
            for kernel in new[key][1]:
                kernel.code = code


def _parted(sizes: dict[bytes, int]) -> list[list[bytes]]:
    """Kernels by key in parts of about the same size of text, to be compiled side by side."""
    count = max(1, min(MODULES, sum(sizes.values()) // MODULE_TEXT, len(sizes)))
    parts: list[list[bytes]] = [[] for _ in range(count)]
    filled = [0] * count
    for key in sorted(sizes, key=lambda k: (-sizes[k], k)):
        at = filled.index(min(filled))
        parts[at].append(key)
        filled[at] += sizes[key]
    return parts


def _module_of(texts: list[str], names: Sequence[str]) -> str:
    head: dict[str, None] = {}
    bodies = []
    for name, text in zip(names, texts):
        lines = text.split("\n")
        start = next(i for i, line in enumerate(lines) if line.startswith("define "))
        end = lines.index("}", start)
        head.update(dict.fromkeys(lines[:start] + lines[end + 1:]))
        body = "\n".join(lines[start:end + 1])
        bodies.append(body.replace(f"@{printer.KERNEL}(", f"@{name}(", 1))
    return "\n".join([*[line for line in head if line], *bodies, ""])
