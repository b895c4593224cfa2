"""Sparse linear maps along one axis: interpolation, adaptive averages and index padding.

A map is a list of (output, input, weight) entries. Its transpose is the same list with outputs
and inputs exchanged, so one code runs both ways.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import map_kernels
from flambeau.backends.numpy.windows import slices, widen

# Bytes mapped at a time, to stay in cache.
BLOCK_BYTES = 1 << 18


class Tap(NamedTuple):
    """One entry per output: outputs[..., out] += weight * inputs[..., source]."""

    out: np.ndarray | None  # None: every output, in order
    source: np.ndarray
    weight: np.ndarray | None  # None: all ones


class AxisMap:
    """A linear map from an axis of `inputs` cells to one of `outputs` cells."""

    def __init__(
        self,
        outputs: int,
        inputs: int,
        out: np.ndarray,
        source: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> None:
        self.outputs = outputs
        self.inputs = inputs
        self.entries = (out, source, weight)
        self.taps = _taps(outputs, out, source, weight)
        self._kept: dict[tuple, Any] = {}

    def kept(self, dtype: np.dtype, rows: bool, make: Callable) -> Any:
        """``make(self, dtype, rows)``, made once."""
        found = self._kept.get((dtype, rows))
        if found is None:
            found = self._kept[dtype, rows] = make(self, dtype, rows)
        return found

    @cached_property
    def transposed(self) -> "AxisMap":
        """The map from outputs back to inputs."""
        out, source, weight = self.entries
        return AxisMap(self.inputs, self.outputs, source, out, weight)

    def apply(self, x: np.ndarray, axis: int) -> np.ndarray:
        """Map one axis of x. Computed in x's dtype."""
        total = None
        for tap in self.taps:
            part = x.take(tap.source, axis)
            if tap.weight is not None:
                shape = [1] * x.ndim
                shape[axis] = -1
                part *= tap.weight.reshape(shape).astype(part.real.dtype, copy=False)
            if total is None and tap.out is None:
                total = part
                continue
            if total is None:
                total = self._zeros(x, axis)
            if tap.out is None:
                total += part
            else:
                total[(slice(None),) * axis + (tap.out,)] += part
        return self._zeros(x, axis) if total is None else total

    def _zeros(self, x: np.ndarray, axis: int) -> np.ndarray:
        return np.zeros((*x.shape[:axis], self.outputs, *x.shape[axis + 1 :]), x.dtype)


def _taps(
    outputs: int, out: np.ndarray, source: np.ndarray, weight: np.ndarray | None
) -> list[Tap]:
    """The entries sorted into taps that meet each output at most once."""
    order = np.argsort(out, kind="stable")
    out, source = out[order], source[order]
    weight = None if weight is None else weight[order]
    counts = np.bincount(out, minlength=outputs)
    rank = np.arange(out.size) - np.repeat(np.cumsum(counts) - counts, counts)
    taps = []
    for r in range(int(counts.max(initial=0))):
        chosen = rank == r
        every = int(chosen.sum()) == outputs
        factor = None if weight is None else weight[chosen]
        taps.append(Tap(None if every else out[chosen], source[chosen], factor))
    return taps


def in_order(maps: Sequence[AxisMap | None]) -> list[tuple[int, AxisMap]]:
    """The maps that there are and their numbers, those that shrink an axis the most first."""
    work = [(i, m) for i, m in enumerate(maps) if m]
    return sorted(work, key=lambda item: item[1].outputs / max(item[1].inputs, 1))


def apply_maps(x: np.ndarray, maps: Sequence[AxisMap | None]) -> np.ndarray:
    """Map the last len(maps) axes of x (None leaves an axis alone), shrinking axes first.

    The half types are computed in float32 and rounded once. Always a new array.
    """
    lead = x.shape[: x.ndim - len(maps)]
    size = x.shape[len(lead) :]
    work = in_order(maps)
    found = map_kernels.apply_maps(x, [(len(lead) + i, m) for i, m in work])
    if found is not None:
        return found
    flat = x.reshape(prod(lead), *size)
    sizes = [m.outputs if m else n for m, n in zip(maps, size, strict=True)]
    out = np.empty((flat.shape[0], *sizes), x.dtype)
    row_bytes = max(prod(size), prod(sizes), 1) * x.itemsize
    for block in slices(flat.shape[0], max(BLOCK_BYTES // row_bytes, 1)):
        part = widen(flat[block])
        for axis, axis_map in work:
            part = axis_map.apply(part, axis + 1)
        out[block] = part
    return out.reshape(*lead, *sizes)


def apply_transposed(g: np.ndarray, maps: Sequence[AxisMap | None]) -> np.ndarray:
    """The transpose of apply_maps."""
    return apply_maps(g, [m.transposed if m else None for m in maps])
