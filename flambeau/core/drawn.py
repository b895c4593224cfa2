"""Random numbers for whoever draws them: a plain program, a trace, or a batch of vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.core.levels import BATCHES, Batched, standing
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap

__all__ = ["filled", "random_batch"]

ndarray = np.ndarray


def filled(array: ndarray, draw: Callable[[ndarray], None]) -> Any:
    """``array`` filled with random numbers by ``draw``; a stand-in for it while tracing."""
    if MODES.tracer is not None:
        return MODES.tracer.draw(array, draw)
    draw(array)
    return array


def random_batch(array: ndarray, draw: Callable[[ndarray], None]) -> Tensor:
    """Random numbers of the shape of ``array`` inside vmap: one set for the batch, or one each."""
    shape = array.shape
    own = []
    for level in sorted(BATCHES.sizes):
        size, randomness = BATCHES.sizes[level]
        if randomness == "error":
            raise RuntimeError("vmap: called random operation while in randomness error mode. "
                               "Please either use the 'same' or 'different' randomness flags on "
                               "vmap or perform the randomness operation out of vmap")
        if randomness == "different":
            own.append(level)
    whole = np.empty((*[BATCHES.sizes[n][0] for n in own], *shape), np.dtype(array.dtype.type))
    t = wrap(filled(whole, draw))
    for level in reversed(own):
        t = standing(Batched(level, t, len(own) - 1 - own[::-1].index(level)))
    return t
