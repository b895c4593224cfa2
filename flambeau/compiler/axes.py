"""Single nodes along an axis as calls: extremes with their places, orders, scans, sums of rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flambeau.backends.llvm import chores, scans, sorts
from flambeau.backends.products import one_step
from flambeau.compiler.access import Access, dense
from flambeau.compiler.calls import MANY, Call, Place, Word
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.groups import FEW_ROWS
from flambeau.core.formulas import KINDS

__all__ = ["Along", "along_of"]

NUMBERS = ("f32", "f64", "i32", "i64")
# Sums of more items are not NumPy's in eager mode either.
LARGE = 1 << 15
# Items in a piece of work.
PIECE = 1 << 14
Find = Callable[[Value], Access]


class Along(NamedTuple):
    """One call: its context has numbers, results, the operand, scratch memory, numbers again.

    ``tables`` are arrays that the numbers have addresses of.
    """

    outs: list[Value]
    ins: list[Access]
    kernel: int
    items: int
    chunk: int
    lead: list[int]
    numbers: list[int]
    scratch: list[int]
    tables: list[np.ndarray]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return sum([v.nbytes for v in self.outs]) + sum([a.root.nbytes for a in self.ins])

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The call on the results and the operand."""
        memory: list[Word] = [(place, 0) for place in scratch]
        return [[Call(self.kernel, self.items, self.chunk,
                      [*self.lead, *words, *memory, *self.numbers], self.nbytes)]]


class _Sizes(NamedTuple):
    """An operand as (batch, rows, columns), and the steps of each."""

    batch: int
    rows: int
    columns: int
    steps: tuple[int, int, int]


def _sizes(a: Access, dim: int) -> _Sizes | None:
    """The dimensions before an axis, the axis, and those behind it; None where steps vary."""
    parts = [(a.shape[at], a.strides[at]) for at in (
        slice(dim), slice(dim, dim + 1), slice(dim + 1, None))]
    steps = [one_step(shape, strides) for shape, strides in parts]
    if None in steps:
        return None
    batch, rows, columns = [math.prod(shape) for shape, _ in parts]
    return _Sizes(batch, rows, columns, tuple(steps))  # type: ignore[arg-type]


def _address(a: np.ndarray) -> int:
    found: int = a.__array_interface__["data"][0]
    return found


