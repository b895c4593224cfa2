"""Single nodes that read, write or add items at places that indices name, as chores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from flambeau.backends import axis_kernels
from flambeau.backends.llvm import chores
from flambeau.backends.products import one_step
from flambeau.compiler.access import Access, broadcast_access, dense
from flambeau.compiler.calls import MANY, Call, Place, Word
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.writes import Rows, walked

__all__ = ["Pick", "Put", "check_call", "looks_itself", "pick_of", "put_of"]

I64 = np.dtype(np.int64)
SIZES = (1, 2, 4, 8)
ADDED = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.int32): "i32",
         I64: "i64"}
# A limit of places that are known to be right.
ANYWHERE = 1 << 62
# Items that one piece of work moves.
PIECE = 1 << 14
Dims = tuple[int, ...]


class Steps(NamedTuple):
    """From one batch, row and column to the next, in items."""

    batch: int
    row: int
    column: int


class Named(NamedTuple):
    """What an index names: one of ``limit`` steps of ``step`` items, in what it is for.

    Places along several dimensions that indices name together are made first: by ``parts``, each
    an index, the limit and the step of its dimension.
    """

    limit: int
    step: int
    steps: Steps
    parts: tuple[tuple[Access, int, int], ...]

    @property
    def scratch(self) -> list[int]:
        """Memory for the places."""
        if len(self.parts) < 2:
            return []
        return [8 * math.prod(self.parts[0][0].shape)]

    def calls(self, words: Sequence[Word], scratch: list[Place]) -> tuple[Word, list[list[Call]]]:
        """Where the index is, and what makes it, on the indices of the parts."""
        if not scratch:
            return words[0], []
        there: Word = scratch[0], 0
        found = []
        for nr, (word, (a, limit, step)) in enumerate(zip(words, self.parts)):
            walk = walked(a.shape, [dense(a.shape), a.strides])
            assert walk is not None
            sizes, (to, index) = walk
            found.append([Call(chores.chore("places"), sizes[0], sizes[0],
                               [there, word, limit, step, int(nr > 0), *sizes, *to, *index],
                               8 * math.prod(a.shape))])
        return there, found


class Pick(NamedTuple):
    """Items at places of a source, as a dense result: ``sizes`` has batches, rows and columns."""

    out: Value
    source: Access
    named: Named
    sizes: Dims
    steps: Steps

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def ins(self) -> list[Access]:
        """The source and the indices."""
        return [self.source, *[a for a, _, _ in self.named.parts]]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return 2 * self.out.nbytes

    @property
    def scratch(self) -> list[int]:
        """Places that several indices name together."""
        return self.named.scratch

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """The call that picks, once places are there."""
        out, source, *indices = words
        index, found = self.named.calls(indices, scratch)
        batches, rows, columns = self.sizes
        named = self.named
        context = [out, source, index, named.limit, rows, columns, named.step, *named.steps,
                   *self.steps]
        kernel = chores.chore(f"get_{self.out.dtype.itemsize}")
        own = Call(kernel, batches * rows, max(PIECE // columns, 1), context, self.nbytes)
        return [*found, [own]]


class Put(NamedTuple):
    """An array of which items at places are overwritten, or added to.

    ``base`` is the array as it was, None for zeros; ``values`` may be numbers that are kept here.
    """

    out: Value
    base: Access | None
    values: Access | np.ndarray
    named: Named
    sizes: Dims
    steps: Steps
    value_steps: Steps
    adds: bool
    # The row that is zeros in the end, -1 for none.
    cleared: int

    @property
    def outs(self) -> list[Value]:
        """What it makes."""
        return [self.out]

    @property
    def ins(self) -> list[Access]:
        """The array as it was, the values and the indices."""
        own = [x for x in (self.base, self.values) if isinstance(x, Access)]
        return [*own, *[a for a, _, _ in self.named.parts]]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return 2 * self.out.nbytes

    @property
    def scratch(self) -> list[int]:
        """Places that several indices name together."""
        return self.named.scratch

    @property
    def may_be_in_place(self) -> bool:
        """Whether the result can be where the array was, when nobody else needs that."""
        base = self.base
        if base is None or base.offset or base.shape != base.root.shape:
            return False
        return base.root.nbytes == self.out.nbytes and all(
            [a.root is not base.root for a in self.ins[1:]])

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """A copy of the array where it is somewhere else, then the calls that write."""
        out, *rest = words
        found: list[list[Call]] = []
        if self.base is None:
            found.append([Call(chores.chore("zero"), self.out.nbytes, PIECE * 4, [out],
                               self.out.nbytes)])
        elif (base := rest.pop(0)) != out:
            found.append([Rows(1, self.out.nbytes, 0, 0).call(out, base)])
        if isinstance(self.values, Access):
            values = rest.pop(0)
        else:
            values = self.values.__array_interface__["data"][0]
        index, made = self.named.calls(rest, scratch)
        return [*found, *made, [self._write(out, values, index)], *self._clear(out)]

    def _write(self, out: Word, values: Word, index: Word) -> Call:
        batches, rows, columns = self.sizes
        named, dtype = self.named, self.out.dtype
        context = [out, values, index, named.limit, rows, columns, named.step, *named.steps,
                   *self.steps, *self.value_steps]
        kernel = f"add_{ADDED[dtype]}" if self.adds else f"put_{dtype.itemsize}"
        work = 2 * dtype.itemsize * batches * rows * columns
        return Call(chores.chore(kernel), batches, max(PIECE // (rows * columns), 1), context, work)

    def _clear(self, out: Word) -> list[list[Call]]:
        if self.cleared < 0:
            return []
        assert isinstance(out, tuple)
        width = self.out.nbytes // self.out.shape[0]
        return [[Call(chores.chore("zero"), width, width, [(out[0], out[1] + self.cleared * width)],
                      width)]]


# The walk.


class _Walk(NamedTuple):
    """The dimensions before those that an index has, its own, and those behind."""

    before: Dims
    own: Dims
    behind: Dims

    @property
    def shape(self) -> Dims:
        return (*self.before, *self.own, *self.behind)

    @property
    def sizes(self) -> Dims:
        return math.prod(self.before), math.prod(self.own), math.prod(self.behind)

    def steps(self, strides: Dims) -> Steps | None:
        """The steps of strides over all dimensions; None where there are several in a part."""
        at, found = 0, []
        for part in self:
            step = one_step(part, strides[at:at + len(part)])
            if step is None:
                return None
            found.append(step)
            at += len(part)
        return Steps(*found)


def _turned(sizes: Dims, steps: Sequence[Steps]) -> tuple[Dims, list[Steps]]:
    """Rows of one column as one row of as many, which takes less time to start."""
    if sizes[2] != 1:
        return sizes, list(steps)
    return (sizes[0], 1, sizes[1]), [Steps(s.batch, 0, s.row) for s in steps]


def _indices(node: Node, first: int, access: Callable[[Value], Access]
             ) -> list[Access] | None:
    """The accesses of a node's indices, broadcast; None where one is no int64."""
    values = [x for x in node.inputs[first:] if type(x) is Value]
    if any([v.dtype != I64 for v in values]):
        return None
    shape = np.broadcast_shapes(*[v.shape for v in values])
    found = [broadcast_access(access(v), shape) for v in values]
    return None if any([walked(shape, [dense(shape), a.strides]) is None for a in found]) else found


