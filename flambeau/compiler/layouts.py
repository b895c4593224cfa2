"""How operands lie over the elements that a kernel walks, taken as a matrix of rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from flambeau.compiler.access import Access, dense

__all__ = ["Layout", "layouts_of"]


class Layout(NamedTuple):
    """A way to read an operand: "array", "scalar", "row" or "column", and the columns it needs.

    ``columns`` is 0 where any number will do.
    """

    name: str
    columns: int


def _is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    return all([n == 1 or s == d for n, s, d in zip(shape, strides, dense(shape))])


def _is_still(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    return all([n == 1 or s == 0 for n, s in zip(shape, strides)])


def layouts_of(a: Access) -> Sequence[Layout]:
    """The ways in which an access over the shape of a kernel's elements can be read."""
    return _layouts(a.shape, a.strides)


@functools.lru_cache(maxsize=1024)
def _layouts(shape: tuple[int, ...], strides: tuple[int, ...]) -> Sequence[Layout]:
    if _is_still(shape, strides):
        return (Layout("scalar", 0),)
    if _is_dense(shape, strides):
        return (Layout("array", 0),)
    found = []
    for k in range(1, len(shape)):
        columns = math.prod(shape[k:])
        if _is_still(shape[k:], strides[k:]) and _is_dense(shape[:k], strides[:k]):
            found.append(Layout("column", columns))
        elif _is_still(shape[:k], strides[:k]) and _is_dense(shape[k:], strides[k:]):
            found.append(Layout("row", columns))
    return tuple(dict.fromkeys(found))
