"""Pointwise programs over arrays of any strides: dimensions that go together become one."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, jit, printer, strided_printer, transposes
from flambeau.backends.llvm.program import Pointwise

# bytes of outputs in one piece of work
CHUNK_BYTES = 1 << 16
MAX_RANK = 6
# items from which a transposed operand is copied first
TURNED_ITEMS = 1 << 15
# fewer rows than this are cut into pieces, of columns between these
FEW_ROWS = 32
LEAST_PIECE, MOST_PIECE = 1 << 8, 1 << 13
# shorter rows take longer to start than to walk
MIN_COLUMNS = 8

Dims = tuple[int, ...]


class Route(NamedTuple):
    """A kernel, how many rows it walks, how many at a time, and what follows the pointers."""

    address: int
    rows: int
    chunk: int
    numbers: tuple[int, ...]


def collapse(shape: Dims, strides: Sequence[Dims]) -> tuple[Dims, list[Dims]]:
    """Merge neighbouring dimensions that every operand walks as one; drop those of size 1.

    strides: per operand, in items. The last dimension stays, also where it is 1.

    >>> collapse((2, 3, 4), [(12, 4, 1), (0, 0, 1)])
    ((6, 4), [(4, 1), (0, 1)])
    """
    sizes = [shape[-1]]
    kept = [[step[-1]] for step in strides]
    for axis in range(len(shape) - 2, -1, -1):
        n = shape[axis]
        if n == 1:
            continue
        if sizes[0] == 1 or all(s[axis] == k[0] * sizes[0] for s, k in zip(strides, kept)):
            if sizes[0] == 1:
                for s, k in zip(strides, kept):
                    k[0] = s[axis]
            sizes[0] *= n
        else:
            sizes.insert(0, n)
            for s, k in zip(strides, kept):
                k.insert(0, s[axis])
    return tuple(sizes), [tuple(k) for k in kept]


def run(program: Pointwise, outs: Sequence[np.ndarray], ins: Sequence[np.ndarray]) -> bool:
    """Compute `outs`, of one shape that all inputs broadcast to, and C-contiguous.

    A single one may have other strides, where items of its last dimension lie side by side. False,
    with nothing done, where there are too many dimensions, rows too short, or strides that are no
    whole items. All are aligned, and no output overlaps an input.
    """
    first = outs[0]
    if first.size == 0:
        return True
    target = None
    if not first.flags.c_contiguous:
        if len(outs) > 1 or any(step % first.itemsize for step in first.strides):
            return False
        target = tuple([step // first.itemsize for step in first.strides])
    forms = tuple([(a.shape, a.strides, a.itemsize) for a in ins])
    plan = _plan(program, first.shape, forms, first.itemsize, target)
    if plan is None:
        return False
    turns, route = plan
    ins = [a if turn is None else _turn(a, turn) for a, turn in zip(ins, turns)]
    calls.launch_strided(route.address, route.rows, route.chunk, *outs, *ins, *route.numbers)
    return True


# per operand its shape, its strides in bytes, and the bytes of an item
Form = tuple[Dims, Dims, int]


@functools.lru_cache(1 << 10)
def _plan(program: Pointwise, shape: Dims, forms: tuple[Form, ...], item_bytes: int,
          target: Dims | None) -> tuple[list[Route | None], Route] | None:
    """How transposed operands are copied first, and then the program is run; None where it cannot.
    """
    turns: list[Route | None] = []
    strides = []
    for own, bytes_apart, item in forms:
        if any(step % item for step in bytes_apart):
            return None
        steps = tuple([step // item for step in bytes_apart])
        turn = None
        if (program.steps or len(forms) > 1) and (
                math.prod(own) >= TURNED_ITEMS and 0 not in steps):
            turn = turn_of(own, steps, item)
        turns.append(turn)
        steps = steps if turn is None else _dense(own)
        strides.append((0,) * (len(shape) - len(own)) + tuple(
            [0 if n == 1 != m else step for n, m, step in zip(own, shape[len(shape) - len(own):],
                                                             steps)]))
    if target is not None and target[-1] != 1:
        return None
    route = route_of(program, shape, strides, item_bytes, target)
    return None if route is None else (turns, route)


def _dense(shape: Dims) -> Dims:
    steps = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    return tuple(steps)


def _turn(a: np.ndarray, route: Route) -> np.ndarray:
    """A transposed array's C-contiguous copy, which is read sooner."""
    out = memory.empty(a.shape, a.dtype)
    calls.launch_strided(route.address, route.rows, route.chunk, out, a, *route.numbers)
    return out


