"""Prints pointwise programs as CUDA C.

The kernel is `extern "C" __global__ void kernel(outputs..., inputs..., sizes...)`: a pointer for
every output, then for every input, then `long long` sizes: the count of elements, or, for programs
by rows, rows and columns. Pointers are to items as NumPy lays them: bool in bytes, halves as their
bits. Any grid and block will do, since threads stride over the elements: in x over elements or
columns, in y over rows. An output may be an array input of its own kind, for in-place work.

Where arrays begin at multiples of 16 bytes (and columns are a multiple of a pack's items) threads
take packs of neighbours, the widest of them 16 bytes, so that enough of memory is on its way.
"""

from collections.abc import Sequence

from flambeau.backends.cuda_c.scalars import TABLE
from flambeau.backends.cuda_c.values import (
    STORED,
    convert,
    declare,
    literal,
    load,
    with_helpers,
)
from flambeau.backends.llvm.program import ITEM_BYTES, Input, Pointwise, Step
from flambeau.backends.llvm.row_plan import DEAR

KERNEL = "kernel"
INDENT = "    "
PACK_BYTES = 16
# layouts that have packs, and which of them a thread takes
PACKED = {"array": "pack", "row": "across"}
# a program of more dear steps than this is not held up by memory
FEW_DEAR = 8
PACK = """\
template <class Item>
struct alignas(sizeof(Item) * WIDTH) Pack {
    Item items[WIDTH];
};
"""


def step_text(step: Step, kinds: Sequence[str]) -> str:
    """Return the expression of one step, whose operands are named v0, v1, ... by number."""
    names = [f"v{number}" for number in step.args]
    if step.name == "const":
        assert step.kind is not None and step.value is not None
        return literal(step.kind, step.value)
    if step.name == "cast":
        assert step.kind is not None
        return convert(names[0], kinds[step.args[0]], step.kind)
    return TABLE[step.name](kinds[step.args[-1]], *names)


def step_lines(program: Pointwise) -> list[str]:
    """Return one line for every step of a program."""
    return [
        declare(program.kinds[number], number, step_text(step, program.kinds))
        for number, step in enumerate(program.steps, len(program.inputs))
    ]


def head_lines(
    outputs: Sequence[str], inputs: Sequence[Input], sizes: Sequence[str], apart: bool, threads: int
) -> list[str]:
    """Return how a kernel begins; `apart` says that no output overlaps an input.

    `threads` is the size that its blocks must have, 0 where any will do.
    """
    alone = "__restrict__ " if apart else ""
    words = [f"{STORED[kind]} *{alone}out{number}" for number, kind in enumerate(outputs)]
    words += [f"const {STORED[item.kind]} *{alone}in{n}" for n, item in enumerate(inputs)]
    words += [f"long long {name}" for name in sizes]
    bounds = f"__launch_bounds__({threads}) " if threads else ""
    joined = f",\n{INDENT}".join(words)
    return [f'extern "C" __global__ void {bounds}{KERNEL}(\n{INDENT}{joined})', "{"]


def input_lines(inputs: Sequence[Input], layout: str, index: str) -> list[str]:
    """Return a line that loads each input of this layout at an index."""
    return [
        declare(item.kind, number, load(item.kind, f"in{number}", index))
        for number, item in enumerate(inputs)
        if item.layout == layout
    ]


def indent(lines: Sequence[str]) -> list[str]:
    """Return lines one block further in."""
    return [INDENT + line for line in lines]


def loop_lines(name: str, begin: str, end: str, step: str, body: Sequence[str]) -> list[str]:
    """Return a loop whose index, a `long long`, has this name."""
    head = f"for (long long {name} = {begin}; {name} < {end}; {name} += {step}) {{"
    return [head, *indent(body), "}"]


def strided_lines(axis: str, name: str, end: str, body: Sequence[str],
                  start: str = "") -> list[str]:
    """Return a loop that shares [start, end) out among all threads along an axis of the grid."""
    begin = f"(long long)blockIdx.{axis} * blockDim.{axis} + threadIdx.{axis}"
    if start:
        begin = f"{start} + {begin}"
    step = f"(long long)gridDim.{axis} * blockDim.{axis}"
    return loop_lines(name, begin, end, step, body)


