"""Operators of a graph by simpler ones: einsum by products, medians by order, checked quotients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.base.dtypes import int64
from flambeau.compiler.graph import Node, Scalar, Value
from flambeau.compiler.rewrites import Found, Rule, cast, densified, like, reduced, viewed
from flambeau.core.formulas import KINDS
from flambeau.core.op import OPS
from flambeau.core.pointwise import LARGE
from flambeau.ops.contract import path_of

__all__ = ["LOWERED"]

# Rows of more items are not sorted for their medians.
MOST_SORTED = 1 << 11
Labels = tuple[int, ...]


# einsum


class _Term(NamedTuple):
    """A value, and a label for each of its dimensions."""

    value: Value
    labels: Labels


def _einsum(p: Any, node: Node, inputs: tuple) -> Found:
    """Products of two at a time, summed over the labels that nobody needs any more."""
    out, terms, target = node.outputs[0], node.params["terms"], node.params["target"]
    if out.dtype.kind != "f" or out.dtype not in KINDS or len(inputs) < 2 or any(
            [x.dtype != out.dtype or not x.size for x in inputs]):
        return None
    todo = [_Term(x, term) for x, term in zip(inputs, terms)]
    for step in path_of([like(x.shape, x.dtype) for x in inputs], terms, target):
        chosen = [todo[i] for i in step]
        todo = [x for i, x in enumerate(todo) if i not in step]
        while len(chosen) > 1:
            rest = [t.labels for t in (*chosen[2:], *todo)]
            chosen[:2] = [_contracted(p, chosen[0], chosen[1], set(target).union(*rest))]
        todo.append(chosen[0])
    return _turned(p, _summed(p, todo[0], set(target)), target).value


def _summed(p: Any, x: _Term, keep: set[int]) -> _Term:
    """Summed over the labels that are not to be kept."""
    gone = tuple([i for i, label in enumerate(x.labels) if label not in keep])
    if not gone:
        return x
    shape = [n for n, label in zip(x.value.shape, x.labels) if label in keep]
    out = like(shape, x.value.dtype)
    found = reduced(p, "sum", x.value, gone, out) or p.op(
        "sum", x.value, out, dims=gone, keepdim=False, dtype=None)
    return _Term(found, tuple([label for label in x.labels if label in keep]))


def _turned(p: Any, x: _Term, labels: Sequence[int]) -> _Term:
    """With its dimensions in the order of ``labels``."""
    order = tuple([x.labels.index(label) for label in labels])
    if order == tuple(range(len(order))):
        return x
    shape = [x.value.shape[i] for i in order]
    return _Term(p.op("permute", x.value, like(shape, x.value.dtype), dims=order), tuple(labels))


def _contracted(p: Any, a: _Term, b: _Term, keep: set[int]) -> _Term:
    """Two operands as one; labels not in ``keep`` are summed."""
    a, b = _summed(p, a, keep | set(b.labels)), _summed(p, b, keep | set(a.labels))
    sizes = dict(zip((*a.labels, *b.labels), (*a.value.shape, *b.value.shape)))
    batch = [x for x in a.labels if x in b.labels and x in keep]
    inner = [x for x in a.labels if x in b.labels and x not in keep]
    rows = [x for x in a.labels if x not in b.labels]
    columns = [x for x in b.labels if x not in a.labels]
    labels = (*batch, *rows, *columns)
    if not inner or batch and not rows and not columns:
        wide = _multiplied(p, a, b, (*labels, *inner), sizes)
        return _summed(p, wide, set(labels))
    count = [math.prod([sizes[x] for x in part]) for part in (batch, rows, inner, columns)]
    left = _turned(p, a, (*batch, *rows, *inner)).value
    right = _turned(p, b, (*batch, *inner, *columns)).value
    found = _product(p, left, right, count, bool(batch), bool(rows), bool(columns))
    return _Term(viewed(p, found, [sizes[x] for x in labels]), labels)


def _multiplied(p: Any, a: _Term, b: _Term, labels: Labels, sizes: dict[int, int]) -> _Term:
    """Items times items, over all labels."""
    spread = [_spread(p, x, labels) for x in (a, b)]
    shape = [sizes[x] for x in labels]
    return _Term(p.op_of("mul", spread, like(shape, a.value.dtype)), labels)


def _spread(p: Any, x: _Term, labels: Labels) -> Value:
    """With dimensions of size 1 for the labels that it lacks."""
    x = _turned(p, x, [label for label in labels if label in x.labels])
    own = dict(zip(x.labels, x.value.shape))
    return _as_groups(p, x.value, [own.get(label, 1) for label in labels])


def _product(p: Any, left: Value, right: Value, count: Sequence[int], batch: bool, rows: bool,
             columns: bool) -> Value:
    """The product of what is to be (batch, rows, inner) and (batch, inner, columns)."""
    stacks, m, k, n = count
    dtype = left.dtype
    if batch:
        a = _as_groups(p, left, (stacks, m, k))
        b = _as_groups(p, right, (stacks, k, n))
        return _applied(p, "bmm", (a, b), like((stacks, m, n), dtype))
    if rows and columns:
        a, b = _as_groups(p, left, (m, k)), _as_groups(p, right, (k, n))
        return _applied(p, "mm", (a, b), like((m, n), dtype))
    if not rows and not columns:
        a, b = _as_groups(p, left, (k,)), _as_groups(p, right, (k,))
        return _applied(p, "dot", (a, b), like((), dtype))
    if rows:
        matrix, vector = _as_groups(p, left, (m, k)), _as_groups(p, right, (k,))
        return _applied(p, "mv", (matrix, vector), like((m,), dtype))
    matrix, vector = _as_groups(p, right, (k, n)), _as_groups(p, left, (k,))
    turned = p.op("transpose", matrix, like((n, k), dtype), dim0=0, dim1=1)
    return _applied(p, "mv", (turned, vector), like((n,), dtype))


def _applied(p: Any, name: str, operands: tuple, out: Any) -> Value:
    found: Value = p.add("op", OPS[name], operands, {}, (out,))[0]
    return found


def _as_groups(p: Any, x: Value, shape: Sequence[int]) -> Value:
    """The value with neighbouring dimensions as one; dense where there are several in one."""
    if tuple([n for n in x.shape if n != 1]) != tuple([n for n in shape if n != 1]):
        x = densified(p, x)
    return viewed(p, x, shape)


# Medians


def _median(p: Any, node: Node, inputs: tuple) -> Found:
    """What is in the middle of the order along a dimension; NaN, the first, where there is one."""
    (x,) = inputs
    if not x.shape or x.dtype not in KINDS or x.dtype.kind == "b":
        return None
    dim, keepdim = node.params["dim"], node.params["keepdim"]
    if not 0 < x.shape[dim] <= MOST_SORTED:
        return None
    last, shape = len(x.shape) - 1, list(x.shape)
    shape[dim], shape[last] = shape[last], shape[dim]
    rows = x if dim == last else p.op("transpose", x, like(shape, x.dtype), dim0=dim, dim1=last)
    rows, looks = densified(p, rows), (like(shape, x.dtype), like(shape, np.int64))
    found = p.add("op", OPS["sort"], (rows,), {"dim": last, "descending": False}, looks)
    middle = (x.shape[dim] - 1) // 2
    key = (..., slice(middle, middle + 1))
    values = [p.op("getitem", v, look[key], index=key) for v, look in zip(found, looks)]
    if x.dtype.kind == "f":
        values = _first_nan(p, rows, values)
    return tuple([_put_back(p, densified(p, v), (*shape[:-1], 1), dim, keepdim, out)
                  for v, out in zip(values, node.outputs)])


def _median_all(p: Any, node: Node, inputs: tuple) -> Found:
    """What is in the middle of the order of all; NaN where there is one."""
    (x,), out = inputs, node.outputs[0]
    if x.dtype not in KINDS or x.dtype.kind == "b" or not 0 < x.size <= MOST_SORTED:
        return None
    rows = viewed(p, densified(p, x), (1, x.size))
    looks = like(rows.shape, x.dtype), like(rows.shape, np.int64)
    found = p.add("op", OPS["sort"], (rows,), {"dim": 1, "descending": False}, looks)
    middle = (x.size - 1) // 2
    ends = [p.op("getitem", found[0], like((), x.dtype), index=(0, at, ...))
            for at in (middle, x.size - 1)]
    if x.dtype.kind != "f":
        return viewed(p, ends[0], out.shape)
    # in order NaN is the last
    odd = p.op_of("ne", (ends[1], ends[1]), like((), np.bool_))
    return viewed(p, p.op_of("where", (odd, Scalar(math.nan), ends[0]), like((), x.dtype)),
                  out.shape)


def _first_nan(p: Any, rows: Value, values: Sequence[Value]) -> list[Value]:
    """Of each row its first NaN, and where that is, in the place of a value and its number."""
    last = len(rows.shape) - 1
    shape = (*rows.shape[:-1], 1)
    best = p.add("op", OPS["max_dim"], (rows,), {"dim": last, "keepdim": True},
                 (like(shape, rows.dtype), like(shape, np.int64)))
    odd = p.op_of("ne", (best[0], best[0]), like(shape, np.bool_))
    return [p.op_of("where", (odd, a, b), like(shape, b.dtype)) for a, b in zip(best, values)]


def _put_back(p: Any, x: Value, shape: Sequence[int], dim: int, keepdim: bool, out: Value) -> Value:
    """One value a row, the row's dimension being where it was."""
    last = len(shape) - 1
    order = list(shape)
    order[dim], order[last] = order[last], order[dim]
    if dim != last:
        x = p.op("transpose", x, like(order, x.dtype), dim0=dim, dim1=last)
    if keepdim:
        return x
    found: Value = p.op("squeeze", x, like(out.shape, x.dtype), dims=(dim,))
    return found


