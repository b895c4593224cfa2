"""Single nodes as chores: powers of float64 numbers, norms of whole arrays, arrays joined."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flambeau.backends.llvm import chores
from flambeau.backends.llvm.piece_text import PIECE
from flambeau.backends.products import one_step
from flambeau.compiler.access import Access, dense
from flambeau.compiler.calls import Call, Place, Single, Word
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.writes import Rows

__all__ = ["chore_of"]

# What a power takes, in bytes moved meanwhile.
POWER_WORK = 256
KINDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}


class Power(NamedTuple):
    """Powers of float64 numbers that are dense: the C library's, one by one."""

    out: Value
    ins: list[Access]
    # Per operand: the number, or None for the next one of ``ins``.
    numbers: list[np.ndarray | None]

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return self.out.nbytes + sum([a.root.nbytes for a in self.ins])

    @property
    def scratch(self) -> list[int]:
        """No memory beside its result's."""
        return []

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The call on the result and the operands."""
        out, *places = words
        accesses, found, moves = iter(zip(places, self.ins)), [out], []
        for held in self.numbers:
            if held is not None:
                found.append(held.__array_interface__["data"][0])
                moves.append(0)
            else:
                word, access = next(accesses)
                found.append(word)
                moves.append(int(access.shape != () and math.prod(access.shape) > 1))
        size = self.out.size
        return [[Call(chores.chore("pow_f64"), size, 1 << 12, [*found, *moves], POWER_WORK * size)]]


def _power_of(node: Node, access: Callable[[Value], Access]) -> Power | None:
    """The powers that a node is; None where it is something else, or operands are not dense."""
    out = node.outputs[0]
    if node.op is None or node.op.name != "pow" or out.dtype != np.float64:
        return None
    ins: list[Access] = []
    numbers: list[np.ndarray | None] = []
    for x in node.inputs:
        if type(x) is Value:
            found = access(x)
            if x.dtype != np.float64 or found.strides != dense(found.shape) or (
                    x.shape != out.shape and x.size != 1):
                return None
            ins.append(found)
            numbers.append(None)
        elif isinstance(x.value, (complex, bool)):
            return None
        else:
            numbers.append(np.array(x.value, np.float64))
    return Power(out, ins, numbers)


class Norm(NamedTuple):
    """The root of the sum of the squares of a dense array, added up in float64."""

    out: Value
    ins: list[Access]

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return self.out.nbytes + self.ins[0].root.nbytes

    @property
    def scratch(self) -> list[int]:
        """The sums of the pieces."""
        return [8 * self._pieces]

    @property
    def _pieces(self) -> int:
        return -(-math.prod(self.ins[0].shape) // PIECE)

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The sums of all pieces, then their sum's root."""
        out, items = words
        sums: Word = scratch[0], 0
        kind, count = KINDS[self.out.dtype], self._pieces
        size = math.prod(self.ins[0].shape)
        squares = Call(chores.chore(f"squares_{kind}"), count, 8, [sums, items, size],
                       self.nbytes)
        root = Call(chores.chore(f"norm_{kind}"), 1, 1, [out, sums, count], 8 * count)
        return [[squares], [root]]


def _norm_of(node: Node, access: Callable[[Value], Access]) -> Norm | None:
    out = node.outputs[0]
    if node.op is None or node.op.name != "vector_norm" or node.params["ord"] != 2.0:
        return None
    (x,) = node.values()
    found = access(x)
    if (out.size != 1 or not x.size or x.dtype != out.dtype or out.dtype not in KINDS
            or found.strides != dense(found.shape)):
        return None
    return Norm(out, [found])


class Joined(NamedTuple):
    """Arrays one behind the other: rows of each go to rows of the result."""

    out: Value
    ins: list[Access]
    rows: int
    # Per operand: the bytes of a row, and from one row to the next.
    widths: list[tuple[int, int]]

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return 2 * self.out.nbytes

    @property
    def scratch(self) -> list[int]:
        """No memory beside its result's."""
        return []

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """A copy for each operand."""
        out, *sources = words
        assert isinstance(out, tuple)
        place, start = out
        whole = sum([width for width, _ in self.widths])
        found = []
        for source, (width, step) in zip(sources, self.widths):
            found.append(Rows(self.rows, width, whole, step).call((place, start), source))
            start += width
        return [found]


def _joined_of(node: Node, access: Callable[[Value], Access]) -> Joined | None:
    if node.op is None or node.op.name not in ("cat", "stack"):
        return None
    out = node.outputs[0]
    values = [v for v in node.values() if v.size]
    if not values or any([v.dtype != out.dtype for v in values]):
        return None
    dim, item = node.params["dim"] % len(out.shape), out.dtype.itemsize
    ins, widths = [access(v) for v in values], []
    for a in ins:
        step = one_step(a.shape[:dim], a.strides[:dim])
        if step is None or a.strides[dim:] != dense(a.shape[dim:]):
            return None
        widths.append((math.prod(a.shape[dim:]) * item, step * item))
    return Joined(out, ins, math.prod(out.shape[:dim]), widths)


def chore_of(node: Node, access: Callable[[Value], Access]) -> Single | None:
    """The chore that a node is; None where it is none."""
    return _power_of(node, access) or _norm_of(node, access) or _joined_of(node, access)
