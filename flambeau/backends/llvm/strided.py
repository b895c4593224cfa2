"""Pointwise programs over arrays of any strides: dimensions that go together become one."""

import functools
from collections.abc import Sequence

import numpy as np

from flambeau.backends.llvm import calls, jit, printer, strided_printer
from flambeau.backends.llvm.program import Pointwise

# bytes of outputs in one piece of work
CHUNK_BYTES = 1 << 16
MAX_RANK = 6
# shorter rows take longer to start than to walk
MIN_COLUMNS = 16

Dims = tuple[int, ...]


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
    """Compute `outs`, C-contiguous and of one shape that all inputs broadcast to.

    False, with nothing done, where there are too many dimensions, rows too short, or strides that
    are no whole items. No output overlaps an input.
    """
    shape = outs[0].shape
    if outs[0].size == 0:
        return True
    if any(step % a.itemsize for a in ins for step in a.strides):
        return False
    views = [np.broadcast_to(a, shape) if a.shape != shape else a for a in ins]
    steps = [tuple([s // a.itemsize for s in a.strides]) for a in views]
    sizes, strides = collapse(shape or (1,), [s or (0,) for s in steps])
    if len(sizes) > MAX_RANK or sizes[-1] < MIN_COLUMNS:
        return False
    walk = strided_printer.Walk(len(sizes), tuple([_step(s[-1]) for s in strides]))
    columns = sizes[-1]
    rows = outs[0].size // columns
    chunk = max(1, CHUNK_BYTES // (outs[0].itemsize * columns))
    if "many" in walk.steps:
        chunk = -(-chunk // strided_printer.ROWS) * strided_printer.ROWS
    places = [a.__array_interface__["data"][0] for a in views]
    numbers = [step for stride in strides for step in stride]
    calls.launch(_address(program, walk), rows, chunk, *outs, *places, *sizes, *numbers)
    return True


def _step(stride: int) -> int | str:
    return stride if stride in (0, 1) else "many"


@functools.cache
def _address(program: Pointwise, walk: strided_printer.Walk) -> int:
    text = strided_printer.print_strided(program, jit.host().vector_bytes, walk)
    return jit.load(text, (printer.KERNEL,)).address(printer.KERNEL)
