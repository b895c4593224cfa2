"""Prints programs by rows as CUDA C: threads take a row, and walk it as often as the plan says.

The kernel is `kernel(outputs..., inputs..., rows, columns, height)`, in a grid of one axis, for
blocks of as many threads along x and rows along y as its `Walk` says. The unit of work of a row of
threads is `height` rows, one after another; 1 suits programs without sums over rows. The output of
such a sum is an array (units, columns) of zeros, with ceil(rows / height) units, which gets a row
from each unit; `reduce.print_columns` adds them up. No output overlaps an input, no size is 0.
Results depend on the shape, the height and the threads of a row, not on the grid.

A reduction goes from lane to lane by shuffles, then over the warps through shared memory. Where a
walk holds rows, items are read once, and what is dear to compute stays in registers between passes;
else in an output, where a thread reads back only what it wrote itself.
"""

from typing import NamedTuple

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
from flambeau.backends.llvm.row_plan import DEAR, Pass, Plan, make_plan, step_of

THREADS = 256
WARP = 32
# threads of a row that is held, and items that each holds, at the most: longer rows are faster in
# several walks, whose threads do not all wait for what is read
MOST_THREADS = 128
MOST_HELD = 8
# rows that are gone over side by side where each has a warp
TOGETHER = 4
PLACES = {"column_number": "column", "row_number": "row", "row_length": "columns"}


class Walk(NamedTuple):
    """How rows are gone over: by so many threads each, so many side by side.

    `held` is how many items of a row each thread holds, where the row has no more than these; 0 for
    rows of any length.
    """

    threads: int = THREADS
    held: int = 0
    together: int = 1


def walk_for(columns: int) -> Walk:
    """The walk that suits rows of this length.

    >>> walk_for(200)
    Walk(threads=32, held=8, together=4)
    >>> walk_for(4096)
    Walk(threads=256, held=0, together=1)
    """
    threads = WARP
    while threads < MOST_THREADS and threads * MOST_HELD < columns:
        threads *= 2
    held = 1
    while threads * held < columns:
        held *= 2
    if held > MOST_HELD:
        return Walk()
    return Walk(threads, held, TOGETHER if threads == WARP else 1)


def print_rows(program: Rows, walk: Walk | None = None) -> str:
    """Return the CUDA C of a program.

    >>> from flambeau.backends.llvm.program import Input, Output, Step
    >>> total = Rows((Input("f32"),), (Step("row_sum", (0,)),), (Output(1, "column"),))
    >>> "const float v1 = combine_sum_f32(total1);" in print_rows(total)
    True
    """
    walk = walk or Walk()
    plan = make_plan(program)
    carried = _carried(program, plan) if walk.held else frozenset()
    row = input_lines(program.inputs, "column", "row")
    row += [f"{C_TYPE[program.kinds[v]]} held{v}[{walk.held}];" for v in sorted(carried)]
    row += _row_lines(program, plan.before)
    known: set[int] = set()
    for turn in plan.passes:
        row += _pass_lines(program, turn, walk, carried, known)
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
    begin, step = "blockIdx.x", "gridDim.x"
    if walk.together > 1:
        begin = f"(long long)blockIdx.x * {walk.together} + threadIdx.y"
        step = f"(long long)gridDim.x * {walk.together}"
    lines = input_lines(program.inputs, "scalar", "0")
    lines += loop_lines("unit", begin, units, step, unit)
    kinds = [program.kinds[output.value] for output in program.outputs]
    sizes = ("rows", "columns", "height")
    threads = walk.threads * walk.together
    head = head_lines(kinds, program.inputs, sizes, apart=True, threads=threads)
    helpers = _combine_functions(program, walk.threads)
    return with_helpers("\n".join([*helpers, *head, *indent(lines), "}"]) + "\n")


def _value_line(program: Rows, number: int) -> str:
    """The line that computes or loads one value, inside the loop where it belongs."""
    kind, step = program.kinds[number], step_of(program, number)
    if step is None:
        return declare(kind, number, _item(program, number))
    if step.name in POSITIONS:
        return declare(kind, number, convert(PLACES[step.name], "i64", kind))
    return declare(kind, number, step_text(step, program.kinds))


def _item(program: Rows, number: int) -> str:
    item = program.inputs[number]
    return load(item.kind, f"in{number}", "i" if item.layout == "array" else "column")


def _row_lines(program: Rows, numbers: tuple[int, ...]) -> list[str]:
    return [_value_line(program, number) for number in numbers]


def _carried(program: Rows, plan: Plan) -> frozenset[int]:
    """Values of elements that threads hold: what is read, and what is dear and needed again."""
    found = {n for n, item in enumerate(program.inputs) if item.layout == "array"}
    needed = [set(turn.values) | {number for _, number in turn.found} for turn in plan.passes]
    for number in set().union(*needed):
        step = step_of(program, number)
        if step is not None and step.name in DEAR and sum(number in some for some in needed) > 1:
            found.add(number)
    return frozenset(number for number in found if any(number in some for some in needed))