# Pixels


def _shuffled(p: Any, node: Node, inputs: tuple) -> Found:
    """Channels as pixels of larger images."""
    (x,), out, factor = inputs, node.outputs[0], node.params["factor"]
    if not out.size:
        return None
    *lead, channels, height, width = x.shape
    split = (*lead, channels // factor**2, factor, factor, height, width)
    n = len(lead)
    return _moved(p, x, split, (*range(n), n, n + 3, n + 1, n + 4, n + 2), out)


def _unshuffled(p: Any, node: Node, inputs: tuple) -> Found:
    """Pixels as channels of smaller images."""
    (x,), out, factor = inputs, node.outputs[0], node.params["factor"]
    if not out.size:
        return None
    *lead, channels, height, width = x.shape
    split = (*lead, channels, height // factor, factor, width // factor, factor)
    n = len(lead)
    return _moved(p, x, split, (*range(n), n, n + 2, n + 4, n + 1, n + 3), out)


def _moved(p: Any, x: Value, split: Sequence[int], order: Sequence[int], out: Value) -> Value:
    """A copy with dimensions split, put in another order, and joined."""
    parts = viewed(p, densified(p, x), split)
    shape = [split[i] for i in order]
    turned = p.op("permute", parts, like(shape, x.dtype), dims=tuple(order))
    found: Value = p.op("reshape_copy", turned, like(out.shape, x.dtype), shape=out.shape)
    return found


# Division


def _quotient(p: Any, node: Node, inputs: tuple) -> Found:
    """Note that integers are divided by no 0, which is why loops on few need not look."""
    y = inputs[1]
    if max(v.size for v in (*node.values(), *node.outputs)) >= LARGE:
        return None
    if node.outputs[0].dtype.kind in "iu" and type(y) is Value and y.node.kind != "const":
        zero = p.op_of("eq", (y, Scalar(0)), like(y.shape, np.bool_))
        p.add("check", None, (cast(p, zero, int64),), {"low": 0, "high": 1, "ignored": None}, ())
    return None


LOWERED: dict[str, Rule] = {
    "einsum": _einsum, "median": _median, "median_all": _median_all,
    "pixel_shuffle": _shuffled, "pixel_unshuffle": _unshuffled,
    **dict.fromkeys(("floor_divide", "div_floor", "div_trunc", "remainder", "fmod"), _quotient)}
