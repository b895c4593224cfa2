"""Sparse linear maps along axes of large arrays by kernels, or None to say "use NumPy"."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.backends import conversions, large

__all__ = ["apply_maps", "sums_of_rows"]

_F32 = np.dtype(np.float32)
_FLOATS = (np.float32, np.float64)
# What is gathered is named in so many bits.
_MOST_INPUTS = 1 << 31


def apply_maps(x: np.ndarray, work: Sequence[tuple[int, Any]]) -> np.ndarray | None:
    """Map axes of x, one after another: pairs of an axis and its `AxisMap`.

    A new dense array of x's dtype; half types are computed in float32 and rounded once. None where
    the array is small, or of another dtype.
    """
    narrow = x.dtype.name in conversions.HALVES
    sizes = [m.outputs / max(m.inputs, 1) for _, m in work]
    if max(x.size, int(x.size * prod(sizes))) < large.MIN_ITEMS or not x.size or not work:
        return None
    if not (narrow or x.dtype.type in _FLOATS) or large.load() is None:
        return None
    # with llvmlite, once kernels are there
    from flambeau.backends.llvm import axis_maps

    found = conversions.in_rows(conversions.astype(x, _F32) if narrow else x)
    if not found.flags.aligned:
        return None
    for axis, axis_map in work:
        shape = found.shape
        columns = prod(shape[axis + 1:])
        if shape[axis] >= _MOST_INPUTS or not axis_map.outputs:
            return None
        entries = axis_map.kept(found.dtype, columns > 1, _entries)
        found = axis_maps.run(found, prod(shape[:axis]), columns, entries)
        found = found.reshape(*shape[:axis], axis_map.outputs, *shape[axis + 1:])
    return conversions.astype(found, x.dtype) if narrow else found


def _entries(axis_map: Any, dtype: np.dtype, rows: bool) -> Any:
    """The entries of a map, for kernels of rows or of single items."""
    # as above
    from flambeau.backends.llvm import axis_maps

    out, source, weight = axis_map.entries
    order = np.argsort(out, kind="stable")
    source = source[order]
    weight = None if weight is None else weight[order].astype(dtype)
    counts = np.bincount(out, minlength=axis_map.outputs)
    starts = np.concatenate([[0], np.cumsum(counts)])
    most, least = int(counts.max()), int(counts.min())
    sizes = (axis_map.outputs, axis_map.inputs, most, least)
    if rows:
        return axis_maps.Entries(*sizes, starts, source, weight)
    places = (np.arange(out.size) - np.repeat(starts[:-1], counts), out[order])
    tables: list[Any] = []
    for values, held in ((source, np.int32), (weight, dtype)):
        table = None if values is None else np.zeros((most, axis_map.outputs), held)
        if table is not None:
            table[places] = values
        tables.append(table)
    return axis_maps.Entries(*sizes, counts.astype(np.int32), *tables)


def sums_of_rows(
    table: np.ndarray, index: np.ndarray, weights: np.ndarray, starts: np.ndarray
) -> np.ndarray | None:
    """Sums of rows of a matrix: those that `index` names, by their `weights`, from starts on.

    Output i has the entries from ``starts[i]`` to ``starts[i + 1]``, int64, in their order. All
    that `index` names is there. None where entries are few, or for other dtypes.
    """
    dtype, (rows, columns) = table.dtype, table.shape
    if index.size * columns < large.MIN_ITEMS or dtype.type not in _FLOATS:
        return None
    if weights.dtype != dtype or columns < 2 or large.load() is None:
        return None
    # as above
    from flambeau.backends.llvm import axis_maps

    index = index.astype(np.int64, copy=False)
    arrays = [conversions.in_rows(a) for a in (table, index, weights)]
    if not all([a.flags.aligned for a in arrays]):
        return None
    entries = axis_maps.Entries(len(starts) - 1, rows, 0, 0, starts, *arrays[1:])
    return axis_maps.run(arrays[0], 1, columns, entries).reshape(-1, columns)