def _pass_lines(program: Rows, turn: Pass, walk: Walk, carried: frozenset[int],
                known: set[int]) -> list[str]:
    """One walk along the row, its reductions, and what follows from them.

    `known` has the carried values that earlier passes have left, and gets those of this one.
    """
    starts, grown, ends = [], [], []
    for number in turn.reductions:
        combine, kind = _combine_of(program, number), program.kinds[number]
        (item,) = program.steps[number - len(program.inputs)].args
        total = f"total{number}"
        start = literal(kind, identity(combine, kind))
        starts.append(f"{C_TYPE[kind]} {total} = {start};")
        grown.append(f"{total} = {COMBINE[combine](kind, f'v{item}', total)};")
        ends.append(declare(kind, number, f"combine_{combine}_{kind}({total})"))
    stores = [f"out{place}[i] = v{number};" for place, number in turn.arrays]
    stores += [f"out{place}[unit * columns + column] += v{number};" for place, number in turn.sums]
    if walk.held:
        walked = _held_lines(program, turn, walk, carried, known, [*stores, *grown])
    else:
        walked = _long_lines(program, turn, walk, [*stores, *grown])
    return [*starts, *walked, *ends, *_row_lines(program, turn.after)]


def _long_lines(program: Rows, turn: Pass, walk: Walk, uses: list[str]) -> list[str]:
    body = ["const long long i = row * columns + column;"]
    body += [
        declare(program.kinds[number], number, load(program.kinds[number], f"out{place}", "i"))
        for place, number in turn.found
    ]
    body += _row_lines(program, turn.values)
    body += [f"out{place}[i] = v{number};" for place, number in turn.kept]
    return loop_lines("column", "threadIdx.x", "columns", str(walk.threads), [*body, *uses])


def _held_lines(program: Rows, turn: Pass, walk: Walk, carried: frozenset[int], known: set[int],
                uses: list[str]) -> list[str]:
    """A walk along held items: first all that is read is on its way, then it is used."""
    values = sorted({*turn.values, *(number for _, number in turn.found)})
    fresh = [v for v in values if v in carried and v not in known and step_of(program, v) is None]
    loads = [f"held{v}[n] = column < columns ? {_item(program, v)} : 0;" for v in fresh]
    body = []
    for number in values:
        if number in known or number in fresh:
            body.append(declare(program.kinds[number], number, f"held{number}[n]"))
        else:
            body.append(_value_line(program, number))
            if number in carried:
                body.append(f"held{number}[n] = v{number};")
    known.update(carried.intersection(values))
    places = [
        f"const long long column = n * {walk.threads} + threadIdx.x;",
        "const long long i = row * columns + column;",
    ]
    lines = _each_held(walk, [*places, *loads]) if loads else []
    inside = ["if (column < columns) {", *indent([*body, *uses]), "}"]
    return [*lines, *_each_held(walk, [*places, *inside])]


def _each_held(walk: Walk, body: list[str]) -> list[str]:
    return ["#pragma unroll", f"for (int n = 0; n < {walk.held}; ++n) {{", *indent(body), "}"]


def _combine_of(program: Rows, number: int) -> str:
    return ROW_REDUCTIONS[program.steps[number - len(program.inputs)].name]


def _combine_functions(program: Rows, threads: int) -> list[str]:
    """A function for every kind and combine in use, which gives all threads the row's total."""
    first = len(program.inputs)
    wanted = sorted({
        (_combine_of(program, number), program.kinds[number])
        for number, step in enumerate(program.steps, first)
        if step.name in ROW_REDUCTIONS
    })
    return [line for combine, kind in wanted for line in _combine_function(combine, kind, threads)]


def _combine_function(combine: str, kind: str, threads: int) -> list[str]:
    stored = C_TYPE[kind]
    both = COMBINE[combine](kind, "other", "total")
    head = f"static __device__ __forceinline__ {stored} combine_{combine}_{kind}({stored} total)"
    lanes = [
        f"for (int apart = {WARP // 2}; apart > 0; apart /= 2) {{",
        f"    const {stored} other = __shfl_down_sync(0xffffffffu, total, apart);",
        f"    total = {both};",
        "}",
    ]
    if threads == WARP:
        body = [*lanes, "return __shfl_sync(0xffffffffu, total, 0);"]
        return [head, "{", *indent(body), "}", ""]
    warps = [
        f"if (threadIdx.x % {WARP} == 0) parts[threadIdx.x / {WARP}] = total;",
        "__syncthreads();",
        "total = parts[0];",
        f"for (int warp = 1; warp < {threads // WARP}; ++warp) {{",
        f"    const {stored} other = parts[warp];",
        f"    total = {both};",
        "}",
        "// the next call writes to the same parts",
        "__syncthreads();",
        "return total;",
    ]
    shared = f"__shared__ {stored} parts[{threads // WARP}];"
    return [head, "{", *indent([shared, *lanes, *warps]), "}", ""]
