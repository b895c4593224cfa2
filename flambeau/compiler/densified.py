"""Single nodes whose operands are copied first, to lie as their kernels need them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from flambeau.compiler.access import Access, dense
from flambeau.compiler.calls import Call, Place, Single, Word
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.writes import Copy, copy_of

__all__ = ["densified_of"]

Find = Callable[[Node, Callable[[Value], Access]], Single | None]


class Densified(NamedTuple):
    """A node on copies of operands: per operand of ``inner`` the copy, None where it needs none."""

    inner: Single
    ins: list[Access]
    copies: list[Copy | None]

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return list(self.inner.outs)

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return self.inner.nbytes + sum([c.nbytes for c in self.copies if c is not None])

    @property
    def scratch(self) -> list[int]:
        """The copies, and what the node needs itself."""
        return [*[_size(c) for c in self.copies if c is not None], *self.inner.scratch]

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The copies, then the calls of the node on them."""
        words, rest, first = list(words), list(scratch), []
        lead = len(words) - len(self.ins)
        for at, (copy, inside) in enumerate(zip(self.copies, self.inner.ins), lead):
            if copy is not None:
                place = rest.pop(0)
                first.append(copy.call((place, 0), words[at]))
                words[at] = place, inside.offset * inside.root.dtype.itemsize
        return [first, *self.inner.calls(words, rest)]


def _size(copy: Copy) -> int:
    return math.prod(copy.source.shape) * copy.source.root.dtype.itemsize


def densified_of(node: Node, access: Callable[[Value], Access], find: Find) -> Single | None:
    """The calls that ``find`` knows for a node if operands that are not dense are copied first."""
    seen: dict[int, Access] = {}

    def own(value: Value) -> Access:
        found = access(value)
        if not value.size or found.strides == dense(found.shape):
            return found
        seen[value.number] = found
        return Access(value, value.shape, dense(value.shape), 0)

    inner = find(node, own)
    if inner is None or not seen:
        return None
    copies = []
    for a in inner.ins:
        source = seen.get(a.root.number)
        copies.append(None if source is None else copy_of(source, dense(source.shape)))
        if source is not None and copies[-1] is None:
            return None
    ins = [seen.get(a.root.number, a) for a in inner.ins]
    return Densified(inner, ins, copies)
