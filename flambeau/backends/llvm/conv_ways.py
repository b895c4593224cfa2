"""Which way a convolution is computed: several fit, and the faster is measured after a few uses.

Winograd's way is taken until then where it fits, as most hosts are faster by it, else that with
channels in the lanes of vectors, else `conv`, which computes them all. What Winograd's way would
not compute as well is left to the next.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends.llvm import channel_conv, conv, measured, winograd
from flambeau.backends.llvm.conv import Geometry
from flambeau.backends.threads import get_num_threads

__all__ = ["forward", "input_gradient", "weight_gradient"]

# Uses of about the same convolution before it is measured.
PATIENCE = 4
_uses: Counter[str] = Counter()
Way = Callable[..., "np.ndarray | None"]


def forward(x: np.ndarray, w: np.ndarray, geo: Geometry,
            bias: np.ndarray | None = None) -> np.ndarray:
    """`conv.forward`."""
    return _by_the_fastest("forward", (w.shape[1], w.shape[0]), x, w, geo, bias)


def input_gradient(g: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray:
    """`conv.input_gradient`."""
    return _by_the_fastest("input_gradient", (w.shape[0], w.shape[1]), g, w, geo)


def weight_gradient(g: np.ndarray, x: np.ndarray, geo: Geometry) -> np.ndarray:
    """`conv.weight_gradient`."""
    return _by_the_fastest("weight_gradient", (x.shape[1], g.shape[1]), g, x, geo)


def _by_the_fastest(name: str, channels: tuple[int, int], a: np.ndarray, b: np.ndarray,
                    geo: Geometry, *more: Any) -> np.ndarray:
    """`channels` are those of the source and of the result."""
    ways = _ways(name, channels, a.shape[0], geo)
    if len(ways) > 1:
        first = _chosen(name, channels, ways, a, b, geo, *more)
        found = ways.pop(first)(a, b, geo, *more)
        if found is not None:
            return found
    for way in ways.values():
        found = way(a, b, geo, *more)
        if found is not None:
            return found
    raise AssertionError("the last way computes every convolution")


def _ways(name: str, channels: tuple[int, int], images: int, geo: Geometry) -> dict[str, Way]:
    """The ways that fit, the likeliest to be fast first."""
    ways: dict[str, Way] = {}
    if winograd.fits(geo, images, *channels):
        ways["winograd"] = getattr(winograd, name)
    if name != "weight_gradient" and channel_conv.fits(geo, *channels):
        ways["channels"] = getattr(channel_conv, name)
    ways["planes"] = getattr(conv, name)
    return ways


def _chosen(name: str, channels: tuple[int, int], ways: dict[str, Way], a: np.ndarray,
            b: np.ndarray, geo: Geometry, *more: Any) -> str:
    asked = _question(name, a.dtype.char, (a.shape[0], *channels), geo, get_num_threads())
    way = measured.known(asked)
    if way is None:
        _uses[asked] += 1
        if _uses[asked] > PATIENCE:
            trials = {key: _trial(run, a, b, geo, *more) for key, run in ways.items()}
            way = measured.fastest(asked, trials)
    return way if way in ways else next(iter(ways))


def _trial(run: Way, *arguments: Any) -> Callable[[], Any]:
    return lambda: run(*arguments)


@functools.lru_cache(maxsize=512)
def _question(name: str, kind: str, counts: tuple[int, int, int], geo: Geometry,
              thread_count: int) -> str:
    """What is asked of the measurements: convolutions of about these sizes.

    `counts` are the images, and the channels of the source and of the result.
    """
    sizes = [size.bit_length() for size in (*counts, *geo.out[1:])]
    windows = [*geo.kernel[1:], *geo.stride[1:], *geo.dilation[1:]]
    return f"convolution {name} {kind} {windows} {sizes} {thread_count}"
