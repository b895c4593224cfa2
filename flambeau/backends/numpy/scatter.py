"""Adding values at positions that may repeat."""

from __future__ import annotations

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
    width = int(np.prod(out.shape[1:], dtype=np.int64))
    if width == 1:
        flat = only.ravel()
    else:
        flat = (only.reshape(-1, 1) * width + np.arange(width)).ravel()
    flat = np.where(flat < 0, flat + out.size, flat) if flat.size and flat.min() < 0 else flat
    spread = np.broadcast_to(values, (*only.shape, *out.shape[1:]))
    np.add.at(out.reshape(-1), flat, spread.ravel())
