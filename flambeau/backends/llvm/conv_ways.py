"""Which way a convolution is computed, Winograd's or by its definition: measured after a few uses.

Both have the arguments and results of `conv`. Winograd's way is taken until then, since most hosts
are faster by it; it leaves to the definition what it would not compute as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends.llvm import conv, measured, winograd
from flambeau.backends.llvm.conv import Geometry
from flambeau.backends.threads import get_num_threads

__all__ = ["forward", "input_gradient", "weight_gradient"]

# Uses of about the same convolution before it is measured.
PATIENCE = 4
_uses: Counter[str] = Counter()


def forward(x: np.ndarray, w: np.ndarray, geo: Geometry,
            bias: np.ndarray | None = None) -> np.ndarray:
    """`conv.forward`."""
    return _by_the_faster("forward", (w.shape[1], w.shape[0]), x, w, geo, bias)


def input_gradient(g: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray:
    """`conv.input_gradient`."""
    return _by_the_faster("input_gradient", (w.shape[0], w.shape[1]), g, w, geo)


def weight_gradient(g: np.ndarray, x: np.ndarray, geo: Geometry) -> np.ndarray:
    """`conv.weight_gradient`."""
    return _by_the_faster("weight_gradient", (x.shape[1], g.shape[1]), g, x, geo)


def _by_the_faster(name: str, channels: tuple[int, int], a: np.ndarray, b: np.ndarray,
                   geo: Geometry, *more: Any) -> np.ndarray:
    """`channels` are those of the source and of the result."""
    defined: Callable[..., np.ndarray] = getattr(conv, name)
    if not winograd.fits(geo, a.shape[0], *channels):
        return defined(a, b, geo, *more)
    tiled: Callable[..., np.ndarray | None] = getattr(winograd, name)
    asked = _question(name, channels, a, geo)
    way = measured.known(asked)
    if way is None:
        _uses[asked] += 1
        if _uses[asked] > PATIENCE:
            way = measured.fastest(asked, {"winograd": lambda: tiled(a, b, geo, *more),
                                           "definition": lambda: defined(a, b, geo, *more)})
    found = None if way == "definition" else tiled(a, b, geo, *more)
    return defined(a, b, geo, *more) if found is None else found


def _question(name: str, channels: tuple[int, int], a: np.ndarray, geo: Geometry) -> str:
    """What is asked of the measurements: convolutions of about these sizes."""
    sizes = [size.bit_length() for size in (a.shape[0], *channels, *geo.out[1:])]
    return f"convolution 3x3 {name} {a.dtype.char} {sizes} {get_num_threads()}"
