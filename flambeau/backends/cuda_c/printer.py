"""Prints pointwise programs as CUDA C.

The kernel is `extern "C" __global__ void kernel(outputs..., inputs..., sizes...)`: a pointer for
every output, then for every input, then `long long` sizes: the count of elements, or, for programs
by rows, rows and columns. Pointers are to items as NumPy lays them: bool in bytes, halves as their
bits. Any grid and block will do, since threads stride over the elements: in x over elements or
columns, in y over rows. An output may be an array input of its own kind, for in-place work.
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
from flambeau.backends.llvm.program import Input, Pointwise, Step

KERNEL = "kernel"
INDENT = "    "


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


def strided_lines(axis: str, name: str, end: str, body: Sequence[str]) -> list[str]:
    """Return a loop that shares [0, end) out among all threads along an axis of the grid."""
    begin = f"(long long)blockIdx.{axis} * blockDim.{axis} + threadIdx.{axis}"
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
    arrays = input_lines(program.inputs, "array", "i")
    across = input_lines(program.inputs, "row", "column")
    stores = [f"out{place}[i] = v{number};" for place, number in enumerate(program.outputs)]
    body = [*arrays, *across, *step_lines(program), *stores]
    if program.by_rows:
        place = "const long long i = row * columns + column;"
        row = input_lines(program.inputs, "column", "row")
        row += strided_lines("x", "column", "columns", [place, *body])
        loop = strided_lines("y", "row", "rows", row)
    else:
        loop = strided_lines("x", "i", "count", body)
    lines = head_lines(kinds, program.inputs, sizes, apart=False, threads=0)
    lines += indent([*input_lines(program.inputs, "scalar", "0"), *loop])
    return with_helpers("\n".join([*lines, "}"]) + "\n")
