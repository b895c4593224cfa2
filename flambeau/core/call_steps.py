"""Operators whose forwards are not made of NumPy's loops, as steps of a plan.

Each gives, of values that stand in for arrays, the bits that the operator's forward gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends.replay_plan import Refused, Value
from flambeau.core.window_steps import WINDOW_STEPS

__all__ = ["STEPS"]

# Rows of more items are sorted sooner in other ways.
MOST_SORTED = 64


def _gather(a: Value, index: Value, dim: int) -> Value:
    return a.writer.along(a, index, dim)


def _line(index: Value, like: Value, dim: int, size: int) -> Value:
    """An index of positions along ``dim`` as one over all of ``like``."""
    line = index.reshape([-1 if at == dim else 1 for at in range(like.ndim)])
    shape = [size if at == dim else n for at, n in enumerate(like.shape)]
    return line.viewed(np.broadcast_to, shape)


def _index_select(a: Value, index: Value, dim: int) -> Value:
    if not a.ndim:
        raise Refused
    return a.writer.along(a, _line(index, a, dim, index.size), dim)


def _rows(weight: Value, index: Value, **settings: Any) -> Value:
    found = _index_select(weight, index, 0)
    return found.reshape((*index.shape, *weight.shape[1:]))


def _part(source: Value, index: Value) -> Value:
    if source.ndim != index.ndim or not source.ndim:
        raise Refused
    return source[tuple([slice(n) for n in index.shape])]


def _scatter(a: Value, index: Value, source: Value, dim: int) -> Value:
    out = a.copy()
    a.writer.put_along(f"put{a.itemsize}", out, index, _part(source, index), dim)
    return out


def _scatter_add(a: Value, index: Value, source: Value, dim: int) -> Value:
    if a.dtype.char not in "fd":
        raise Refused
    out = a.copy()
    a.writer.put_along(f"add{a.dtype.char}", out, index, _part(source, index), dim)
    return out


def _index_add(a: Value, index: Value, source: Value, dim: int, alpha: Any) -> Value:
    if alpha != 1 or not a.ndim:
        raise Refused
    return _scatter_add(a, _line(index, source, dim, index.size), source, dim)


def _index_copy(a: Value, index: Value, source: Value, dim: int) -> Value:
    if not a.ndim:
        raise Refused
    return _scatter(a, _line(index, source, dim, index.size), source, dim)


def _sort(a: Value, dim: int, descending: bool) -> tuple[Value, Value]:
    return _topk(a, dim, a.shape[dim] if a.ndim else 0, descending)


def _topk(a: Value, dim: int, k: int, largest: bool) -> tuple[Value, Value]:
    n = a.shape[dim] if a.ndim else 0
    # of many items a few are found by partition, which takes equal ones in another order
    if not k or n > MOST_SORTED or n == MOST_SORTED and 8 * k <= n:
        raise Refused
    return a.writer.of_rows(f"first_{'down' if largest else 'up'}", a, dim, k, k)


def _extreme(way: str) -> Callable:
    def find(a: Value, dim: int, keepdim: bool) -> tuple[Value, Value]:
        if not a.ndim:
            raise Refused
        values, places = a.writer.of_rows(f"best_{way}", a, dim, 1)
        if keepdim:
            return values, places
        return values.squeeze(dim), places.squeeze(dim)

    return find


def _cat(*parts: Value, dim: int) -> Value:
    return parts[0].writer.joined(parts, dim % max(parts[0].ndim, 1))


def _stack(*parts: Value, dim: int) -> Value:
    return _cat(*[p.viewed(np.expand_dims, dim) for p in parts], dim=dim)


def _product(a: Value, b: Value) -> Value:
    return a.writer.product(a, b)


def _triangle(keep: Callable) -> Callable:
    def find(a: Value, diagonal: int) -> Value:
        mask = a.writer.constant(keep(np.ones(a.shape[-2:], bool), diagonal))
        return a.writer.choice(mask, a, 0 if a.dtype.kind == "i" else 0.0)

    return find


def _roll(a: Value, shifts: Any, dims: Any) -> Value:
    pairs = [(shifts, dims)] if isinstance(dims, int) else list(zip(shifts, dims, strict=True))
    for shift, dim in pairs:
        lead, cut = (slice(None),) * dim, -shift % a.shape[dim]
        parts = a[(*lead, slice(cut, None))], a[(*lead, slice(cut))]
        a = a.writer.joined(parts, dim)
    if not pairs:
        raise Refused
    return a


def _take(a: Value, index: Value) -> Value:
    return a.writer.along(a.reshape(-1), index.reshape(-1), 0).reshape(index.shape)


def _where(mask: Value, first: Any, second: Any) -> Value:
    return mask.writer.choice(mask, first, second)


STEPS: dict[str, Callable] = {
    "bmm": _product, "matmul": _product, "cat": _cat,
    "clone": lambda a, memory_format=None: a.copy(),
    "embedding": _rows, "flip": lambda a, dims: a.viewed(np.flip, dims).copy(), "gather": _gather,
    "index_add": _index_add, "index_copy": _index_copy, "index_select": _index_select,
    "vdot": lambda a, b: a.dot(b), "max_dim": _extreme("up"), "min_dim": _extreme("down"),
    "masked_fill": lambda a, mask, value: a.writer.choice(mask, value, a),
    "to_dtype": lambda a, dtype: a.astype(dtype.np),
    "scatter": _scatter, "scatter_add": _scatter_add,
    "roll": _roll, "take": _take, "tril": _triangle(np.tril), "triu": _triangle(np.triu),
    "sort": _sort, "stack": _stack, "topk": _topk, "where": _where, **WINDOW_STEPS}
