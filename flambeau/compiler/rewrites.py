"""Operators of a graph as others, of which kernels can be made: to the same values.

A rule gets the pass, a node of the old graph, and its operands in the new one; it gives the value
in the new graph that the node's result is, a tuple of them for several, or None to leave it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.base.dtypes import int32, int64
from flambeau.compiler.access import access_of, broadcast_access, dense, is_view
from flambeau.compiler.graph import Node, Scalar, Value
from flambeau.compiler.groups import has_few_long_rows
from flambeau.compiler.layouts import layouts_of
from flambeau.core.formulas import KINDS
from flambeau.core.op import OPS

__all__ = ["RULES", "Found", "Rule", "cast", "densified", "in_int64", "in_rows", "like", "reduced",
           "viewed"]

ndarray = np.ndarray
# Sums of fewer items over a dimension that is not the last are added row by row.
LARGE = 1 << 15
# Numbers up to which a sum is one loop.
LONGEST_SUM = 4096
# Constants that rules make have no more items.
MOST_CONSTANT = 1 << 16
# Rows from this length on are worth an operand of one number for each.
SHORTEST_ROW = 16
Dims = tuple[int, ...]
Found = Value | tuple[Value, ...] | None
Rule = Callable[[Any, Node, tuple], Found]


def like(shape: Sequence[int], dtype: Any) -> ndarray:
    """What a value looks like, without memory for it."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def cast(p: Any, x: Value, held: Any) -> Value:
    """The value in another dtype, flambeau's."""
    if x.dtype == held.np:
        return x
    found: Value = p.op("to_dtype", x, like(x.shape, held.np), dtype=held)
    return found


def viewed(p: Any, x: Value, shape: Sequence[int]) -> Value:
    """A value with all its items in another shape; it is dense."""
    if x.shape == tuple(shape):
        return x
    found: Value = p.op("view", x, like(shape, x.dtype), shape=tuple(shape))
    return found


def _is_dense(x: Value) -> bool:
    a = access_of(x)
    return all([n == 1 or s == d for n, s, d in zip(a.shape, a.strides, dense(a.shape))])


def densified(p: Any, x: Value) -> Value:
    """The value, its items one behind the other."""
    if _is_dense(x):
        return x
    found: Value = p.op("contiguous", x, like(x.shape, x.dtype), order=None)
    return found


def in_rows(p: Any, inputs: tuple, shape: Dims) -> tuple:
    """The operands of a pointwise operator, those that kernels would not read in a form they do.

    What is one number for every channel, say, is repeated to be one for every row of an image.
    """
    if len(shape) < 3 or math.prod(shape) < LARGE:
        return inputs
    return tuple([_in_row_form(p, x, shape) if type(x) is Value else x for x in inputs])


def _in_row_form(p: Any, x: Value, shape: Dims) -> Value:
    access = broadcast_access(access_of(x), shape)
    if layouts_of(access):
        return x
    last = len(shape)
    while last and (shape[last - 1] == 1 or access.strides[last - 1] == 0):
        last -= 1
    if math.prod(shape[last:]) < SHORTEST_ROW:
        return x
    rows = (*shape[:last], *(1,) * (len(shape) - last))
    return densified(p, p.op("expand", x, like(rows, x.dtype), shape=rows))


def _constant(p: Any, array: ndarray) -> Value:
    found: Value = p.add("const", None, (), {"array": array}, (array,))[0]
    return found


# Reductions.


def _last(shape: Dims, dims: Dims) -> bool:
    """Whether dimensions are the last ones, but for those of size 1."""
    real = [d for d, n in enumerate(shape) if n != 1]
    wanted = [d for d in real if d in dims]
    return bool(wanted) and wanted == real[len(real) - len(wanted):]


def _first(shape: Dims, dims: Dims) -> bool:
    """Whether dimensions are the first ones, but for those of size 1."""
    real = [d for d, n in enumerate(shape) if n != 1]
    wanted = [d for d in real if d in dims]
    return bool(wanted) and wanted == real[:len(wanted)]