def print_pointwise(program: Pointwise) -> str:
    """Return the CUDA C of a program.

    >>> from flambeau.backends.llvm.program import Input, Pointwise, Step
    >>> text = print_pointwise(Pointwise((Input("f32"),), (Step("exp", (0,)),), (1,)))
    >>> "const float v1 = expf(v0);" in text
    True
    """
    kinds = [program.kinds[number] for number in program.outputs]
    sizes = ("rows", "columns") if program.by_rows else ("count",)
    width = _width(program)
    loop = _row_loop(program, width) if program.by_rows else _loop(program, width)
    head = head_lines(kinds, program.inputs, sizes, apart=False, threads=0)
    scalars = input_lines(program.inputs, "scalar", "0")
    packs = [] if width == 1 else [f"static const int WIDTH = {width};", "", PACK]
    return with_helpers("\n".join([*packs, *head, *indent([*scalars, *loop]), "}"]) + "\n")


def _width(program: Pointwise) -> int:
    """How many items there are in a pack; 1 where packs do not pay."""
    if sum(step.name in DEAR for step in program.steps) > FEW_DEAR:
        return 1
    kinds = [item.kind for item in program.inputs if item.layout == "array"]
    kinds += [program.kinds[number] for number in program.outputs]
    return PACK_BYTES // max(ITEM_BYTES[kind] for kind in kinds)


def _item_lines(program: Pointwise) -> list[str]:
    """One element, at `i`, or `column` of its row."""
    stores = [f"out{place}[i] = v{number};" for place, number in enumerate(program.outputs)]
    arrays = input_lines(program.inputs, "array", "i")
    across = input_lines(program.inputs, "row", "column")
    return [*arrays, *across, *step_lines(program), *stores]


def _pack_lines(program: Pointwise) -> list[str]:
    """One pack of elements, number `pack` of arrays and number `across` of its row."""
    lines, loads, stores, ends = [], [], [], []
    for number, item in enumerate(program.inputs):
        if item.layout in PACKED:
            kind, place = f"Pack<{STORED[item.kind]}>", PACKED[item.layout]
            lines.append(f"const {kind} p{number} = ((const {kind} *)in{number})[{place}];")
            loads.append(declare(item.kind, number, load(item.kind, f"p{number}.items", "n")))
    for output, number in enumerate(program.outputs):
        kind = f"Pack<{STORED[program.kinds[number]]}>"
        lines.append(f"{kind} q{output};")
        stores.append(f"q{output}.items[n] = v{number};")
        ends.append(f"(({kind} *)out{output})[pack] = q{output};")
    body = indent([*loads, *step_lines(program), *stores])
    return [*lines, "#pragma unroll", "for (int n = 0; n < WIDTH; ++n) {", *body, "}", *ends]


def _aligned(program: Pointwise) -> str:
    """Whether packs may be taken: where pointers have no low bits."""
    pointers = [f"out{place}" for place in range(len(program.outputs))]
    pointers += [f"in{n}" for n, item in enumerate(program.inputs) if item.layout in PACKED]
    bits = " | ".join(f"(unsigned long long){pointer}" for pointer in pointers)
    return f"(({bits}) & {PACK_BYTES - 1}) == 0"


def _loop(program: Pointwise, width: int) -> list[str]:
    if width == 1:
        return strided_lines("x", "i", "count", _item_lines(program))
    return [
        f"const long long packs = {_aligned(program)} ? count / WIDTH : 0;",
        *strided_lines("x", "pack", "packs", _pack_lines(program)),
        "#pragma unroll 1",
        *strided_lines("x", "i", "count", _item_lines(program), "packs * WIDTH"),
    ]


def _row_loop(program: Pointwise, width: int) -> list[str]:
    place = "const long long i = row * columns + column;"
    row = input_lines(program.inputs, "column", "row")
    items = strided_lines("x", "column", "columns", [place, *_item_lines(program)])
    if width == 1:
        return strided_lines("y", "row", "rows", [*row, *items])
    pack = "const long long pack = row * packs + across;"
    packs = strided_lines("x", "across", "packs", [pack, *_pack_lines(program)])
    whole = f"columns % WIDTH == 0 && {_aligned(program)}"
    return [
        f"const long long packs = {whole} ? columns / WIDTH : 0;",
        *strided_lines("y", "row", "rows", [
            *row, *packs, "if (packs == 0) {", *indent(items), "}",
        ]),
    ]
