"""Prints reductions as CUDA C: rows by a tree in every block, columns by a thread each.

A kernel writes one partial result a piece, in the kind that accumulates; where there are several
pieces, the kernel of `finishing(reduction)` goes over the partials, until one is left. What is
added to what depends on the shape alone, never on the grid, so results repeat to the bit.

`kernel(partials, inputs..., rows, columns)` of `print_rows` takes blocks of THREADS threads and
writes partials (rows, pieces), with ceil(columns / PIECE) pieces. That of `print_columns`,
`kernel(partials, inputs..., batches, rows, columns)`, takes any blocks and writes partials
(batches, pieces, columns), with ceil(rows / HEIGHT) pieces. Inputs are whole arrays
(rows, columns) and (batches, rows, columns); no size is 0. Grids have one axis, of any size.
"""

from collections.abc import Sequence

from flambeau.backends.cuda_c.printer import (
    head_lines,
    indent,
    input_lines,
    loop_lines,
    step_lines,
    strided_lines,
)
from flambeau.backends.cuda_c.scalars import COMBINE
from flambeau.backends.cuda_c.values import C_TYPE, convert, literal, with_helpers
from flambeau.backends.llvm.program import STORAGE_ONLY, Input, Pointwise, Reduction, identity

THREADS = 256
# items of a row that one block reduces, rows of a column that one thread does
PIECE = 1 << 15
HEIGHT = 1 << 8


def finishing(reduction: Reduction) -> Reduction:
    """Return the reduction of another's partial results.

    >>> mean = Pointwise((Input("f16"),), (), (0,))
    >>> finishing(Reduction(mean, "sum", "f32")).prologue.inputs
    (Input(kind='f32', layout='array'),)
    """
    kind = reduction.accumulate
    return Reduction(Pointwise((Input(kind),), (), (0,)), reduction.combine, kind)


def print_rows(reduction: Reduction) -> str:
    """Return the kernel that reduces rows of a matrix.

    Raises ValueError where it would accumulate in bool or a kind that is only stored, or where
    items lie apart.
    """
    stored = C_TYPE[_accumulate(reduction)]
    walk = loop_lines("i", "first + threadIdx.x", "last", str(THREADS), _grow(reduction))
    body = [
        "const long long row = unit / pieces, begin = unit % pieces * PIECE;",
        "const long long end = begin + PIECE < columns ? begin + PIECE : columns;",
        "const long long first = row * columns + begin, last = row * columns + end;",
        _start(reduction),
        *walk,
        *_tree(reduction),
        "if (threadIdx.x == 0) out0[unit] = parts[0];",
        "__syncthreads();",
    ]
    lines = [
        f"__shared__ {stored} parts[{THREADS}];",
        *_pieces("columns"),
        *loop_lines("unit", "blockIdx.x", "rows * pieces", "gridDim.x", body),
    ]
    return _module(reduction, ("rows", "columns"), lines, PIECE, THREADS)


def print_columns(reduction: Reduction) -> str:
    """Return the kernel that reduces the middle one of three axes.

    Raises ValueError where it would accumulate in bool or a kind that is only stored, or where
    items lie apart.
    """
    _accumulate(reduction)
    walk = ["const long long i = (batch * rows + row) * columns + column;", *_grow(reduction)]
    body = [
        "const long long column = place % columns, outer = place / columns;",
        "const long long batch = outer / pieces, top = outer % pieces * PIECE;",
        "const long long bottom = top + PIECE < rows ? top + PIECE : rows;",
        _start(reduction),
        *loop_lines("row", "top", "bottom", "1", walk),
        "out0[place] = total;",
    ]
    lines = [*_pieces("rows"), *strided_lines("x", "place", "batches * pieces * columns", body)]
    return _module(reduction, ("batches", "rows", "columns"), lines, HEIGHT, 0)


def _accumulate(reduction: Reduction) -> str:
    kind = reduction.accumulate
    if kind in STORAGE_ONLY or kind == "bool":
        raise ValueError(f"a kernel does not accumulate in {kind}")
    if reduction.step != 1:
        raise ValueError("items lie side by side")
    return kind


def _pieces(length: str) -> list[str]:
    return [f"const long long pieces = ({length} + PIECE - 1) / PIECE;"]


def _start(reduction: Reduction) -> str:
    kind = reduction.accumulate
    return f"{C_TYPE[kind]} total = {literal(kind, identity(reduction.combine, kind))};"


def _grow(reduction: Reduction) -> list[str]:
    """One item, at index i, through the prologue and into the total."""
    program, kind = reduction.prologue, reduction.accumulate
    (number,) = program.outputs
    item = convert(f"v{number}", program.kinds[number], kind)
    return [
        *input_lines(program.inputs, "array", "i"),
        *step_lines(program),
        f"const {C_TYPE[kind]} item = {item};",
        f"total = {COMBINE[reduction.combine](kind, 'item', 'total')};",
    ]


def _tree(reduction: Reduction) -> list[str]:
    """The block's totals, combined in halves; the result is in parts[0]."""
    kind = reduction.accumulate
    both = COMBINE[reduction.combine](kind, "low", "high")
    return [
        "parts[threadIdx.x] = total;",
        "__syncthreads();",
        f"for (unsigned int apart = {THREADS // 2}; apart > 0; apart /= 2) {{",
        "    if (threadIdx.x < apart) {",
        f"        const {C_TYPE[kind]} low = parts[threadIdx.x];",
        f"        const {C_TYPE[kind]} high = parts[threadIdx.x + apart];",
        f"        parts[threadIdx.x] = {both};",
        "    }",
        "    __syncthreads();",
        "}",
    ]


def _module(
    reduction: Reduction, sizes: Sequence[str], lines: Sequence[str], piece: int, threads: int
) -> str:
    inputs = reduction.prologue.inputs
    head = head_lines([reduction.accumulate], inputs, sizes, apart=True, threads=threads)
    constant = f"static const long long PIECE = {piece};\n"
    return with_helpers("\n".join([constant, *head, *indent(lines), "}"]) + "\n")
