"""Single nodes as kernels over operands of any strides: copies, and elementwise operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from flambeau.backends.llvm import strided
from flambeau.backends.llvm.expressions import Builder
from flambeau.compiler.access import Access, broadcast_access, dense
from flambeau.compiler.calls import Call, Place, Word
from flambeau.compiler.elementwise import steps_of
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.writes import COPIES
from flambeau.core.formulas import STORED

__all__ = ["Strided", "strided_of"]


class Strided(NamedTuple):
    """A node as a kernel: its result, its operands as they lie, and how it is walked.

    ``turns`` has the kernels that first copy operands that are transposed, by operand.
    """

    out: Value
    ins: list[Access]
    route: strided.Route
    turns: dict[int, strided.Route]

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return self.out.nbytes + sum([self.out.size * a.root.dtype.itemsize for a in self.ins])

    @property
    def scratch(self) -> list[int]:
        """Copies of operands that are transposed."""
        return [math.prod(self.ins[at].shape) * self.ins[at].root.dtype.itemsize
                for at in self.turns]

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The call of its kernel on the result and the operands, once these are turned."""
        first = []
        for (at, turn), place, size in zip(self.turns.items(), scratch, self.scratch):
            word: Word = place, 0
            first.append(Call(turn.address, turn.rows, turn.chunk,
                              [word, words[at + 1], *turn.numbers], 2 * size, turn.chunk))
            words[at + 1] = word
        route = self.route
        own = Call(route.address, route.rows, route.chunk, [*words, *route.numbers], self.nbytes,
                   route.chunk)
        return [first, [own]] if first else [[own]]


def strided_of(node: Node, access: Callable[[Value], Access]) -> Strided | None:
    """The kernel that a node is; None where there is none for it."""
    if node.kind != "op" or node.op is None or len(node.outputs) != 1:
        return None
    out = node.outputs[0]
    values = [x for x in node.inputs if type(x) is Value]
    if not out.size or not values or any([v.dtype not in STORED for v in (*values, out)]):
        return None
    if node.op.kind == "pointwise" or node.op.name == "to_dtype":
        ins = [broadcast_access(access(v), out.shape) for v in values]
    elif node.op.name in COPIES:
        ins = [access(values[0])]
    else:
        return None
    return _kernel(node, out, ins)


def _kernel(node: Node, out: Value, ins: list[Access]) -> Strided | None:
    b = Builder()
    inputs = iter([b.input(STORED[a.root.dtype]) for a in ins])
    symbols = [next(inputs) if type(x) is Value else x.value for x in node.inputs]
    try:
        assert node.op is not None
        found = symbols[0] if node.op.name in COPIES else steps_of(node, symbols, b)
        if found is None:
            return None
        program = b.pointwise(found)
    except ValueError:
        return None
    turns = {}
    for at, a in enumerate(ins if program.steps else ()):
        turn = strided.turn_of(a.shape, a.strides, a.root.dtype.itemsize)
        if turn is not None and math.prod(a.shape) >= strided.TURNED_ITEMS:
            turns[at] = turn
    strides = [dense(a.shape) if at in turns else a.strides for at, a in enumerate(ins)]
    route = strided.route_of(program, ins[0].shape, strides, out.dtype.itemsize, least=1)
    return None if route is None else Strided(out, ins, route, turns)