def reduced(p: Any, name: str, x: Value, dims: Dims, out: Value | ndarray) -> Value | None:
    """A sum, mean or extreme over dimensions, in the shape of ``out``."""
    real = [d for d in dims if x.shape[d] != 1]
    if not x.size or not real or x.dtype not in KINDS or x.dtype.kind == "b":
        return None
    rows = math.prod(_kept(x.shape, dims))
    if name in ("amax", "amin") and has_few_long_rows(rows, x.size // rows):
        return None
    floats = x.dtype.kind == "f"
    if floats and name in ("sum", "mean") and (
            not _is_dense(x) or x.size < LARGE and not _last(x.shape, dims)):
        # NumPy's sum adds in an order of its own
        return None
    if name == "sum" and not floats and len(dims) == len(x.shape):
        total = _total(p, x)
        if total is not None:
            return viewed(p, total, out.shape)
    if floats and name in ("sum", "mean") and _first(x.shape, dims) and not _last(x.shape, dims):
        total = _reduce(p, "sum", x, dims)
        return viewed(p, _divided(p, total, x.shape, real) if name == "mean" else total, out.shape)
    short, left = _rows_reduced(p, "sum" if name == "mean" else name, x, dims)
    short, left = _arranged(p, short, left)
    if name != "mean" or len(left) == len(dims):
        return viewed(p, _reduce(p, name, short, left), out.shape)
    return viewed(p, _divided(p, _reduce(p, "sum", short, left), x.shape, real), out.shape)


def _divided(p: Any, total: Value, shape: Dims, dims: Sequence[int]) -> Value:
    """A mean, of the sum over these dimensions."""
    count = float(math.prod([shape[d] for d in dims]))
    found: Value = p.op_of("div", (total, Scalar(count)), total)
    return found


def _reduce(p: Any, name: str, x: Value, dims: Dims) -> Value:
    """The operator itself, on dimensions that it keeps."""
    params: dict[str, Any] = {"dims": dims, "keepdim": True}
    if name == "sum":
        params["dtype"] = None
    found: Value = p.op(name, x, like(_kept(x.shape, dims), x.dtype), **params)
    return found


def _rows_reduced(p: Any, name: str, x: Value, dims: Dims) -> tuple[Value, Dims]:
    """The value without the last of these dimensions, where others lie before them.

    What makes the value can be computed with the rows, which leave little to be moved.
    """
    real = [d for d, n in enumerate(x.shape) if n != 1]
    rows: list[int] = []
    while real and real[-1] in dims:
        rows.append(real.pop())
    if not rows or not any(d in dims for d in real):
        return x, dims
    return _reduce(p, name, densified(p, x), tuple(rows[::-1])), tuple(
        [d for d in dims if d not in rows])


def _kept(shape: Dims, dims: Dims) -> Dims:
    return tuple([1 if d in dims else n for d, n in enumerate(shape)])


def _arranged(p: Any, x: Value, dims: Dims) -> tuple[Value, Dims]:
    """The value with these dimensions last, and dense."""
    if _last(x.shape, dims):
        return densified(p, x), dims
    order = (*[d for d in range(len(x.shape)) if d not in dims], *dims)
    shape = tuple([x.shape[d] for d in order])
    moved = p.op("permute", x, like(shape, x.dtype), dims=order)
    rank = len(shape)
    return densified(p, moved), tuple(range(rank - len(dims), rank))


def _all_dims(node: Node, x: Value) -> Dims:
    found = node.params.get("dims")
    return tuple(range(len(x.shape))) if found is None else tuple(found)


def _sum(p: Any, node: Node, inputs: tuple) -> Found:
    (x,), out = inputs, node.outputs[0]
    held = node.params.get("dtype")
    if x.dtype != out.dtype:
        if x.dtype not in KINDS or x.dtype.kind == "f" or out.dtype != np.int64:
            return None
        x = cast(p, x, int64)
    dims = _all_dims(node, x)
    if node.name == "sum_all":
        found = _total(p, x)
        if found is not None:
            return found
    if held is None and x is inputs[0] and _is_ready(node, x):
        return None
    return reduced(p, "sum", x, dims, out)


def _mean_all(p: Any, node: Node, inputs: tuple) -> Found:
    (x,), out = inputs, node.outputs[0]
    total = _total(p, x) if x.dtype == out.dtype else None
    if total is None:
        return _plain("mean")(p, node, inputs)
    return p.op_of("div", (total, Scalar(float(x.size))), out)  # type: ignore[no-any-return]


def _total(p: Any, x: Value) -> Value | None:
    """The sum of very many numbers as sums of rows, then of those; None where they are few.

    That is more exact, and on all threads.
    """
    if x.size <= LONGEST_SUM or x.dtype not in KINDS or x.dtype.kind not in "fi" or (
            x.dtype.kind == "f" and is_view(x)):
        return None
    total = densified(p, x)
    while total.size > LONGEST_SUM:
        columns = next((c for c in range(2048, 63, -1) if total.size % c == 0), 0)
        if not columns:
            return None
        rows = total.size // columns
        total = p.op("sum", viewed(p, total, (rows, columns)), like((rows,), x.dtype), dims=(1,),
                     keepdim=False, dtype=None)
    name = "sum_all" if x.dtype.kind == "f" else "sum"
    params = {} if name == "sum_all" else {"dims": (0,), "keepdim": False, "dtype": None}
    found: Value = p.op(name, total, like((), x.dtype), **params)
    return found


def _is_ready(node: Node, x: Value) -> bool:
    """Whether there are kernels for a reduction as it is."""
    dims = _all_dims(node, x)
    if _by_rows(node, x, dims):
        return True
    sums = node.name in ("sum", "sum_all") and x.dtype.kind == "f" and _first(x.shape, dims)
    return _is_dense(x) and (_last(x.shape, dims) or sums)


def _by_rows(node: Node, x: Value, dims: Dims) -> bool:
    """Whether it is a sum over what is not the last dimension, which NumPy adds row by row."""
    if node.name not in ("sum", "mean") or x.dtype.kind != "f" or x.size >= LARGE:
        return False
    real = [d for d, n in enumerate(x.shape) if n != 1]
    wanted = [d for d in real if d in dims]
    return bool(wanted) and wanted[-1] != real[-1]


def _plain(name: str) -> Rule:
    def rule(p: Any, node: Node, inputs: tuple) -> Found:
        (x,), out = inputs, node.outputs[0]
        if x.dtype != out.dtype or node.name == name and _is_ready(node, x):
            return None
        return reduced(p, name, x, _all_dims(node, x), out)

    return rule


def _both_extremes(p: Any, node: Node, inputs: tuple) -> Found:
    (x,), (low, high) = inputs, node.outputs
    dims = _all_dims(node, x)
    found = reduced(p, "amin", x, dims, low), reduced(p, "amax", x, dims, high)
    return None if None in found else found  # type: ignore[return-value]


def _holds(name: str) -> Rule:
    """``any`` and ``all``: the largest and the smallest of 0 and 1."""
    def rule(p: Any, node: Node, inputs: tuple) -> Found:
        (x,), out = inputs, node.outputs[0]
        if not x.size or x.dtype not in KINDS or out.dtype.kind != "b":
            return None
        truth = cast(p, _nonzero(p, x), int32)
        found = reduced(p, name, truth, _all_dims(node, x), out)
        return None if found is None else p.op_of("ne", (found, Scalar(0)), out)

    return rule


def _nonzero(p: Any, x: Value) -> Value:
    if x.dtype.kind == "b":
        return x
    found: Value = p.op_of("ne", (x, Scalar(0)), like(x.shape, np.bool_))
    return found


def _count(p: Any, node: Node, inputs: tuple) -> Found:
    (x,), out = inputs, node.outputs[0]
    if not x.size or x.dtype not in KINDS:
        return None
    return reduced(p, "sum", cast(p, _nonzero(p, x), int64), _all_dims(node, x), out)


def _ordered(p: Any, node: Node, inputs: tuple) -> Found:
    """Orders along a dimension that is not the last: of the transpose, and back."""
    (x,), dim, last = inputs, node.params["dim"], len(inputs[0].shape) - 1
    if dim >= last or x.dtype not in KINDS:
        return None
    moved = _exchanged(p, x, dim, last)
    shapes = [_exchange(v.shape, dim, last) for v in node.outputs]
    looks = [like(shape, v.dtype) for shape, v in zip(shapes, node.outputs)]
    found = p.add("op", node.op, (densified(p, moved),), {**node.params, "dim": last}, looks)
    return tuple([_exchanged(p, v, dim, last) for v in found])


def _scanned(p: Any, node: Node, inputs: tuple) -> Found:
    """A running sum or product of integers that become int64 first."""
    (x,), out = inputs, node.outputs[0]
    if x.dtype == out.dtype or x.dtype not in KINDS or x.dtype.kind == "f" or out.dtype != np.int64:
        return None
    params = {**node.params, "dtype": None}
    found: Value = p.add("op", node.op, (cast(p, x, int64),), params, (out,))[0]
    return found


def _exchange(shape: Dims, a: int, b: int) -> Dims:
    order = list(shape)
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def _exchanged(p: Any, x: Value, a: int, b: int) -> Value:
    """The value with two dimensions exchanged."""
    found: Value = p.op("transpose", x, like(_exchange(x.shape, a, b), x.dtype), dim0=a, dim1=b)
    return found


# Where items go.


def _repeat(p: Any, node: Node, inputs: tuple) -> Found:
    """Copies laid out along dimensions: an expanded view, copied."""
    (x,), out, times = inputs, node.outputs[0], node.params["repeats"]
    if not out.size:
        return None
    full = (*(1,) * (len(times) - len(x.shape)), *x.shape)
    lines = tuple([n for m in full for n in (1, m)])
    wide = tuple([n for pair in zip(times, full) for n in pair])
    spread = p.op("expand", viewed(p, densified(p, x), lines), like(wide, x.dtype), shape=wide)
    found: Value = p.op("reshape_copy", spread, like(out.shape, x.dtype), shape=out.shape)
    return found


def _roll(p: Any, node: Node, inputs: tuple) -> Found:
    (x,), out = inputs, node.outputs[0]
    if not out.size:
        return None
    for shift, dim in zip(node.params["shifts"], node.params["dims"]):
        size = x.shape[dim]
        cut = -shift % size
        if cut:
            parts = [_slice(p, x, dim, cut, size), _slice(p, x, dim, 0, cut)]
            x = p.add("op", OPS["cat"], parts, {"dim": dim}, (like(x.shape, x.dtype),))[0]
    return x  # type: ignore[no-any-return]


def _slice(p: Any, x: Value, dim: int, start: int, stop: int) -> Value:
    key: Any = (*(slice(None),) * dim, slice(start, stop), ...)
    found: Value = p.op("getitem", x, like(x.shape, x.dtype)[key], index=key)
    return found


def _triangle(lower: bool) -> Rule:
    def rule(p: Any, node: Node, inputs: tuple) -> Found:
        (x,), out = inputs, node.outputs[0]
        if x.dtype not in KINDS or math.prod(x.shape[-2:]) > MOST_CONSTANT or not x.size:
            return None
        rows, columns = x.shape[-2:]
        kept = np.tri(rows, columns, node.params["diagonal"] - (not lower), bool)
        zero = _constant(p, np.zeros((), x.dtype))
        mask = _constant(p, kept if lower else ~kept)
        found: Value = p.op_of("where", (mask, x, zero), out)
        return found

    return rule


def _pad(p: Any, node: Node, inputs: tuple) -> Found:
    """A constant, written over inside."""
    (x,), out, value = inputs, node.outputs[0], node.params["value"]
    pairs = ((0, 0),) * (len(x.shape) - len(node.params["pairs"])) + node.params["pairs"]
    if not x.size or not out.size:
        return None
    for dim, (before, after) in enumerate(pairs):
        if min(before, after) < 0:
            x = _slice(p, x, dim, max(-before, 0), x.shape[dim] - max(-after, 0))
    if x.shape == out.shape:
        return x  # type: ignore[no-any-return]
    pairs = [(max(before, 0), max(after, 0)) for before, after in pairs]
    key = (*[slice(before, before + n) for (before, _), n in zip(pairs, x.shape)], ...)
    if not value:
        found: Value = p.op("place", x, out, shape=out.shape, index=key)
        return found
    if out.size > MOST_CONSTANT:
        return None
    base = _constant(p, np.full(out.shape, value, out.dtype))
    chain = ((OPS["getitem"], {"index": key}, 0),)
    written: Value = p.add("write", None, (base, x), {"chain": chain}, (out,))[0]
    return written


def _trace(p: Any, node: Node, inputs: tuple) -> Found:
    """The sum of a diagonal of integers."""
    (x,), out = inputs, node.outputs[0]
    count = min(x.shape)
    if not count or x.dtype not in KINDS or x.dtype.kind not in "bi":
        return None
    diagonal = p.op("diagonal", x, like((count,), x.dtype), offset=0, dim1=0, dim2=1)
    return reduced(p, "sum", cast(p, diagonal, int64), (0,), out)


def _embed(p: Any, node: Node, inputs: tuple) -> Found:
    """A diagonal in zeros."""
    out = node.outputs[0]
    found: Value = p.op("diagonal_backward", inputs[0], out, shape=out.shape, **node.params)
    return found


def _turn(p: Any, node: Node, inputs: tuple) -> Found:
    """A quarter turn as a reversal and a transposition."""
    (x,), k, dims = inputs, node.params["k"] % 4, node.params["dims"]
    if not k:
        return None
    reversed_ = tuple(dims) if k == 2 else (dims[1] if k == 1 else dims[0],)
    found: Value = p.op("flip", x, like(x.shape, x.dtype), dims=reversed_)
    if k == 2:
        return found
    found = p.op("transpose", found, like(node.outputs[0].shape, x.dtype), dim0=dims[0],
                 dim1=dims[1])
    return found


# Indices.

INDEXED = ("index", "index_put", "index_backward", "index_select", "index_add", "index_copy",
           "index_fill", "embedding", "embedding_backward", "gather", "scatter", "scatter_add",
           "scatter_value")


def in_int64(p: Any, x: Value) -> Value:
    """An index in int64, which chores read."""
    return cast(p, x, int64) if x.dtype in (np.int32,) else x


def _indexed(p: Any, node: Node, inputs: tuple) -> Found:
    first = 2 if node.name == "index_put" else 1
    found = _masked(p, node, inputs)
    if found is not None:
        return found
    wide = [in_int64(p, x) if at >= first and type(x) is Value and x.dtype.kind == "i" and (
        _is_index(node, at)) else x for at, x in enumerate(inputs)]
    if all([a is b for a, b in zip(wide, inputs)]):
        return None
    made: Value = p.add(node.kind, node.op, wide, node.params, node.outputs)[0]
    return made


def _is_index(node: Node, at: int) -> bool:
    """Whether an operand is an index: of some operators the last one is a value."""
    assert node.op is not None
    return node.op.inputs[at].startswith("index")


def _masked(p: Any, node: Node, inputs: tuple) -> Found:
    """One value where a mask holds is a choice."""
    if node.name != "index_put" or node.params["accumulate"]:
        return None
    x, value, mask = inputs[:3]
    if len(node.params["dims"]) > 1 or mask.dtype.kind != "b" or node.params["dims"] != (0,):
        return None
    if value.size != 1 or value.dtype != x.dtype or x.dtype not in KINDS or not x.size:
        return None
    value = value if not value.shape else viewed(p, densified(p, value), ())
    shape = (*mask.shape, *(1,) * (len(x.shape) - len(mask.shape)))
    if shape != mask.shape:
        mask = viewed(p, densified(p, mask), shape)
    found: Value = p.op_of("where", (mask, value, x), node.outputs[0])
    return found


RULES: dict[str, Rule] = {
    "sum": _sum, "sum_all": _sum, "mean": _plain("mean"), "mean_all": _mean_all,
    "amax": _plain("amax"), "amin": _plain("amin"), "max_all": _plain("amax"),
    "min_all": _plain("amin"), "aminmax": _both_extremes, "any": _holds("amax"),
    "all": _holds("amin"), "count_nonzero": _count, "repeat": _repeat, "roll": _roll,
    "tril": _triangle(True), "triu": _triangle(False), "constant_pad_nd": _pad,
    "sort": _ordered, "topk": _ordered, "cumsum": _scanned, "cumprod": _scanned,
    "diag_embed": _embed, "trace": _trace, "rot90": _turn, **dict.fromkeys(INDEXED, _indexed)}
