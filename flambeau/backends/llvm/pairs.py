"""Products of bfloat16 on the pool, by what the processor has for pairs or tiles of them."""

import ctypes
import functools
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory, threads
from flambeau.backends.llvm import calls, jit
from flambeau.backends.llvm.pair_text import BANDS, Way, print_multiply, side_of
from flambeau.backends.llvm.program import Input, Pointwise, Step
from flambeau.backends.product_choice import Layout, Steps

# rows of a unit of work at the most, and units that give threads enough to share
PART_ROWS = 128
UNITS = 8
# Linux's request for the state of tiles, which processes have to make (asm/prctl.h)
_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18


class Work(NamedTuple):
    """A product as the kernels take it: sizes, units of both, and items that are packed."""

    sizes: list[int]
    packs: int
    units: int
    left: int
    right: int


@functools.cache
def ways() -> tuple[Way, ...]:
    """How this machine can multiply pairs, likeliest first."""
    features = jit.host().features.split(",")
    found = [Way.WIDE]
    if jit.host().vector_bytes == 64 and "+avx512bf16" in features:
        found.insert(0, Way.PAIRS)
        if {"+amx-tile", "+amx-bf16"} <= set(features) and _may_use_tiles():
            found.insert(0, Way.TILES)
    return tuple(found)


def _may_use_tiles() -> bool:
    """Ask the system for the state of tiles, for all threads of this process."""
    if not sys.platform.startswith("linux"):
        return False
    words = [ctypes.c_long(word) for word in (_ARCH_PRCTL, _REQUEST, _TILE_DATA)]
    return not ctypes.CDLL(None).syscall(*words)


def readable(x: Layout) -> bool:
    """Whether both operands lie as the kernels can read them."""
    return all(1 in steps[:2] and min(steps[:2]) > 0 for steps in (x.left, x.right))


@functools.cache
def kernels(way: Way, program: Pointwise | None = None) -> tuple[int, int]:
    """Where the code is that packs, and that multiplies."""
    text = print_multiply(way, jit.host().vector_bytes, program)
    library = jit.load(text, ("pack", "kernel"))
    return library.address("pack"), library.address("kernel")


def work_of(batch: int, sizes: tuple[int, int, int], left: Steps, right: Steps) -> Work:
    """How a product of (batch, m, k) and (batch, k, n) is cut into units."""
    m, k, n = sizes
    side = side_of(jit.host().vector_bytes)
    width = BANDS * side
    band = -(-k // (2 * side)) * side * side
    bands = [-(-lines // width) * BANDS for lines in (m, n)]
    packs = [(batch if steps.next else 1) * count
             for steps, count in zip((left, right), bands, strict=True)]
    row_parts = -(-m // PART_ROWS)
    part_rows = -(-m // (row_parts * width)) * width
    row_parts = -(-m // part_rows)
    column_parts = min(-(-n // width), max(1, -(-UNITS // (batch * row_parts))))
    part_columns = -(-n // (column_parts * width)) * width
    column_parts = -(-n // part_columns)
    apart = [count * band if steps.next else 0
             for steps, count in zip((left, right), bands, strict=True)]
    table = [m, n, k, *left, *right, m * n, row_parts, part_rows, column_parts, part_columns,
             *bands, packs[0], band, *apart]
    units = batch * row_parts * column_parts
    return Work(table, sum(packs), units, packs[0] * band, packs[1] * band)


# adds one item a column to the product
ADDED = Pointwise((Input("f32"), Input("f32", "row")), (Step("add", (0, 1)),), (2,))


def planned(x: Layout, way: Way, program: Pointwise | None = None) -> Callable[..., None]:
    """How such products are computed: ``run(out, a, b, row)``, for operands that are `readable`.

    `out` is C-contiguous. `program` takes the float32 product, and `row` of n items, widened, where
    it has a second input, to what is rounded to bfloat16.
    """
    work = work_of(x.batch, x.sizes, x.left, x.right)
    pack, kernel = kernels(way, program)
    single = np.dtype(np.float32)
    sizes, no_row = np.array(work.sizes, np.int64), np.zeros(1, np.int16)
    pieces = 4 * threads.get_num_threads()
    pack_chunk, chunk = (-(-count // pieces) for count in (work.packs, work.units))
    launch = calls.launch_strided

    def run(out: np.ndarray, a: np.ndarray, b: np.ndarray, row: np.ndarray = no_row) -> None:
        left, right = (memory.empty((items,), single) for items in (work.left, work.right))
        context = (out, a, b, row, sizes, left, right)
        launch(pack, work.packs, pack_chunk, *context)
        launch(kernel, work.units, chunk, *context)

    return run
