"""Adding values at positions that may repeat."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["add_at"]


def add_at(out: np.ndarray, key: Any, values: np.ndarray) -> None:
    """``out[key] += values``, where a position that occurs twice is added to twice, in order."""
    key = key if isinstance(key, tuple) else (key,)
    only = key[0]
    rows = len(key) == 1 and only.dtype.kind in "iu" and out.flags.c_contiguous
    if not rows:
        np.add.at(out, key, values)
        return
    # NumPy adds fastest at the positions of a flat array.
    width = math.prod(out.shape[1:])
    if width == 1:
        flat = only.ravel()
    else:
        flat = (only.reshape(-1, 1) * width + np.arange(width)).ravel()
    if flat.size and np.minimum.reduce(flat) < 0:
        flat = np.where(flat < 0, flat + out.size, flat)
    shape = (*only.shape, *out.shape[1:])
    spread = values if values.shape == shape else np.broadcast_to(values, shape)
    np.add.at(out.reshape(-1), flat, spread.reshape(-1))
