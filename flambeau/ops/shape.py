"""Views that change only how memory is read: reshape, expand, permute and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.base.shapes import Size, infer_size, wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.kinds import linear, view
from flambeau.core.tensor import Tensor
from flambeau.ops.copy import contiguous


def sizes_of(args: tuple) -> tuple:
    """The sizes given as separate integers or as one sequence."""
    if len(args) == 1 and not isinstance(args[0], int):
        return tuple(args[0])
    return args


def _expand_forward(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    lead = len(shape) - a.ndim
    strides = tuple([0 if n != m else s for n, m, s in zip(a.shape, shape[lead:], a.strides)])
    return np.lib.stride_tricks.as_strided(a, shape, (0,) * lead + strides)


# The engine sums a gradient over the dimensions that broadcasting added.
EXPAND = view("expand", _expand_forward, lambda g: g, params=("shape",))


@public("Tensor")
def expand(input: Tensor, *sizes: Any, implicit: bool = False) -> Tensor:
    """A view with dimensions of size 1 (and new leading ones) repeated; -1 keeps a size.

    >>> import flambeau as torch
    >>> torch.tensor([[1], [2]]).expand(2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    shape = sizes_of(sizes)
    have = input._a.shape
    lead = len(shape) - len(have)
    if lead < 0:
        raise RuntimeError(f"expand({input.type()}{{{list(have)}}}, size={list(shape)}): the "
                           f"number of sizes provided ({len(shape)}) must be greater or equal to "
                           f"the number of dimensions in the tensor ({len(have)})")
    full = []
    for i, n in enumerate(shape):
        m = have[i - lead] if i >= lead else None
        if n == -1:
            if m is None:
                raise RuntimeError(f"The expanded size of the tensor ({n}) isn't allowed in a "
                                   f"leading, non-existing dimension {i}")
            n = m
        elif m is not None and m not in (1, n):
            raise RuntimeError(f"The expanded size of the tensor ({n}) must match the existing "
                               f"size ({m}) at non-singleton dimension {i}.  Target sizes: "
                               f"{list(shape)}.  Tensor sizes: {list(have)}")
        full.append(int(n))
    return apply(EXPAND, (input,), {"shape": tuple(full)})


def _view_forward(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return a.reshape(shape, copy=False)


VIEW = view("view", _view_forward, lambda g, input_shape: reshape(g, input_shape), params=("shape",))
RESHAPE = linear("reshape_copy", lambda a, shape: a.reshape(shape),
                 lambda g, input_shape: reshape(g, input_shape), params=("shape",),
                 node="UnsafeView")


def view_as_shape(input: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A view of another shape; RuntimeError where the strides do not allow one."""
    shape = infer_size(shape, input._a.size)
    try:
        return apply(VIEW, (input,), {"shape": shape})
    except ValueError:
        raise RuntimeError("view size is not compatible with input tensor's size and stride (at "
                           "least one dimension spans across two contiguous subspaces). Use "
                           ".reshape(...) instead.") from None


@public()
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape: a view where the strides allow it, else a copy.

    >>> import flambeau as torch
    >>> torch.arange(4).reshape(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """
    sizes = infer_size(sizes_of(shape), input._a.size)
    try:
        return apply(VIEW, (input,), {"shape": sizes})
    except ValueError:
        return apply(VIEW, (contiguous(input),), {"shape": sizes})


PERMUTE = view("permute", lambda a, dims: a.transpose(dims),
               lambda g, dims: permute(g, inverse(dims)), params=("dims",))


def inverse(dims: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes ``dims``."""
    back = [0] * len(dims)
    for i, d in enumerate(dims):
        back[d] = i
    return tuple(back)


@public()
def permute(input: Tensor, *dims: Any) -> Tensor:
    """A view with its dimensions in the order ``dims``."""
    order = sizes_of(dims)
    rank = input._a.ndim
    if len(order) != rank:
        raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does "
                           f"not match the length of the desired ordering of dimensions i.e. "
                           f"input.dim() = {rank} is not equal to len(dims) = {len(order)}")
    found = tuple([wrap_dim(d, rank) for d in order])
    if len(set(found)) != rank:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return apply(PERMUTE, (input,), {"dims": found})


TRANSPOSE = view("transpose", lambda a, dim0, dim1: a.swapaxes(dim0, dim1),
                 lambda g, dim0, dim1: transpose(g, dim0, dim1), params=("dim0", "dim1"))


@public(aliases=("swapaxes", "swapdims"))
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged."""
    rank = input._a.ndim
    dim0, dim1 = wrap_dim(dim0, rank), wrap_dim(dim1, rank)
    if not rank:
        return apply(PERMUTE, (input,), {"dims": ()})
    return apply(TRANSPOSE, (input,), {"dim0": dim0, "dim1": dim1})


T = view("t", lambda a: a.T, lambda g: t(g))


@public()
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and numbers as they are."""
    if input._a.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is "
                           f"{input._a.ndim}D")
    return apply(T, (input,), {})


show(property(lambda self: transpose(self, -2, -1), doc="Matrices transposed."), "mT", "Tensor")


UNSQUEEZE = view("unsqueeze", lambda a, dim: np.expand_dims(a, dim),
                 lambda g, dim: squeeze(g, dim), params=("dim",))


@public()
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dimension of size 1 put in at ``dim``."""
    return apply(UNSQUEEZE, (input,), {"dim": wrap_dim(dim, input._a.ndim + 1)})


SQUEEZE = view("squeeze", lambda a, dims: a.squeeze(dims),
               lambda g, input_shape: reshape(g, input_shape), params=("dims",))


@public()
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """A view without dimensions of size 1, or without those of ``dim`` that have it."""
    shape = input._a.shape
    if dim is None:
        dims: Sequence[int] = range(len(shape))
    elif isinstance(dim, (tuple, list)):
        dims = [wrap_dim(d, len(shape)) for d in dim]
    else:
        dims = [wrap_dim(dim, len(shape))]
    gone = tuple([d for d in dims if len(shape) and shape[d] == 1])
    return apply(SQUEEZE, (input,), {"dims": gone})


def _stride(self: Tensor, dim: int | None = None) -> Any:
    """The step in elements along each dimension, or along ``dim``."""
    a = self._a
    if a.size:
        steps = tuple([s // a.itemsize for s in a.strides])
    else:
        steps = contiguous_strides(a.shape)
    return steps if dim is None else steps[wrap_dim(dim, a.ndim)]


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a row-major tensor of this shape."""
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= max(n, 1)
    return tuple(reversed(steps))


show(_stride, "stride", "Tensor")

__all__ = ["EXPAND", "PERMUTE", "Size", "VIEW", "contiguous_strides", "expand", "inverse",
           "permute", "reshape", "sizes_of", "squeeze", "t", "transpose", "unsqueeze",
           "view_as_shape"]
