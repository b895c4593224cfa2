"""The text of tensors that have something else than an array inside."""

from __future__ import annotations

import textwrap

import numpy as np

from flambeau.core.levels import MANY_DIMS, SPARSE, TRACED, Batched, Dual
from flambeau.core.modes import MODES
from flambeau.core.printing import sparse_str, tensor_str
from flambeau.core.tensor import Tensor

__all__ = ["text_of"]

ndarray = np.ndarray


def text_of(t: Tensor) -> str:
    """What ``repr`` shows: of a tensor of a transform, its level and the value inside."""
    handle = t._a
    if type(handle) is ndarray:
        return tensor_str(t)
    if type(handle) is Dual and handle.eager:
        return tensor_str(handle.value, tangent=repr(handle.tangent))
    if handle.level == TRACED:
        return MODES.tracer.text_of(t)
    if handle.level == SPARSE:
        return sparse_str(t)
    if handle.level == MANY_DIMS:
        return f"{tensor_str(handle.value)[:-1]}, size={handle.shape})"
    inside = textwrap.indent(text_of(handle.value), "    ")
    if type(handle) is Batched:
        return f"BatchedTensor(lvl={handle.level}, bdim={handle.dim}, value=\n{inside}\n)"
    return f"GradTrackingTensor(lvl={handle.level}, value=\n{inside}\n)"
