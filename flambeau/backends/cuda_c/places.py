"""Prints gathers and scatters as CUDA C: items moved from or to places that an index names.

Arrays are (batch, rows, columns), the items that are named (batch, count, columns). An index, of
int64, is (batch, count, columns) or, for whole rows, (count), which `index_next` of count takes to
the next batch, if there is one for each, and of 0 does not. What names no row sets `wrong` to 1 and
moves nothing; a gather then reads row 0.

A gather is `kernel(out, wrong, whole, index, batch, rows, count, columns, index_next)`, for any
blocks in a grid of one axis.

A scatter is `kernel(whole, wrong, part, index, batch, rows, count, columns, index_next)`, in a grid
of three axes; "count" has no part. Whoever writes an item owns it: blocks along y share the rows
out, and go over the whole index for those of their own; those along x share columns and those along
z batches, or both share columns of all batches with `each`. So every item is written in the order
of the index, whatever the grid, and sums are to the bit those of one loop; no atomics are needed.
Blocks of whole rows have THREADS threads, those with `each` any number. `scatter_grid` says what
grid suits. Few names of many rows are done fast; where most of an index names one row, one block
does most of the work.
"""

from collections.abc import Sequence

from flambeau.backends.cuda_c.printer import head_lines, indent, loop_lines, strided_lines
from flambeau.backends.cuda_c.scalars import COMBINE
from flambeau.backends.cuda_c.values import C_TYPE, STORED, with_helpers
from flambeau.backends.llvm.array_program import Gather, Scatter
from flambeau.backends.llvm.program import ITEM_BYTES, Input

THREADS = 256
WARP = 32
# bytes that are moved at once, where rows lie so that they can be
WIDE_BYTES = 16
SIZES = ("batch", "rows", "count", "columns", "index_next")
INDEX = Input("i64")


def print_gather(program: Gather) -> str:
    """Return the kernel of a gather."""
    if program.each:
        lines = strided_lines("x", "place", "batch * count * columns", [
            "const long long column = place % columns, outer = place / columns;",
            "const long long line = outer / count;",
            *_named("in1[place]"),
            "out0[place] = in0[(line * rows + row) * columns + column];",
        ])
    else:
        lines = _copied_rows(program.kind)
    inputs = (Input(program.kind), INDEX)
    head = head_lines([program.kind, "i64"], inputs, SIZES, apart=True, threads=0)
    return with_helpers("\n".join([*head, *indent(lines), "}"]) + "\n")


def _named(index: str) -> list[str]:
    """The row that an index names, or row 0."""
    return [
        f"const long long name = {index};",
        "const bool inside = (unsigned long long)name < (unsigned long long)rows;",
        "if (!inside) out1[0] = 1;",
        "const long long row = inside ? name : 0;",
    ]


def _copied_rows(kind: str) -> list[str]:
    """Whole rows, by as many bytes at once as they and the arrays are multiples of."""
    width = WIDE_BYTES // ITEM_BYTES[kind]
    return [
        "const unsigned long long bits = (unsigned long long)out0 | (unsigned long long)in0;",
        f"if (columns % {width} == 0 && bits % {WIDE_BYTES} == 0) {{",
        f"    const long long length = columns / {width};",
        *indent(_copy_as("uint4")),
        "} else {",
        "    const long long length = columns;",
        *indent(_copy_as(STORED[kind])),
        "}",
    ]


def _copy_as(unit: str) -> list[str]:
    """Rows of `length` units, each by so many threads that a block takes one or several."""
    row = [
        "const long long line = outer / count, number = outer % count;",
        *_named("in1[line * index_next + number]"),
        f"const {unit} *source = (const {unit} *)in0 + (line * rows + row) * length;",
        f"{unit} *target = ({unit} *)out0 + outer * length;",
        *loop_lines("column", "threadIdx.x % width", "length", "width",
                    ["target[column] = source[column];"]),
    ]
    return [
        "unsigned int width = 1;",
        "while (2 * width <= blockDim.x && width < length) width *= 2;",
        "const long long groups = blockDim.x / width, group = threadIdx.x / width;",
        "const long long begin = group < groups ? blockIdx.x * groups + group : batch * count;",
        *loop_lines("outer", "begin", "batch * count", "gridDim.x * groups", row),
    ]


def print_scatter(program: Scatter) -> str:
    """Return the kernel of a scatter."""
    lines = _each_item(program) if program.each else _whole_rows(program)
    inputs = (INDEX,) if program.how == "count" else (Input(program.kind), INDEX)
    threads = 0 if program.each else THREADS
    head = head_lines([program.kind, "i64"], inputs, SIZES, apart=True, threads=threads)
    shares = [
        "const long long first = rows * blockIdx.y / gridDim.y;",
        "const long long last = rows * (blockIdx.y + 1) / gridDim.y;",
    ]
    return with_helpers("\n".join([*head, *indent([*shares, *lines]), "}"]) + "\n")