def _extremes(node: Node, a: Access, kind: str) -> Along | None:
    assert node.op is not None
    larger = node.op.name in ("max_dim", "argmax")
    dims = node.params.get("dims")
    dim = node.params["dim"] if dims is None else dims[0] if len(dims) == 1 else None
    if dim is None:
        step = one_step(a.shape, a.strides)
        found = None if step is None else _Sizes(1, math.prod(a.shape), 1, (0, step, 0))
    else:
        found = _sizes(a, dim) if a.shape else None
    if found is None or not found.rows:
        return None
    batch, rows, columns, steps = found
    if batch < FEW_ROWS and batch * rows * columns >= MANY:
        return None
    kernel = chores.chore(f"{'largest' if larger else 'smallest'}_{kind}")
    lead = [0] if len(node.outputs) == 1 else []
    return Along(list(node.outputs), [a], kernel, batch, max(1, PIECE // (rows * columns)), lead,
                 [rows, columns, *steps], [], [])


def _orders(node: Node, a: Access, kind: str) -> Along | None:
    """Rows in order, or the first few of each: the axis is the last one."""
    assert node.op is not None
    if not a.shape or node.params["dim"] != len(a.shape) - 1 or a.strides != dense(a.shape):
        return None
    n = a.shape[-1]
    rows = math.prod(a.shape) // n
    chunk, outs = max(1, sorts.PIECE // n), list(node.outputs)
    k = node.params["k"] if node.op.name == "topk" else n
    downwards = node.params["largest" if node.op.name == "topk" else "descending"]
    if k <= sorts.MOST_KEPT:
        flip = 0 if downwards else -1
        return Along(outs, [a], sorts.address("first", kind), rows, chunk, [], [n, k, flip], [], [])
    if node.op.name == "topk" or n >= 1 << 31:
        return None
    scratch = 8 * rows * n * (3 if a.root.dtype.itemsize == 8 else 1)
    return Along(outs, [a], sorts.address("order", kind), rows, chunk, [],
                 [n, -1 if downwards else 0], [scratch], [])


_RUNNING = {"cumsum": "sum", "cumprod": "prod"}


def _scans(node: Node, a: Access, kind: str) -> Along | None:
    """Running sums, products and extremes of dense arrays."""
    assert node.op is not None
    out = node.outputs[0]
    if not a.shape or a.strides != dense(a.shape) or a.root.dtype != out.dtype:
        return None
    found = _sizes(a, node.params["dim"])
    combine = _RUNNING.get(node.op.name)
    if found is None or combine is not None and kind == "i32":
        return None
    batch, rows, columns, _ = found
    larger = node.op.name == "cummax"
    walk: list[int] = []
    if combine is not None:
        backward = bool(node.params.get("reverse"))
        walk = [rows - 1 if backward else 0, -1 if backward else 1]
    kernel, items, chunk, sizes = scans.route(kind, combine or larger, (batch, rows, columns))
    table = np.array([*sizes, *walk], np.int64)
    return Along(list(node.outputs), [a], kernel, items, chunk, [], [_address(table)], [], [table])


def _row_sums(node: Node, a: Access, kind: str) -> Along | None:
    """Sums and means that leave the last dimension, as NumPy adds: row after row."""
    assert node.op is not None
    out = node.outputs[0]
    if a.root.dtype != out.dtype or math.prod(a.shape) >= LARGE or kind not in ("f32", "f64"):
        return None
    parts = _rows_of(a, node.params["dims"])
    if parts is None:
        return None
    (batch, batch_step), (blocks, block), (rows, row), (columns, column) = parts
    count = np.array([blocks * rows if node.op.name == "mean" else 1], out.dtype)
    return Along([out], [a], chores.chore(f"sum_rows_{kind}"), batch,
                 max(1, PIECE // (blocks * rows * columns)), [],
                 [_address(count), rows, columns, batch_step, row, column, blocks, block], [],
                 [count])


def _rows_of(a: Access, dims: tuple[int, ...]) -> list[tuple[int, int]] | None:
    """Sizes and steps of what is kept in front, two parts that are reduced, and what is behind.

    None where the dimensions are not these.
    """
    real = [d for d in dims if a.shape[d] != 1]
    if not real:
        return None
    kept = [d for d in range(max(real)) if d not in real]
    cut = next((i for i in range(1, len(real)) if real[i] != real[i - 1] + 1), len(real))
    groups = [kept, real[:cut], real[cut:], list(range(max(real) + 1, len(a.shape)))]
    if cut == len(real):
        groups[1], groups[2] = [], real
    found = []
    for group in groups:
        shape = [a.shape[d] for d in group]
        step = one_step(shape, [a.strides[d] for d in group])
        if step is None:
            return None
        found.append((math.prod(shape), step))
    return found if found[3][0] > 1 else None


_RULES: dict[str, Callable[[Node, Access, str], Along | None]] = {
    "max_dim": _extremes, "min_dim": _extremes, "argmax": _extremes, "argmin": _extremes,
    "sort": _orders, "topk": _orders, "cumsum": _scans, "cumprod": _scans, "cummax": _scans,
    "cummin": _scans, "sum": _row_sums, "mean": _row_sums}


def along_of(node: Node, access: Find) -> Along | None:
    """The call that a node along an axis is; None where it is none."""
    rule = None if node.op is None else _RULES.get(node.op.name)
    if rule is None:
        return None
    a = access(node.values()[0])
    kind = KINDS.get(a.root.dtype, "")
    if kind not in NUMBERS or not all([v.size for v in (*node.values(), *node.outputs)]):
        return None
    return rule(node, a, kind)