def _along(dims: Dims, shape: Dims) -> tuple[Dims, bool]:
    """The dimensions that are not indexed, and whether those that are lie side by side."""
    rest = tuple([d for d in range(len(shape)) if d not in dims])
    return rest, list(dims) == list(range(dims[0], dims[0] + len(dims)))


def _by_tensors(whole: Access, dims: Dims, indices: list[Access]
                ) -> tuple[_Walk, Named, Steps] | None:
    """How index tensors walk what they index, as ``x[i, j]`` does."""
    rest, together = _along(dims, whole.shape)
    front = [d for d in rest if together and d < dims[0]]
    back = [d for d in rest if d not in front]
    walk = _Walk(tuple([whole.shape[d] for d in front]), indices[0].shape,
                 tuple([whole.shape[d] for d in back]))
    own = walk.steps((*[whole.strides[d] for d in front], *(0,) * len(walk.own),
                      *[whole.strides[d] for d in back]))
    if own is None:
        return None
    parts = tuple([(a, whole.shape[d], whole.strides[d]) for a, d in zip(indices, dims)])
    if len(parts) > 1:
        at = dense(walk.own)
        limit, step = ANYWHERE, 1
        if min(whole.strides) < 0:
            return None
    else:
        at, (_, limit, step) = indices[0].strides, parts[0]
    steps = walk.steps((*(0,) * len(walk.before), *at, *(0,) * len(walk.behind)))
    return None if steps is None else (walk, Named(limit, step, steps, parts), own)


