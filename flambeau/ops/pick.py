"""Taking one element per index along a dimension, and putting it back: a pair of adjoints."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import axis_kernels
from flambeau.backends.numpy.flat import flat_positions, take_along
from flambeau.core.dispatch import apply
from flambeau.core.kinds import linear
from flambeau.core.levels import front
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor


def _pick(a: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    if not a.ndim:
        return np.array(a).reshape(index.shape)
    found = axis_kernels.gather(a, index, dim)
    return take_along(a, index, dim) if found is None else found


def _spill(g: np.ndarray, index: np.ndarray, dim: int, size: int) -> np.ndarray:
    if not g.ndim:
        return np.array(g)
    whole = np.zeros((*g.shape[:dim], size, *g.shape[dim + 1:]), g.dtype)
    if axis_kernels.scatter("add", whole, index, dim, g):
        return whole
    flat, places = whole.reshape(-1), flat_positions(whole.shape, index, dim).reshape(-1)
    if index.shape[dim] == 1:
        flat[places] = g.reshape(-1)
    else:
        np.add.at(flat, places, g.reshape(-1))
    return whole


def _batch(op: Op, inputs: Any, dims: Any, dim: int, **params: Any) -> tuple:
    value, index = inputs
    at, beside = dims
    size = value._a.shape[at] if at is not None else index._a.shape[beside]
    value, index = front(value, at, 0), front(index, beside, 0)
    if at is None:
        value = value.unsqueeze(0).expand(size, *value._a.shape)
    if beside is None:
        index = index.unsqueeze(0).expand(size, *index._a.shape)
    if value._a.ndim == 1:  # numbers: each is its own pick
        return value.clone(), 0
    return apply(op, (value, index), {"dim": dim + 1, **params}), 0


PICK = linear("pick", _pick,
              lambda g, index, dim, input_shape: spill(g, index, dim, input_shape),
              params=("dim",), inputs=("input", "index"), batch=_batch, node="Gather")
SPILL = linear("spill", _spill, lambda g, index, dim: pick(g, index, dim),
               params=("dim", "size"), inputs=("input", "index"), batch=_batch, node="Scatter")


def pick(input: Tensor, index: Tensor, dim: int) -> Tensor:
    """The elements of ``input`` at ``index`` along ``dim``."""
    return apply(PICK, (input, index), {"dim": dim})


def spill(g: Tensor, index: Tensor, dim: int, shape: tuple[int, ...]) -> Tensor:
    """Zeros of ``shape`` with ``g`` added at ``index`` along ``dim``."""
    return apply(SPILL, (g, index), {"dim": dim, "size": shape[dim] if shape else 1})


def spill_reduced(g: Tensor, index: Tensor, dim: int, keepdim: bool,
                  shape: tuple[int, ...]) -> Tensor:
    """As ``spill``, for one element of a reduced dimension that was dropped."""
    if not keepdim and shape:
        g, index = g.unsqueeze(dim), index.unsqueeze(dim)
    return spill(g, index, dim, shape)


def placed_grad(g: Any, input_shape: tuple, out: Any, dim: int) -> list:
    """The gradient of an operator whose results are elements of its input and their places."""
    return [spill(g[0], out[1].detach(), dim, input_shape)]


def placed_jvp(tangents: Any, out: Any, input: Tensor, *, dim: int, **params: Any) -> tuple:
    """The tangent of an operator whose results are elements of its input and their places."""
    return pick(tangents[0], out[1], dim), None


def along_batch(op: Op, inputs: Any, dims: Any, dim: int, **params: Any) -> tuple:
    """A batching rule for what runs along ``dim``: the batch in front, ``dim`` one further."""
    value = front(inputs[0], dims[0], 0)
    if value._a.ndim > 1:
        return apply(op, (value,), {"dim": dim + 1, **params}), 0
    found = apply(op, (value.unsqueeze(1),), {"dim": 1, **params})  # numbers: rows of one
    if isinstance(found, tuple):
        return tuple([f.squeeze(1) for f in found]), 0
    return found.squeeze(1), 0


__all__ = ["PICK", "SPILL", "along_batch", "pick", "placed_grad", "placed_jvp", "spill",
           "spill_reduced"]
