"""Copies to where elements are wanted; overwriting a part of an array, in place if possible."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from flambeau.backends.llvm import chores, strided
from flambeau.backends.llvm.expressions import Builder
from flambeau.backends.products import one_step
from flambeau.compiler.access import Access, dense
from flambeau.compiler.calls import Call, Place, Word
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.views import layout_in
from flambeau.core.formulas import STORED

__all__ = ["Copy", "Rows", "Written", "copy_of", "written_of"]

# Bytes that are copied at once.
COPIED = 1 << 16
# Rows of fewer bytes are no work for `copy_rows`, where there are many.
SHORT, MANY = 32, 1 << 12


class Rows(NamedTuple):
    """Copies of rows: how many there are, their bytes, and the bytes between rows there and here.
    """

    number: int
    width: int
    step: int
    source_step: int

    def call(self, there: Word, here: Word) -> Call:
        """The call that copies."""
        number, width, step, source_step = self
        work = 2 * width * number
        if number == 1:
            return Call(chores.chore("copy"), width, COPIED, [there, here], work, 1 << 12)
        return Call(chores.chore("copy_rows"), number, max(COPIED // width, 1),
                    [there, here, width, step, source_step], work)


class Copy(NamedTuple):
    """How the elements of ``source`` come to a place that has strides of its own."""

    source: Access
    way: Rows | strided.Route

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return 2 * self.source.root.dtype.itemsize * math.prod(self.source.shape)

    def call(self, there: Word, here: Word) -> Call:
        """The call that copies."""
        way = self.way
        if isinstance(way, Rows):
            return way.call(there, here)
        return Call(way.address, way.rows, way.chunk, [there, here, *way.numbers], self.nbytes,
                    way.chunk)


class Written(NamedTuple):
    """An array of which a part is overwritten: where the part starts, and how it comes there.

    ``ins`` are the array as it was, and the part.
    """

    out: Value
    ins: list[Access]
    start: int
    copy: Copy

    @property
    def base(self) -> Access:
        """The array as it was."""
        return self.ins[0]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return 2 * self.out.nbytes

    @property
    def scratch(self) -> list[int]:
        """No memory beside its result's."""
        return []

    @property
    def may_be_in_place(self) -> bool:
        """Whether the result can be where the array was, when nobody else needs that."""
        base, new = self.ins
        return (base.root is not new.root and not base.offset and base.shape == base.root.shape
                and base.root.nbytes == self.out.nbytes)

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """A copy of the whole, where it is somewhere else, then that of the part."""
        out, base, new = words
        assert isinstance(out, tuple)
        part = [self.copy.call((out[0], out[1] + self.start), new)]
        if out == base:
            return [part]
        return [[Rows(1, self.out.nbytes, 0, 0).call(out, base)], part]


def written_of(node: Node, access: Callable[[Value], Access]) -> Written | None:
    """The copies that a node is which overwrites a part; None where it is something else."""
    if node.kind != "write":
        return None
    out, (base, new) = node.outputs[0], node.values()
    whole, source = access(base), access(new)
    if (not new.size or out.dtype != base.dtype or out.dtype != new.dtype
            or whole.strides != dense(whole.shape)):
        return None
    item = out.dtype.itemsize
    layout = layout_in(out.shape, out.dtype, tuple([s * item for s in dense(out.shape)]),
                       node.params["chain"])
    if layout is None or layout.shape != source.shape or layout.dtype != out.dtype:
        return None
    copy = copy_of(source, tuple([s // item for s in layout.strides]))
    return None if copy is None else Written(out, [whole, source], layout.offset, copy)


def copy_of(source: Access, target: tuple[int, ...]) -> Copy | None:
    """How elements come to a place of these strides; None where nothing native does that."""
    if not math.prod(source.shape):
        return None
    way = _rows(source, target) or _route(source, target)
    return None if way is None else Copy(source, way)


def _rows(source: Access, target: tuple[int, ...]) -> Rows | None:
    """The longest rows that lie side by side in both, if one step leads from each to the next."""
    shape, item = source.shape, source.root.dtype.itemsize
    dim = len(shape)
    while dim and all(s[dim - 1:] == dense(shape[dim - 1:]) for s in (source.strides, target)):
        dim -= 1
    steps = [one_step(shape[:dim], s[:dim]) for s in (target, source.strides)]
    if steps[0] is None or steps[1] is None:
        return None
    number, width = math.prod(shape[:dim]), math.prod(shape[dim:]) * item
    if width < SHORT and number > MANY:
        return None
    return Rows(number, width, steps[0] * item, steps[1] * item)


def _route(source: Access, target: tuple[int, ...]) -> strided.Route | None:
    """The kernel that copies where items of the last dimension lie side by side."""
    dtype = source.root.dtype
    if dtype not in STORED or not target or target[-1] != 1:
        return None
    b = Builder()
    program = b.pointwise(b.input(STORED[dtype]))
    spread = None if target == dense(source.shape) else target
    return strided.route_of(program, source.shape, [source.strides], dtype.itemsize, spread)