def _by_items(whole: Access, dim: int, index: Access) -> tuple[_Walk, Named, Steps] | None:
    """How an index of as many dimensions walks what it indexes, as ``gather`` does."""
    shape = index.shape
    walk = _Walk(shape[:dim], shape[dim:dim + 1], shape[dim + 1:])
    own = walk.steps((*whole.strides[:dim], 0, *whole.strides[dim + 1:]))
    steps = walk.steps(index.strides)
    if own is None or steps is None:
        return None
    limit, step = whole.shape[dim], whole.strides[dim]
    return walk, Named(limit, step, steps, ((index, limit, step),)), own


def _flat(a: Access) -> Access | None:
    """All items in one dimension."""
    step = one_step(a.shape, a.strides)
    return None if step is None else a._replace(shape=(math.prod(a.shape),), strides=(step,))


_PICKS = frozenset(("index", "index_select", "embedding", "take", "gather", "pick"))


# An index for every item, not for every row.
_BY_ITEMS = frozenset(("gather", "pick", "scatter", "scatter_add", "scatter_value", "spill"))


def pick_of(node: Node, access: Callable[[Value], Access]) -> Pick | None:
    """How a node picks items by index tensors; None where it does not, or not as chores can."""
    if node.op is None or node.op.name not in _PICKS:
        return None
    out, source = node.outputs[0], access(node.values()[0])
    if not out.size or out.dtype.itemsize not in SIZES or source.root.dtype != out.dtype:
        return None
    found = _walk_of(node, 1, source, access)
    if found is None or not math.prod(found[3].shape) or (
            node.op.name in _BY_ITEMS and out.size >= MANY):
        return None
    walk, named, own, source = found
    sizes, (own, at) = _turned(walk.sizes, [own, named.steps])
    return Pick(out, source, named._replace(steps=at), sizes, own)


def _walk_of(node: Node, first: int, whole: Access, access: Callable[[Value], Access]
             ) -> tuple[_Walk, Named, Steps, Access] | None:
    """How the indices of a node, from operand ``first`` on, walk what they index."""
    assert node.op is not None
    name, params = node.op.name, node.params
    indices = _indices(node, first, access)
    if not indices or not whole.shape and name != "take":
        return None
    seen: Access | None = whole
    if name in _BY_ITEMS:
        found = _by_items(whole, params["dim"], indices[0])
    elif name in ("take", "put"):
        seen = _flat(whole)
        found = None if seen is None else _by_tensors(seen, (0,), indices)
    else:
        dims = params["dims"] if "dims" in params else (params.get("dim", 0),)
        if name.startswith("index_") and "dims" not in params:
            indices = [_vector(indices[0])]
        found = _by_tensors(whole, dims, indices)
    return None if found is None or seen is None else (*found, seen)


def _vector(a: Access) -> Access:
    """An index of one or no dimension as one of one."""
    return a if a.shape else a._replace(shape=(1,), strides=(0,))


# Per operator: where the array as it was is, the values, and the first index.
_PUTS: dict[str, tuple[int | None, int | None, int]] = {
    "index_put": (0, 1, 2), "index_backward": (None, 0, 1), "index_add": (0, 2, 1),
    "index_copy": (0, 2, 1), "index_fill": (0, 2, 1), "embedding_backward": (None, 0, 1),
    "scatter": (0, 2, 1), "scatter_add": (0, 2, 1), "scatter_value": (0, None, 1),
    "spill": (None, 0, 1), "put": (0, 2, 1)}
_ADDS = frozenset(("index_backward", "index_add", "embedding_backward", "scatter_add", "spill"))


