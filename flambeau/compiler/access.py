"""Where the elements of a value lie: which value they belong to, and with what strides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from flambeau.compiler.graph import Value

__all__ = ["Access", "access_of", "broadcast_access", "dense", "is_view", "overlapping",
           "own_access"]

# Operators whose results can be seen in their operand: an element is one element of it.
_VIEWS = frozenset(("alias", "as_strided", "diagonal", "expand", "flip", "getitem", "permute",
                    "split", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view"))


class Access(NamedTuple):
    """Element i is element ``offset + i . strides`` of ``root``, counted along its memory."""

    root: Value
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


def is_view(value: Value) -> bool:
    """Whether a value only shows another one's elements."""
    node = value.node
    return node.op is not None and node.op.name in _VIEWS


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    strides = [1] * len(shape)
    for i in range(len(shape) - 2, -1, -1):
        strides[i] = strides[i + 1] * max(shape[i + 1], 1)
    return tuple(strides)


def access_of(value: Value, known: dict[int, Access] | None = None) -> Access:
    """How a value lies in the one that has its elements: itself, or what it is a view of.

    A view that no strides express (a reshaped transpose, say) has elements of its own.
    """
    known = {} if known is None else known
    found = known.get(value.number)
    if found is None:
        if is_view(value):
            base = value.node.inputs[0]
            assert type(base) is Value
            found = _apply(value, access_of(base, known))
        found = known[value.number] = found or own_access(value)
    return found


def own_access(value: Value) -> Access:
    """How a value lies that is no view: as it came in, or row by row."""
    if value.node.kind == "input":
        strides = tuple([s // value.dtype.itemsize for s in value.strides])
        return Access(value, value.shape, strides, 0)
    return Access(value, value.shape, dense(value.shape), 0)


def _apply(view: Value, base: Access) -> Access | None:
    """The view of an access; None where it would have to copy."""
    item = base.root.dtype.itemsize
    extent = sum((n - 1) * abs(s) for n, s in zip(base.shape, base.strides)) + 1
    if math.prod(base.shape) == 0:
        return None
    (source,) = view.node.values()
    if view.node.name == "as_strided" and source.strides != tuple(
            [s * item for s in base.strides]):
        return None
    # Never written or read: the system gives no pages for it.
    memory = np.empty(extent * item, np.uint8)
    first = sum([(1 - n) * s for n, s in zip(base.shape, base.strides) if s < 0]) * item
    array = np.ndarray(base.shape, base.root.dtype, memory, first,
                       tuple([s * item for s in base.strides]))
    op, params = view.node.op, view.node.params
    assert op is not None
    if op.name == "view":
        try:
            out = array.reshape(view.shape, copy=False)
        except ValueError:
            return None
    elif op.name == "flip":
        out = np.flip(array, params["dims"])
    else:
        out = op.forward(array, **params)
        out = out[view.index] if op.multiple else out
    start = out.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    if not 0 <= start < memory.nbytes or not np.may_share_memory(out, memory):
        return None
    strides = tuple([s // item for s in out.strides])
    return Access(base.root, view.shape, strides, base.offset + (start - first) // item)


def broadcast_access(a: Access, shape: tuple[int, ...]) -> Access:
    """The access over a shape that this one broadcasts to."""
    if a.shape == shape:
        return a
    lead = len(shape) - len(a.shape)
    strides = [0] * lead
    for have, want, s in zip(a.shape, shape[lead:], a.strides):
        strides.append(0 if have == 1 and want != 1 else s)
    return Access(a.root, shape, tuple(strides), a.offset)


def overlapping(arrays: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """The pairs of arrays whose bounds in memory overlap.

    >>> a = np.arange(4)
    >>> list(overlapping([a[:3], np.zeros(1), a[2:]]))
    [(0, 2)]
    """
    spans = sorted([(*byte_bounds(a), i) for i, a in enumerate(arrays) if a.size])
    reach: list[tuple[int, int]] = []
    for low, high, i in spans:
        reach = [(end, j) for end, j in reach if end > low]
        for _, j in reach:
            yield (j, i) if j < i else (i, j)
        reach.append((high, i))
