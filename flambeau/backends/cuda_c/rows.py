"""Prints programs by rows as CUDA C: a block takes a row, and walks it as often as the plan says.

The kernel is `kernel(outputs..., inputs..., rows, columns, height)`, for blocks of THREADS threads
in a grid of one axis. A block's unit of work is `height` rows, one after another; 1 suits programs
without sums over rows. The output of such a sum is an array (units, columns) of zeros, with
ceil(rows / height) units, which gets a row from each unit; `reduce.print_columns` adds them up.
No output overlaps an input, no size is 0. Results depend on the shape and the height alone, not on
the grid.

A reduction goes from lane to lane by shuffles, then over the warps through shared memory. A thread
reads back only what it wrote itself, so values kept between passes need no barrier.
"""

from flambeau.backends.cuda_c.printer import (
    head_lines,
    indent,
    input_lines,
    loop_lines,
    step_text,
)
from flambeau.backends.cuda_c.scalars import COMBINE
from flambeau.backends.cuda_c.values import C_TYPE, convert, declare, literal, load, with_helpers
from flambeau.backends.llvm.program import POSITIONS, ROW_REDUCTIONS, Rows, identity
from flambeau.backends.llvm.row_plan import Pass, make_plan, step_of

THREADS = 256
WARP = 32
PLACES = {"column_number": "column", "row_number": "row", "row_length": "columns"}


def print_rows(program: Rows) -> str:
    """Return the CUDA C of a program.

    >>> from flambeau.backends.llvm.program import Input, Output, Step
    >>> total = Rows((Input("f32"),), (Step("row_sum", (0,)),), (Output(1, "column"),))
    >>> "const float v1 = combine_sum_f32(total1);" in print_rows(total)
    True
    """
    plan = make_plan(program)
    row = input_lines(program.inputs, "column", "row")
    row += _row_lines(program, plan.before)
    for turn in plan.passes:
        row += _pass_lines(program, turn)
    columns = [
        f"out{place}[row] = v{output.value};"
        for place, output in enumerate(program.outputs)
        if output.layout == "column"
    ]
    if columns:
        row += ["if (threadIdx.x == 0) {", *indent(columns), "}"]
    unit = [
        "const long long first = unit * height;",
        "const long long last = first + height < rows ? first + height : rows;",
        *loop_lines("row", "first", "last", "1", row),
    ]
    units = "(rows + height - 1) / height"
    lines = input_lines(program.inputs, "scalar", "0")
    lines += loop_lines("unit", "blockIdx.x", units, "gridDim.x", unit)
    kinds = [program.kinds[output.value] for output in program.outputs]
    sizes = ("rows", "columns", "height")
    head = head_lines(kinds, program.inputs, sizes, apart=True, threads=THREADS)
    helpers = _combine_functions(program)
    return with_helpers("\n".join([*helpers, *head, *indent(lines), "}"]) + "\n")


def _value_line(program: Rows, number: int) -> str:
    """The line that computes or loads one value, inside the loop where it belongs."""
    kind, step = program.kinds[number], step_of(program, number)
    if step is None:
        item = program.inputs[number]
        index = "i" if item.layout == "array" else "column"
        return declare(kind, number, load(kind, f"in{number}", index))
    if step.name in POSITIONS:
        return declare(kind, number, convert(PLACES[step.name], "i64", kind))
    return declare(kind, number, step_text(step, program.kinds))


def _row_lines(program: Rows, numbers: tuple[int, ...]) -> list[str]:
    return [_value_line(program, number) for number in numbers]


def _pass_lines(program: Rows, turn: Pass) -> list[str]:
    """One walk along the row, its reductions, and what follows from them."""
    starts, grown, ends = [], [], []
    for number in turn.reductions:
        combine, kind = _combine_of(program, number), program.kinds[number]
        (item,) = program.steps[number - len(program.inputs)].args
        total = f"total{number}"
        start = literal(kind, identity(combine, kind))
        starts.append(f"{C_TYPE[kind]} {total} = {start};")
        grown.append(f"{total} = {COMBINE[combine](kind, f'v{item}', total)};")
        ends.append(declare(kind, number, f"combine_{combine}_{kind}({total})"))
    body = ["const long long i = row * columns + column;"]
    body += [
        declare(program.kinds[number], number, load(program.kinds[number], f"out{place}", "i"))
        for place, number in turn.found
    ]
    body += _row_lines(program, turn.values)
    body += [f"out{place}[i] = v{number};" for place, number in (*turn.kept, *turn.arrays)]
    body += [f"out{place}[unit * columns + column] += v{number};" for place, number in turn.sums]
    walk = loop_lines("column", "threadIdx.x", "columns", str(THREADS), [*body, *grown])
    return [*starts, *walk, *ends, *_row_lines(program, turn.after)]


def _combine_of(program: Rows, number: int) -> str:
    return ROW_REDUCTIONS[program.steps[number - len(program.inputs)].name]


def _combine_functions(program: Rows) -> list[str]:
    """A function for every kind and combine in use, which gives all threads the block's total."""
    first = len(program.inputs)
    wanted = sorted({
        (_combine_of(program, number), program.kinds[number])
        for number, step in enumerate(program.steps, first)
        if step.name in ROW_REDUCTIONS
    })
    return [line for combine, kind in wanted for line in _combine_function(combine, kind)]


def _combine_function(combine: str, kind: str) -> list[str]:
    stored = C_TYPE[kind]
    both = COMBINE[combine](kind, "other", "total")
    return [
        f"static __device__ __forceinline__ {stored} combine_{combine}_{kind}({stored} total)",
        "{",
        f"    __shared__ {stored} parts[{THREADS // WARP}];",
        f"    for (int apart = {WARP // 2}; apart > 0; apart /= 2) {{",
        f"        const {stored} other = __shfl_down_sync(0xffffffffu, total, apart);",
        f"        total = {both};",
        "    }",
        f"    if (threadIdx.x % {WARP} == 0) parts[threadIdx.x / {WARP}] = total;",
        "    __syncthreads();",
        "    total = parts[0];",
        f"    for (int warp = 1; warp < {THREADS // WARP}; ++warp) {{",
        f"        const {stored} other = parts[warp];",
        f"        total = {both};",
        "    }",
        "    // the next call writes to the same parts",
        "    __syncthreads();",
        "    return total;",
        "}",
        "",
    ]
