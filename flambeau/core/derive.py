"""Derivatives of a Python function of tensors, by running it on stand-ins for its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.core import engine
from flambeau.core.dispatch import TRANSFORMS, apply, edge_of
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor, wrap

__all__ = ["stand_in", "vjp_of"]

ndarray = np.ndarray


def stand_in(t: Tensor, create_graph: bool) -> Tensor:
    """A tensor of the same data to differentiate by; with ``create_graph`` its history goes on."""
    if create_graph and t._node is not None:
        return apply(OPS["alias"], (t,), {})
    fresh = wrap(t._a)
    fresh._v = t._v
    fresh._node = LEAF
    return fresh


def vjp_of(function: Callable, inputs: Sequence[Any], needs: Sequence[bool], g: Any,
           multiple: bool = False) -> list:
    """Gradients of ``function(*inputs)`` weighted by ``g``, for the inputs that need one.

    Called in a backward pass: where that is recorded, so is this.
    """
    before = MODES.grad
    gs = g if multiple else (g,)
    given = [t for t in (*inputs, *gs) if isinstance(t, Tensor)]
    if any(type(t._a) is not ndarray and t._a.level >= 1 for t in given):
        return TRANSFORMS.vjp(function, inputs, needs, gs, multiple)
    create_graph = before and any(t._node is not None for t in given)
    MODES.grad = True
    try:
        stands = [stand_in(t, create_graph) if need else t for t, need in zip(inputs, needs)]
        out = function(*stands)
    finally:
        MODES.grad = before
    outs = out if multiple else (out,)
    roots = [(edge_of(o), gi) for o, gi in zip(outs, gs) if o._node is not None and gi is not None]
    wanted = [edge_of(s) for s, need in zip(stands, needs) if need]
    found = iter(engine.run(roots, create_graph, create_graph, wanted, accumulate=False))
    return [next(found) if need else None for need in needs]
