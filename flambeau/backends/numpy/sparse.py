"""Sparse arrays as coordinates and elements: sorting, merging, products, softmax."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

__all__ = ["coalesce", "dense", "expand_pointers", "keys_of", "matches", "merge", "pointers",
           "sparse_dense", "sparse_sparse", "unravel"]

ndarray = np.ndarray
# How many products of a row's elements are held at once.
CHUNK = 1 << 20


def keys_of(indices: ndarray, sizes: Sequence[int]) -> ndarray:
    """The place of each column of ``indices`` in the flattened array."""
    keys = np.zeros(indices.shape[1], np.int64)
    for d in range(indices.shape[0]):
        keys *= sizes[d]
        keys += indices[d]
    return keys


def unravel(keys: ndarray, sizes: Sequence[int]) -> ndarray:
    """The coordinates (dimensions, elements) of places in the flattened array."""
    out = np.empty((len(sizes), keys.size), np.int64)
    for d in reversed(range(len(sizes))):
        keys, out[d] = np.divmod(keys, max(sizes[d], 1))
    return out


def add_runs(values: ndarray, starts: ndarray) -> ndarray:
    """The sums of the runs of ``values`` that begin at ``starts``; booleans are or-ed."""
    if not starts.size:
        return values[:0]
    ufunc = np.logical_or if values.dtype.kind == "b" else np.add
    return ufunc.reduceat(values, starts, axis=0).astype(values.dtype, copy=False)


def runs_of(keys: ndarray) -> ndarray:
    """Where runs of equal keys begin."""
    if not keys.size:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))


def coalesce(indices: ndarray, values: ndarray,
             sizes: Sequence[int]) -> tuple[ndarray, ndarray]:
    """Coordinates in order, each once, and the sums of the elements that shared them."""
    if not indices.shape[0]:
        starts = np.zeros(min(values.shape[0], 1), np.int64)
        return indices[:, :1], add_runs(values, starts)
    keys = keys_of(indices, sizes)
    order = np.argsort(keys, kind="stable")
    starts = runs_of(keys[order])
    return np.ascontiguousarray(indices[:, order[starts]]), add_runs(values[order], starts)


def dense(indices: ndarray, values: ndarray, sizes: Sequence[int], unique: bool) -> ndarray:
    """The whole array; elements of one place are added unless they are ``unique``."""
    if not unique:
        indices, values = coalesce(indices, values, sizes)
    out = np.zeros(sizes, values.dtype)
    if indices.shape[0]:
        out[tuple(indices)] = values
    elif values.shape[0]:
        out[...] = values[0]
    return out


def matches(wanted: ndarray, keys: ndarray) -> tuple[ndarray, ndarray]:
    """Per key in ``wanted`` its place in ``keys``, sorted and unique, and whether it is there."""
    if not keys.size:
        return np.zeros(wanted.size, np.int64), np.zeros(wanted.size, np.bool_)
    at = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
    return at, keys[at] == wanted


def merge(one: ndarray, two: ndarray) -> tuple[ndarray, ndarray]:
    """How two lists of keys merge: per result the places in each, -1 where it has none.

    The smaller head goes first and equal heads go together, whether the lists are sorted or not.
    """
    if one.size == two.size and np.array_equal(one, two):
        every = np.arange(one.size)
        return every, every
    a, b = one.tolist(), two.tolist()
    first, second = [], []
    i = j = 0
    while i < len(a) and j < len(b):
        x, y = a[i], b[j]
        first.append(i if x <= y else -1)
        second.append(j if y <= x else -1)
        i += x <= y
        j += y <= x
    first += [*range(i, len(a)), *[-1] * (len(b) - j)]
    second += [*[-1] * (len(a) - i), *range(j, len(b))]
    return np.array(first, np.int64), np.array(second, np.int64)


def pointers(rows: ndarray, count: int) -> ndarray:
    """Where each of ``count`` rows begins among elements sorted by row, and where the last ends."""
    out = np.zeros(count + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=count), out=out[1:])
    return out


def expand_pointers(pointer: ndarray) -> ndarray:
    """The row of each element."""
    return np.repeat(np.arange(pointer.size - 1), np.diff(pointer))


def sparse_dense(rows: ndarray, columns: ndarray, values: ndarray, count: int,
                 right: ndarray) -> ndarray:
    """The product of a sparse matrix of ``count`` rows and a dense one."""
    out = np.zeros((count, right.shape[1]), right.dtype)
    if rows.size > 1 and (rows[1:] < rows[:-1]).any():
        order = np.argsort(rows, kind="stable")
        rows, columns, values = rows[order], columns[order], values[order]
    starts = runs_of(rows)
    if not starts.size or not right.shape[1]:
        return out
    edges = np.append(starts, rows.size)
    step = max(1, CHUNK // right.shape[1])
    at = 0
    while at < starts.size:
        last = max(at + 1, int(np.searchsorted(edges, edges[at] + step, "right")) - 1)
        last = min(last, starts.size)
        part = slice(edges[at], edges[last])
        products = values[part, None] * right[columns[part]]
        out[rows[starts[at:last]]] = np.add.reduceat(products, starts[at:last] - edges[at], axis=0)
        at = last
    return out


def sparse_sparse(a: tuple[ndarray, ndarray], b: tuple[ndarray, ndarray],
                  sizes: tuple[int, int, int]) -> tuple[ndarray, ndarray]:
    """The product of two sparse matrices (n, m) and (m, p): coordinates and elements, coalesced.

    Each is a pair (indices, values), the second sorted by row.
    """
    (left, x), (right, y) = a, b
    begin = pointers(right[0], sizes[1])
    lengths = np.diff(begin)[left[1]]
    which = np.repeat(np.arange(left.shape[1]), lengths)
    offset = np.arange(which.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    other = begin[left[1]][which] + offset
    indices = np.stack([left[0][which], right[1][other]])
    return coalesce(indices, x[which] * y[other], (sizes[0], sizes[2]))


def softmax(keys: ndarray, values: ndarray, logarithm: bool) -> ndarray:
    """Softmax of the elements that share a key, or its logarithm; elements may be arrays."""
    order = np.argsort(keys, kind="stable")
    starts = runs_of(keys[order])
    x = values[order]
    counts = np.diff(np.append(starts, keys.size))
    if not x.size:
        return values.copy()
    x = x - np.repeat(np.maximum.reduceat(x, starts, axis=0), counts, axis=0)
    e = np.exp(x)
    total = np.repeat(np.add.reduceat(e, starts, axis=0), counts, axis=0)
    out = np.empty_like(values)
    out[order] = x - np.log(total) if logarithm else e / total
    return out


def count_places(sizes: Sequence[int]) -> int:
    """How many places an array of these sizes has."""
    return prod(sizes)