def put_of(node: Node, access: Callable[[Value], Access]) -> Put | None:
    """How a node writes items at places; None where it does not, or not as chores can."""
    if node.op is None or node.op.name not in _PUTS or node.params.get("alpha", 1) != 1 or (
            node.params.get("scale_grad_by_freq")):
        return None
    base_at, values_at, first = _PUTS[node.op.name]
    out = node.outputs[0]
    base = None if base_at is None else access(_operand(node, base_at))
    if not out.size or out.dtype.itemsize not in SIZES or base is not None and (
            base.root.dtype != out.dtype or base.strides != dense(base.shape)):
        return None
    adds = node.op.name in _ADDS or bool(node.params.get("accumulate"))
    if node.op.name == "spill" and _operand(node, 1).shape[node.params["dim"]] == 1:
        adds = False
    if adds and out.dtype not in ADDED:
        return None
    count = len(node.params.get("dims", (0,)))
    indexed = Node("op", node.op, (*node.inputs[:first + count],), node.params)
    found = _walk_of(indexed, first, Access(out, out.shape, dense(out.shape), 0), access)
    if found is None or not math.prod(found[0].shape):
        return None
    walk, named, own, _ = found
    if (adds or node.op.name in _BY_ITEMS) and math.prod(walk.shape) >= MANY:
        return None
    values = _values(node, values_at, walk, access)
    if values is None:
        return None
    held, theirs = values
    sizes, (own, at, theirs) = _turned(walk.sizes, [own, named.steps, theirs])
    cleared = node.params.get("padding_idx", -1)
    return Put(out, base, held, named._replace(steps=at), sizes, own, theirs, adds, cleared)


def _operand(node: Node, at: int) -> Value:
    found = node.inputs[at]
    assert type(found) is Value
    return found


def _values(node: Node, at: int | None, walk: _Walk, access: Callable[[Value], Access]
            ) -> tuple[Access | np.ndarray, Steps] | None:
    """What is written, and its steps as it is walked."""
    out = node.outputs[0]
    if at is None:
        return np.array(node.params["value"]).astype(out.dtype).reshape(1), Steps(0, 0, 0)
    value = _operand(node, at)
    if value.dtype != out.dtype:
        return None
    a = access(value)
    assert node.op is not None
    if node.op.name in ("put", "index_backward", "embedding_backward"):
        # As many items as are walked, in this order.
        shaped = _shaped(a, walk.shape)
        if shaped is None:
            return None
        a = shaped
    elif len(a.shape) > len(walk.shape):
        return None
    elif node.op.name in ("scatter", "scatter_add") and len(a.shape) == len(walk.shape):
        a = a._replace(shape=walk.shape)
    steps = walk.steps(broadcast_access(a, walk.shape).strides)
    return None if steps is None else (a, steps)


def _shaped(a: Access, shape: Dims) -> Access | None:
    """The access reshaped, where it is dense; itself where it has the shape."""
    if a.shape == shape:
        return a
    if math.prod(a.shape) != math.prod(shape) or a.strides != dense(a.shape):
        return None
    return a._replace(shape=shape, strides=dense(shape))


# Operators whose kernels of eager mode look at the index themselves, and what these do.
_LOOKING = {"gather": "get", "scatter": "put", "scatter_add": "add"}


def looks_itself(node: Node, check: Node) -> bool:
    """Whether a node that runs in Python raises IndexError where a check fails."""
    (index,), wanted = check.values(), check.params
    if node.op is None or node.op.name not in _LOOKING or node.inputs[1] is not index:
        return False
    source, dim = _operand(node, 0), node.params["dim"]
    if not len(source.shape) > dim or wanted["low"] != 0 or wanted["ignored"] is not None or (
            wanted["high"] != source.shape[dim]):
        return False
    a, named = (np.broadcast_to(np.zeros((), v.dtype), v.shape) for v in (source, index))
    return axis_kernels.looks(a, named, dim, _LOOKING[node.op.name])


def check_call(access: Access, flag: int, word: Word, low: int, high: int,
               ignored: int | None) -> Call | None:
    """The call that sets a flag where an int64 is not in [low, high) and not ``ignored``."""
    walk = walked(access.shape, [access.strides])
    if access.root.dtype != I64 or walk is None:
        return None
    sizes, (steps,) = walk
    work = 8 * math.prod(access.shape)
    skipped = low if ignored is None else ignored
    return Call(chores.chore("in_range"), sizes[0], sizes[0],
                [flag, word, low, high, skipped, *sizes, *steps], work)
