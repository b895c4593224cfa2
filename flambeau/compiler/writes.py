"""Copies to where elements are wanted; overwriting a part of an array, in place if possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from flambeau.backends.llvm import chores, strided
from flambeau.backends.llvm.expressions import Builder
from flambeau.backends.llvm.index_text import MOST_DIMS
from flambeau.backends.products import one_step
from flambeau.compiler.access import Access, dense, is_view
from flambeau.compiler.calls import Call, Place, Word
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.views import layout_in
from flambeau.core.formulas import STORED
from flambeau.core.op import OPS

__all__ = ["COPIES", "Copy", "Moved", "Rows", "Written", "copied_of", "copy_of", "moved", "walked",
           "written_of"]

# Operators whose results have the elements of their operand, in the same order, row by row.
COPIES = frozenset(("clone", "contiguous", "reshape_copy", "view"))
# Operators that put their operand into zeros, where a view would show it.
_PLACES = {"place": "getitem", "diagonal_backward": "diagonal"}
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


class Moved(NamedTuple):
    """Copies of items, one by one where nothing else fits: their bytes, sizes and both strides."""

    size: int
    sizes: tuple[int, ...]
    to: tuple[int, ...]
    source: tuple[int, ...]

    def call(self, there: Word, here: Word) -> Call:
        """The call that copies."""
        first = self.sizes[0]
        work = 2 * self.size * math.prod(self.sizes)
        return Call(chores.chore(f"move_{self.size}"), first,
                    max(COPIED * first // max(work, 1), 1),
                    [there, here, *self.sizes, *self.to, *self.source], work)


class Copy(NamedTuple):
    """How the elements of ``source`` come to a place that has strides of its own."""

    source: Access
    way: Rows | strided.Route | Moved

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return 2 * self.source.root.dtype.itemsize * math.prod(self.source.shape)

    def call(self, there: Word, here: Word) -> Call:
        """The call that copies."""
        way = self.way
        if isinstance(way, (Rows, Moved)):
            return way.call(there, here)
        return Call(way.address, way.rows, way.chunk, [there, here, *way.numbers], self.nbytes,
                    way.chunk)


class Written(NamedTuple):
    """An array of which a part is overwritten: where the part starts, and how it comes there.

    ``ins`` are the array as it was, unless that was zeros, and the part.
    """

    out: Value
    ins: list[Access]
    start: int
    copy: Copy

    @property
    def base(self) -> Access | None:
        """The array as it was; None for zeros."""
        return self.ins[0] if len(self.ins) > 1 else None

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

    @property
    def may_be_in_place(self) -> bool:
        """Whether the result can be where the array was, when nobody else needs that."""
        base, new = self.base, self.ins[-1]
        if base is None or base.root is new.root or base.offset:
            return False
        return base.shape == base.root.shape and base.root.nbytes == self.out.nbytes

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """A copy of the whole, where it is somewhere else, then that of the part."""
        out, *before, new = words
        assert isinstance(out, tuple)
        part = [self.copy.call((out[0], out[1] + self.start), new)]
        if not before:
            whole = Call(chores.chore("zero"), self.out.nbytes, COPIED, [out], self.out.nbytes)
            return [[whole], part]
        if out == before[0]:
            return [part]
        return [[Rows(1, self.out.nbytes, 0, 0).call(out, before[0])], part]


class Copied(NamedTuple):
    """A node whose result has the items of its operand, one by one."""

    out: Value
    ins: list[Access]
    copy: Copy

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return self.copy.nbytes

    @property
    def scratch(self) -> list[int]:
        """No memory beside its result's."""
        return []

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The copy."""
        return [[self.copy.call(words[0], words[1])]]


def copied_of(node: Node, access: Callable[[Value], Access]) -> Copied | None:
    """The copy that a node is; None where it is something else."""
    if node.op is None or node.op.name not in COPIES and not is_view(node.outputs[0]):
        return None
    (x,), out = node.values(), node.outputs[0]
    if len(node.outputs) > 1 or x.dtype != out.dtype or x.size != out.size:
        return None
    source = access(x)
    copy = copy_of(source, dense(source.shape))
    return None if copy is None else Copied(out, [source], copy)


def written_of(node: Node, access: Callable[[Value], Access]) -> Written | None:
    """The copies that a node is which overwrites a part; None where it is something else."""
    chain = node.params["chain"] if node.kind == "write" else _chain_in_zeros(node)
    if chain is None:
        return None
    out, (*before, new) = node.outputs[0], node.values()
    ins = [access(v) for v in (*before, new)]
    if not new.size or any([v.dtype != out.dtype for v in (*before, new)]) or (
            before and ins[0].strides != dense(ins[0].shape)):
        return None
    item, source = out.dtype.itemsize, ins[-1]
    layout = layout_in(out.shape, out.dtype, tuple([s * item for s in dense(out.shape)]), chain)
    if layout is None or layout.shape != source.shape or layout.dtype != out.dtype:
        return None
    copy = copy_of(source, tuple([s // item for s in layout.strides]))
    return None if copy is None else Written(out, ins, layout.offset, copy)


def _chain_in_zeros(node: Node) -> tuple | None:
    """The view of zeros that a node overwrites; None where it does nothing like that."""
    view = _PLACES.get(node.op.name) if node.op is not None else None
    if view is None:
        return None
    return ((OPS[view], {k: v for k, v in node.params.items() if k != "shape"}, 0),)


def copy_of(source: Access, target: tuple[int, ...]) -> Copy | None:
    """How elements come to a place of these strides; None where nothing native does that."""
    if not math.prod(source.shape):
        return None
    way = _rows(source, target) or _route(source, target) or moved(source, target)
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


def walked(shape: tuple[int, ...], strides: Sequence[tuple[int, ...]]
           ) -> tuple[tuple[int, ...], list[tuple[int, ...]]] | None:
    """Sizes and strides of as many dimensions as chores walk; None where there are more."""
    sizes, kept = strided.collapse(shape or (1,), [s or (0,) for s in strides])
    more = MOST_DIMS - len(sizes)
    if more < 0:
        return None
    # the last one is a row, the first is shared out
    at = int(len(sizes) > 1)
    wide = [(*s[:at], *(0,) * more, *s[at:]) for s in kept]
    return (*sizes[:at], *(1,) * more, *sizes[at:]), wide


def moved(source: Access, target: tuple[int, ...]) -> Moved | None:
    """Copies item by item; None where there are too many dimensions or items are large."""
    size = source.root.dtype.itemsize
    found = walked(source.shape, [target, source.strides])
    if size not in (1, 2, 4, 8) or found is None:
        return None
    sizes, (to, own) = found
    return Moved(size, sizes, to, own)
