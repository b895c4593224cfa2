"""Single nodes as calls of library code: powers of float64 numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from flambeau.backends.llvm import chores
from flambeau.compiler.access import Access, dense
from flambeau.compiler.calls import Call, Word
from flambeau.compiler.graph import Node, Value

__all__ = ["Power", "power_of"]

# What a power takes, in bytes moved meanwhile.
POWER_WORK = 256


class Power(NamedTuple):
    """Powers of float64 numbers that are dense: the C library's, one by one."""

    out: Value
    ins: list[Access]
    # Per operand: the number, or None for the next one of ``ins``.
    numbers: list[np.ndarray | None]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return self.out.nbytes + sum([a.root.nbytes for a in self.ins])

    def calls(self, words: list[Word]) -> list[list[Call]]:
        """The call on the result and the operands."""
        kernel = chores.address("pow_f64")
        assert kernel is not None
        out, *places = words
        accesses, found, moves = iter(zip(places, self.ins)), [out], []
        for held in self.numbers:
            if held is not None:
                found.append(held.__array_interface__["data"][0])
                moves.append(0)
            else:
                word, access = next(accesses)
                found.append(word)
                moves.append(int(access.shape != () and np.prod(access.shape) > 1))
        size = self.out.size
        return [[Call(kernel, size, 1 << 12, [*found, *moves], POWER_WORK * size)]]


def power_of(node: Node, access: Callable[[Value], Access]) -> Power | None:
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
