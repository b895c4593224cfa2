"""Small arrays, for eager mode: NumPy, and generated code for what a program calls very often.

Generated code is loaded (llvmlite takes 30 ms) once NumPy has been called so often that a program
has run for longer than that. Both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import large
from flambeau.backends.numpy.total import ORDERED, total

__all__ = ["ORDERED", "mean_of", "note", "sum_of"]

# As many calls take about as long as loading llvmlite.
OFTEN = 5_000

_F32 = np.dtype(np.float32)
_calls = 0
_native: dict[np.dtype, Callable[[np.ndarray, np.ndarray, int], None]] = {}
# What runs plans of `backends.replay`, once it is loaded.
replay: Any = None


def sum_of(a: np.ndarray) -> np.ndarray:
    """The sum of a dense float32 or float64 array of 1 to ORDERED items, a 0-dim array.

    >>> sum_of(np.ones(3))
    array(3.)
    """
    if type(a) is not np.ndarray:
        return a.total(1)  # type: ignore[attr-defined]  # it stands for one
    native = _native.get(a.dtype)
    if native is not None:
        out = np.empty((), a.dtype)
        native(out, a, 1)
        return out
    note()
    return np.asarray(total(a))


def mean_of(a: np.ndarray) -> np.ndarray:
    """As ``sum_of``, divided by the number of items."""
    if type(a) is not np.ndarray:
        return a.total(a.size)  # type: ignore[attr-defined]
    native = _native.get(a.dtype)
    if native is not None:
        out = np.empty((), a.dtype)
        native(out, a, a.size)
        return out
    note()
    return np.asarray(total(a) / a.size)


def note(cost: int = 1) -> None:
    """Count a call that generated code would be quicker at, as so many."""
    global _calls
    before = _calls
    _calls = before + cost
    if before < OFTEN <= _calls:
        load()


def load() -> None:
    """Use generated code from now on, where there is any."""
    global replay
    if not large.available():
        return
    # llvmlite is slow to import, and may be absent
    from flambeau.backends.llvm.ordered_sum import ordered_sum
    from flambeau.backends.llvm.replay_text import replayer

    for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
        function: Any = ordered_sum(dtype is _F32)
        if function is not None:
            _native[dtype] = function
    replay = replayer()
