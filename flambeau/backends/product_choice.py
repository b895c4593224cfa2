"""Which way matrix products are computed, BLAS or generated kernels: by measurement, kept on disk.

A program that computes a product once or twice is not kept waiting for a measurement.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from flambeau.backends import memory
from flambeau.backends.threads import get_num_threads

__all__ = ["Layout", "Steps", "Undecided", "is_generated", "is_open", "is_readable",
           "measure", "plain_steps", "question", "steps_of", "try_out"]

# Products of more multiplications take too long to try out, and are left to BLAS.
MOST = 1 << 33
# Calls of a compiled step after which its products are measured.
PATIENCE = 16
# Memory that trials walk through, so that caches do not hold what a program's would not; and that
# they may take.
TRIAL_BYTES = 1 << 25
MOST_BYTES = 1 << 26


class Steps(NamedTuple):
    """How an operand lies, in items: from row to row, column to column, one product to the next."""

    row: int
    column: int
    next: int


def plain_steps(shape: tuple[int, int], steps: Steps) -> Steps:
    """The steps, where an axis of one item, which may have any, has the least."""
    (rows, columns), (row, column, following) = shape, steps
    if columns == 1:
        column = 1
    if rows == 1:
        row = 1 if column != 1 else columns
    return Steps(row, column, following)


def steps_of(a: np.ndarray, following: int) -> Steps:
    """How the matrices of an array lie that follow each other so many items apart."""
    row, column = (step // a.itemsize for step in a.strides[-2:])
    return plain_steps(a.shape[-2:], Steps(row, column, following))


class Layout(NamedTuple):
    """A stack of products: how many, their sizes (m, k, n), and how both operands lie."""

    dtype: np.dtype
    batch: int
    sizes: tuple[int, int, int]
    left: Steps
    right: Steps


def is_readable(right: Steps) -> bool:
    """Whether a right operand lies as generated kernels can read it."""
    return 1 in right[:2] and min(right[:2]) > 0


def question(x: Layout) -> str:
    """What is asked of the measurements: products of about these sizes, lying in these ways."""
    sizes = [size.bit_length() for size in (x.batch, *x.sizes)]
    lies = ["n" if column == 1 else "t" for _, column, _ in (x.left, x.right)]
    return f"matrix product {x.dtype.char} {sizes} {lies} {get_num_threads()}"


def is_generated(x: Layout) -> bool:
    """Whether generated kernels were measured to be faster."""
    # llvmlite is slow to import, and may be absent
    from flambeau.backends.llvm import measured

    return measured.known(question(x)) == "generated"


def is_open(x: Layout) -> bool:
    """Whether it is to be measured, and was not yet, which way is faster."""
    from flambeau.backends.llvm import measured  # as above

    return not _is_large(x) and measured.known(question(x)) is None


class Undecided:
    """Products of a compiled step of which it is not known yet how they are best computed.

    ``left`` is how many calls are left until they are measured, one a call; 0 where nothing is
    to be measured, or all was.
    """

    def __init__(self, layouts: Sequence[Layout]) -> None:
        self.open = {question(x): x for x in layouts if is_open(x)}
        self.left = PATIENCE if self.open else 0
        self.faster = False

    def count(self) -> bool:
        """Count a call. True once all is measured, if the step is to be planned anew for it."""
        if self.left > 1:
            self.left -= 1
            return False
        if self.open:
            self.faster |= measure(*self.open.popitem()) == "generated"
        if not self.open:
            self.left = 0
        return not self.open and self.faster


def _is_large(x: Layout) -> bool:
    m, k, n = x.sizes
    return x.batch * m * k * n > MOST or _bytes(x) > MOST_BYTES


def _bytes(x: Layout) -> int:
    m, k, n = x.sizes
    shapes = ((m, k), (k, n), (m, n))
    strides = (x.left, x.right, Steps(n, 1, m * n))
    return x.dtype.itemsize * sum(map(_extent, itertools.repeat(x.batch), shapes, strides))


def _extent(count: int, shape: tuple[int, int], strides: Steps) -> int:
    """How many items an operand spans."""
    rows, columns = shape
    return 1 + sum((n - 1) * step for n, step in
                   zip((rows, columns, count), strides, strict=True))


def measure(asked: str, x: Layout) -> str:
    """The faster way for such products, found out on operands of their own."""
    from flambeau.backends import products  # it asks here
    from flambeau.backends.llvm import gemm  # as above

    ways = {"blas": products.by_blas(x), "generated": gemm.planned(x)}
    # rows that are read in place leave the caches to others, which a trial does not see
    return try_out(asked, x, ways, "generated" if x.left.column == 1 else "blas")


def try_out(asked: str, x: Layout, ways: Mapping[str, Callable[..., None]], first: str) -> str:
    """Which of some ways, ``run(out, a, b)`` each, is clearly faster than the first, or the first.

    They run on operands of their own.
    """
    from flambeau.backends.llvm import measured  # as above

    m, k, n = x.sizes
    sets = [(memory.empty((x.batch, m, n), x.dtype), _operand(x, (m, k), x.left),
             _operand(x, (k, n), x.right))
            for _ in range(max(1, min(8, TRIAL_BYTES // _bytes(x))))]
    turns = itertools.cycle(sets)

    def on_next(run: Callable[..., None]) -> Callable[[], None]:
        return lambda: run(*next(turns))

    trials = {name: on_next(run) for name, run in ways.items()}
    return measured.fastest(asked, {first: trials[first], **trials})


def _operand(x: Layout, shape: tuple[int, int], strides: Steps) -> np.ndarray:
    """Ones that lie as an operand does."""
    row, column, following = (step * x.dtype.itemsize for step in strides)
    storage = np.ones(_extent(x.batch, shape, strides), x.dtype)
    return np.lib.stride_tricks.as_strided(storage, (x.batch, *shape), (following, row, column))
