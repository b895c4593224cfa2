"""Results of a step that are views: of what it made, or of a tensor from outside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from flambeau.core.dispatch import apply
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor
from flambeau.ops.copy import detach

__all__ = ["Layout", "layout_in", "seen_through", "viewed"]

ndarray = np.ndarray


class Layout(NamedTuple):
    """Where a view is in the array that it is one of: what `numpy.ndarray` takes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    strides: tuple[int, ...]


def viewed(a: ndarray, chain: Iterable[tuple]) -> ndarray:
    """The array that views, one of the other, show of ``a``."""
    for op, params, nr in chain:
        a = op.forward(a, **params)
        a = a[nr] if op.multiple else a
    return a


def seen_through(t: Tensor, chain: Iterable[tuple], seen: dict[tuple, tuple]) -> Tensor:
    """The same of a tensor, with its history.

    ``seen`` keeps what operators with several results gave, for the others of these.
    """
    found: Any = t
    path: tuple = (id(t),)
    for op, params, nr in chain:
        path = (*path, id(params), nr)
        if op.multiple:
            key = path[:-1]
            if key not in seen:
                seen[key] = apply(op, (found,), params)
            found = seen[key][nr]
        else:
            found = detach(found) if op is OPS["detach"] else apply(op, (found,), params)
    return found


def layout_in(shape: tuple[int, ...], dtype: np.dtype, strides: tuple[int, ...],
              chain: Iterable[tuple]) -> Layout | None:
    """Where views are in a new array of this shape, dtype and strides.

    None where they are none, or the array is not dense.
    """
    whole = np.empty(shape, dtype)
    if not whole.size or whole.strides != strides:
        return None
    a = viewed(whole, chain)
    if type(a) is not ndarray or not a.flags.writeable or not np.may_share_memory(a, whole):
        return None
    start, at = (x.__array_interface__["data"][0] for x in (whole, a))
    return Layout(a.shape, a.dtype, at - start, a.strides)
