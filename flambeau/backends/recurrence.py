"""Recurrent layers over large sequences: generated kernels, or False to say "use NumPy"."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import large
from flambeau.backends.threads import get_num_threads

__all__ = ["run"]

# Gates that were computed so far: a program that computes many gets kernels for small layers too.
PATIENCE = 1 << 16
LEAST_STEPS = 2
_asked = 0


def run(name: str, arrays: dict[str, np.ndarray], weight: np.ndarray,
        steps: Sequence[tuple[int, int]], batch: int) -> bool:
    """Run the steps of a recurrent layer in place by one kernel; whether it was done.

    ``name`` and ``arrays`` are those of ``flambeau.backends.llvm.recurrent``.
    """
    global _asked
    gates = arrays["gates"]
    if len(steps) < LEAST_STEPS or gates.dtype not in (np.float32, np.float64):
        return False
    _asked += gates.size
    if _asked < PATIENCE or not batch or not large.available():
        return False
    kernels = _kernels()
    table = np.array(steps, np.int64)
    kernels.run(name, arrays, weight, table, batch, get_num_threads())
    return True


@functools.cache
def _kernels() -> Any:
    # llvmlite takes 30 ms to import, and may be absent
    from flambeau.backends.llvm import recurrent

    return recurrent