def _index_of(program: Scatter) -> str:
    return "in0" if program.how == "count" else "in1"


def _move(program: Scatter, target: str, source: str) -> list[str]:
    """One item, written or added."""
    if program.how == "put":
        return [f"out0[{target}] = in0[{source}];"]
    kind = program.kind
    item = "1" if program.how == "count" else f"in0[{source}]"
    return [
        f"const {C_TYPE[kind]} total = out0[{target}], item = {item};",
        f"out0[{target}] = {COMBINE['sum'](kind, 'total', 'item')};",
    ]


def _each_item(program: Scatter) -> list[str]:
    """A thread takes the column of a batch, and those of its names that are in the block's rows."""
    body = [
        "const long long at = (line * count + number) * columns + column;",
        f"const long long name = {_index_of(program)}[at];",
        "if (name < 0 || name >= rows) out1[0] = 1;",
        "if (name >= first && name < last) {",
        "    const long long target = (line * rows + name) * columns + column;",
        *indent(_move(program, "target", "at")),
        "}",
    ]
    walk = [
        "const long long line = place / columns, column = place % columns;",
        *loop_lines("number", "0", "count", "1", body),
    ]
    return [
        "const long long block = (long long)blockIdx.z * gridDim.x + blockIdx.x;",
        "const long long threads = (long long)gridDim.z * gridDim.x * blockDim.x;",
        *loop_lines("place", "block * blockDim.x + threadIdx.x", "batch * columns", "threads",
                    walk),
    ]


def _whole_rows(program: Scatter) -> list[str]:
    """The names of the block's rows are picked out of the index, in order, some at a time."""
    columns = loop_lines("column", "begin + threadIdx.x % width", "end", "width", [
        "const long long target = (line * rows + name) * columns + column;",
        *_move(program, "target", "(line * count + number) * columns + column"),
    ])
    moves = [
        "for (int n = 0; n < picked; ++n) {",
        "    const long long name = names[n], number = numbers[n];",
        f"    if (name % ({THREADS} / width) != threadIdx.x / width) continue;",
        *indent(columns),
        "}",
    ]
    chunk = [
        "const long long at = chunk + threadIdx.x;",
        f"const long long name = at < count ? {_index_of(program)}[line * index_next + at] : 0;",
        "if (name < 0 || name >= rows) out1[0] = 1;",
        "const bool own = at < count && name >= first && name < last;",
        "const unsigned int owned = __ballot_sync(0xffffffffu, own);",
        "if (lane == 0) owners[warp] = __popc(owned);",
        "__syncthreads();",
        "int place = __popc(owned & ((1u << lane) - 1)), picked = 0;",
        f"for (int n = 0; n < {THREADS // WARP}; ++n) {{",
        "    if (n < warp) place += owners[n];",
        "    picked += owners[n];",
        "}",
        "if (own) {",
        "    names[place] = name;",
        "    numbers[place] = at;",
        "}",
        "__syncthreads();",
        *moves,
        "__syncthreads();",
    ]
    return [
        f"__shared__ long long names[{THREADS}], numbers[{THREADS}];",
        f"__shared__ int owners[{THREADS // WARP}];",
        f"const int lane = threadIdx.x % {WARP}, warp = threadIdx.x / {WARP};",
        "const long long begin = columns * blockIdx.x / gridDim.x;",
        "const long long end = columns * (blockIdx.x + 1) / gridDim.x;",
        "int width = 1;",
        f"while (width < {THREADS} && width < end - begin) width *= 2;",
        *loop_lines("line", "blockIdx.z", "batch", "gridDim.z",
                    loop_lines("chunk", "0", "count", str(THREADS), chunk)),
    ]


def scatter_grid(program: Scatter, batch: int, rows: int, columns: int,
                 blocks: int) -> Sequence[int]:
    """A grid of about so many blocks, as many as run at once, that suits a scatter.

    >>> scatter_grid(Scatter("f32", "add", False), 1, 50_000, 768, 264)
    (1, 264, 1)
    """
    if program.each:
        across = min(blocks, -(-batch * columns // THREADS))
        return across, max(1, min(rows, blocks // across)), 1
    deep = min(batch, blocks)
    down = max(1, min(rows, blocks // deep))
    return max(1, min(-(-columns // THREADS), blocks // (deep * down))), down, deep
