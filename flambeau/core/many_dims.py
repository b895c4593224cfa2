"""Tensors of more than 64 dimensions, which NumPy has no arrays for: they only change shape."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.dispatch import TRANSFORMS, apply, finish
from flambeau.core.levels import MANY_DIMS, RULES, Handle
from flambeau.core.op import OPS, Op
from flambeau.core.tensor import Tensor, wrap

__all__ = ["MOST", "ManyDims", "in_many_dims"]

MOST = 64  # dimensions that an array can have
TOO_MANY = ("only tensors with up to 64 dims are supported\n\n  NumPy's arrays have no more: "
            "flatten() the tensor, or squeeze() dimensions of size 1.")


class ManyDims(Handle):
    """The elements in a row, ``value``, and the shape they have."""

    __slots__ = ("sizes",)

    def __init__(self, value: np.ndarray, sizes: Sequence[int]) -> None:
        super().__init__(MANY_DIMS, wrap(value))
        self.sizes = tuple(sizes)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def strides(self) -> tuple[int, ...]:
        steps, step = [], self.itemsize
        for n in reversed(self.sizes):
            steps.append(step)
            step *= max(n, 1)
        return tuple(reversed(steps))


@functools.cache
def _of_tensors(kind: type) -> type:
    """The class of nodes whose formulas get tensors: arrays cannot have the shapes they name."""
    return type(kind.__name__, (kind,), {"run_arrays": _no_arrays})


def _no_arrays(self: Any, *args: Any) -> None:
    """None: the formulas do not run on arrays."""


def _finish(op: Op, inputs: Sequence[Any], params: dict[str, Any], out: Any) -> Tensor:
    t = finish(op, inputs, params, out)
    if t._node is not None:
        t._node.__class__ = _of_tensors(type(t._node))  # type: ignore[arg-type]
    return t


def in_many_dims(t: Tensor, sizes: Sequence[int]) -> Tensor:
    """``t`` in a shape of more than 64 dimensions."""
    a = t._a
    if type(a) is not np.ndarray:
        return TRANSFORMS.process(OPS["view"], (t,), {"shape": tuple(sizes)})
    flat = ManyDims(a.reshape(-1), sizes)
    return _finish(OPS["reshape_copy"], (t,), {"shape": tuple(sizes)}, flat)


def _reshaped(op: Op, inputs: Sequence[Any], params: dict[str, Any], shape: Sequence[int]) -> Any:
    flat = inputs[0]._a.value._a
    fits = len(shape) <= MOST
    return _finish(op, inputs, params, flat.reshape(shape) if fits else ManyDims(flat, shape))


def process(op: Op, inputs: Sequence[Any], params: dict[str, Any], level: float) -> Any:
    """Run what only changes the shape; refuse the rest."""
    handle = inputs[0]._a if isinstance(inputs[0], Tensor) else None
    if not isinstance(handle, ManyDims):
        raise RuntimeError(TOO_MANY)
    if op.name in ("view", "reshape_copy"):
        return _reshaped(op, inputs, params, params["shape"])
    if op.name == "squeeze":
        left = [n for d, n in enumerate(handle.sizes) if d not in params["dims"]]
        return _reshaped(op, inputs, params, left)
    if op.name in ("detach", "alias"):
        return _finish(op, inputs, params, ManyDims(handle.value._a, handle.sizes))
    if op.name == "clone":
        return _finish(op, inputs, params, ManyDims(handle.value._a.copy(), handle.sizes))
    if op.name == "expand" and params["shape"] == handle.sizes:
        return apply(OPS["alias"], inputs)
    raise RuntimeError(TOO_MANY)


RULES[ManyDims] = process