def turn_of(shape: Dims, steps: Dims, item_bytes: int) -> Route | None:
    """The kernel that copies a transposed array row by row; None where it is none."""
    sizes, (kept,) = collapse(shape or (1,), [steps or (0,)])
    return _turned(sizes, kept, item_bytes)


def route_of(program: Pointwise, shape: Dims, strides: Sequence[Dims], item_bytes: int,
             target: Dims | None = None, least: int = MIN_COLUMNS) -> Route | None:
    """How `program` runs over inputs of these strides, in items; None where it cannot.

    item_bytes: those of an item of the first output. target: the outputs' strides, where they are
    not C-contiguous. least: the items that a row must have.
    """
    spread = [] if target is None else [target]
    sizes, kept = collapse(shape or (1,), [s or (0,) for s in (*strides, *spread)])
    if not program.steps and len(kept) == 1:
        turned = _turned(sizes, kept[0], item_bytes)
        if turned is not None:
            return turned
    if len(sizes) > MAX_RANK or sizes[-1] < least:
        return None
    if len(sizes) < MAX_RANK:
        sizes, kept = _shared(sizes, kept)
    columns = sizes[-1]
    # no more than a row has
    lanes = min(1 << (columns.bit_length() - 1), strided_printer.MOST_LANES)
    walk = strided_printer.Walk(len(sizes), tuple([_step(s[-1]) for s in kept[: len(strides)]]),
                                lanes, target is not None)
    chunk = max(1, CHUNK_BYTES // (item_bytes * columns))
    if "many" in walk.steps:
        chunk = -(-chunk // strided_printer.ROWS) * strided_printer.ROWS
    numbers = (*sizes, *[step for stride in kept for step in stride])
    return Route(_address(program, walk), math.prod(sizes) // columns, chunk, numbers)


def _shared(sizes: Dims, strides: list[Dims]) -> tuple[Dims, list[Dims]]:
    """Cut long rows into pieces, where there are few rows for threads to share."""
    columns = sizes[-1]
    piece = math.gcd(columns, MOST_PIECE)
    if math.prod(sizes[:-1]) >= FEW_ROWS or columns < 2 * piece or piece < LEAST_PIECE:
        return sizes, strides
    cut = [(*s[:-1], s[-1] * piece, s[-1]) for s in strides]
    return (*sizes[:-1], columns // piece, piece), cut


def _turned(sizes: Dims, steps: Dims, item_bytes: int) -> Route | None:
    """The kernel of transposes, where a copy is one."""
    if item_bytes not in transposes.MOVED:
        return None
    if not 2 <= len(sizes) <= 3 or steps[-2] != 1 or min(sizes[-2:]) < transposes.CACHE_LINE:
        return None
    batch, batch_step = (sizes[0], steps[0]) if len(sizes) == 3 else (1, 0)
    return Route(*transposes.route(item_bytes, (batch, sizes[-2], sizes[-1]),
                                   (batch_step, steps[-1])))


def _step(stride: int) -> int | str:
    return stride if stride in (-1, 0, 1, *strided_printer.FEW_APART) else "many"


@functools.cache
def _address(program: Pointwise, walk: strided_printer.Walk) -> int:
    text = strided_printer.print_strided(program, jit.host().vector_bytes, walk)
    return jit.load(text, (printer.KERNEL,)).address(printer.KERNEL)
