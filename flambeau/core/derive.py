"""Derivatives of a Python function of tensors, by running it on stand-ins for its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.core import engine
from flambeau.core.dispatch import apply, edge_of
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor, wrap

__all__ = ["stand_in", "vjp_of"]


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
    create_graph = MODES.grad
    MODES.grad = True
    try:
        stands = [stand_in(t, create_graph) if need else t for t, need in zip(inputs, needs)]
        out = function(*stands)
    finally:
        MODES.grad = create_graph
    outs, gs = (out, g) if multiple else ((out,), (g,))
    roots = [(edge_of(o), gi) for o, gi in zip(outs, gs) if o._node is not None and gi is not None]
    wanted = [edge_of(s) for s, need in zip(stands, needs) if need]
    found = iter(engine.run(roots, create_graph, create_graph, wanted, accumulate=False))
    return [next(found) if need else None for need in needs]
