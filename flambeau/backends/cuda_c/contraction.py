"""Prints products of matrices as CUDA C, with an epilogue on every sum before it is stored.

The kernel is `kernel(out, left, right, others..., batch, m, n, k, left_row, left_step, left_next,
right_step, right_column, right_next)`: `others` are the further inputs of the epilogue, and strides
are in items: between rows of the left operand, between its items along k, and from one product to
the next; then the right one's, along k, between columns, and from one product to the next. They may
be anything, 0 too. `out` is (batch, m, n) without gaps and overlaps no input; no size is 0.

Blocks have `tile.threads` threads and, beside what they declare, `tile.shared` bytes of shared
memory, in a grid of one axis of any size. One makes a tile of a product at a time, and reads both
operands by way of shared memory. Sums go along k, in float32 one product at a time and each rounded
once; other kinds go through tensor cores, a few products at a time, which round sums of half kinds
in float32 as they do. Results depend on no grid and on no tile.
"""

from collections.abc import Sequence
from typing import NamedTuple

from flambeau.backends.cuda_c import plain_product, tensor_product
from flambeau.backends.cuda_c.printer import head_lines, indent, loop_lines, step_lines
from flambeau.backends.cuda_c.values import (
    C_TYPE,
    HALVES,
    convert,
    declare,
    load,
    with_helpers,
)
from flambeau.backends.llvm.array_program import Contraction
from flambeau.backends.llvm.program import Input

SIZES = ("batch", "m", "n", "k", "left_row", "left_step", "left_next", "right_step",
         "right_column", "right_next")
# rows of tiles that are gone over together, so that blocks at work share what they read
BAND = 8
PLACES = {"array": "i", "row": "column", "column": "line", "scalar": "0"}


class Tile(NamedTuple):
    """Rows and columns of a result that a block makes at a time, its threads, and its memory."""

    rows: int
    columns: int
    threads: int
    shared: int = 0


# from the largest down
PLAIN_TILES = [Tile(size, size, plain_product.THREADS) for size in (128, 64)]
TENSOR_TILES = [
    Tile(size, size, tensor_product.threads_of(size, size),
         tensor_product.shared_bytes(size, size))
    for size in (128, 64)
]


def tiles_of(program: Contraction) -> list[Tile]:
    """The tiles that a product can be made of, from the largest down."""
    return TENSOR_TILES if program.kind in HALVES else PLAIN_TILES


def tile_for(program: Contraction, batch: int, m: int, n: int, blocks: int = 132) -> Tile:
    """The tile for products of these sizes on a device that runs so many blocks side by side.

    >>> tile_for(Contraction("f32"), 1, 4096, 4096)
    Tile(rows=128, columns=128, threads=256, shared=0)
    """
    found = tiles_of(program)
    for tile in found:
        if batch * -(-m // tile.rows) * -(-n // tile.columns) >= blocks:
            return tile
    return found[-1]


def print_contraction(program: Contraction, tile: Tile,
                      across: tuple[bool, bool] = (False, True)) -> str:
    """Return the kernel of products.

    `across` says for each operand whether its neighbours in memory lie across k, as in a right
    operand without transposes; it matters for the speed of half kinds only.
    """
    if program.kind in HALVES:
        helpers, body, stores = tensor_product.text(program.kind, tile.rows, tile.columns, across)
    else:
        helpers, body, stores = plain_product.text(program.kind, tile.rows, tile.columns)
    lines = [
        "const long long row_tiles = (m + ROWS - 1) / ROWS;",
        "const long long column_tiles = (n + COLUMNS - 1) / COLUMNS;",
        "const long long tiles = row_tiles * column_tiles;",
        *loop_lines("unit", "blockIdx.x", "batch * tiles", "gridDim.x", [
            *_tile_lines(), *body, *stores(_store(program)), "__syncthreads();",
        ]),
    ]
    others = () if program.epilogue is None else program.epilogue.inputs[1:]
    inputs = (Input(program.kind), Input(program.kind), *others)
    head = head_lines([_stored(program)], inputs, SIZES, apart=True, threads=tile.threads)
    constants = f"static const int ROWS = {tile.rows}, COLUMNS = {tile.columns};"
    parts = [constants, *helpers, "", *head, *indent([*_scalars(program), *lines]), "}"]
    return with_helpers("\n".join(parts) + "\n")


def _tile_lines() -> list[str]:
    """Which tile of which product a unit is: down a band of tiles, then to the next column."""
    return [
        "const long long number = unit / tiles, inside = unit % tiles;",
        f"const long long band = inside / ({BAND} * column_tiles) * {BAND};",
        f"const long long height = row_tiles - band < {BAND} ? row_tiles - band : {BAND};",
        "const long long within = inside - band * column_tiles;",
        "const long long top = (band + within % height) * ROWS;",
        "const long long side = within / height * COLUMNS;",
    ]


def _stored(program: Contraction) -> str:
    epilogue = program.epilogue
    return program.kind if epilogue is None else epilogue.kinds[epilogue.outputs[0]]


def _scalars(program: Contraction) -> list[str]:
    return _loads(program, ["scalar"])


def _loads(program: Contraction, layouts: Sequence[str]) -> list[str]:
    others = () if program.epilogue is None else program.epilogue.inputs[1:]
    return [
        declare(item.kind, number, load(item.kind, f"in{number + 1}", PLACES[item.layout]))
        for number, item in enumerate(others, 1)
        if item.layout in layouts
    ]


def _store(program: Contraction) -> list[str]:
    """From `sum`, at `row` and `column` of the product, to what is stored."""
    place = [
        "const long long line = number * m + row;",
        "const long long i = line * n + column;",
    ]
    epilogue = program.epilogue
    if epilogue is None:
        return [*place, f"out0[i] = {convert('sum', program.accumulate, program.kind)};"]
    return [
        *place,
        f"const {C_TYPE[program.accumulate]} v0 = sum;",
        *_loads(program, ["array", "row", "column"]),
        *step_lines(epilogue),
        f"out0[i] = v{epilogue.outputs[0]};",
    ]
