"""Copies of a tensor with one part, that a view would show, replaced."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.index_ops import ALL, GETITEM, linear_jvp
from flambeau.core.kinds import opaque
from flambeau.core.op import Op
from flambeau.core.storage import start_of
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast
from flambeau.ops.shape import sizes_of
from flambeau.ops.views import DIAGONAL, as_strided, places, select, strided_copy, two_dims


def _zero_source(g: Tensor, source_shape: tuple) -> Tensor:
    return wrap(np.zeros(source_shape, np.dtype(g._a.dtype.type)))


def _declare(name: str, part: Any, node: str) -> Any:
    """The operator that writes ``source`` into the part of a copy that the view ``part`` shows."""

    def forward(a: np.ndarray, source: np.ndarray, **params: Any) -> np.ndarray:
        out = np.empty_like(a)
        out[...] = a
        part.forward(out, **params)[...] = source
        return out

    def own(g: Tensor, source_shape: tuple, *values: Any) -> Tensor:
        settings = dict(zip(part.params, values))
        return apply(op, (g, _zero_source(g, source_shape)), settings)

    def other(g: Tensor, *values: Any) -> Tensor:
        return apply(part, (g,), dict(zip(part.params, values)))

    own.names = ("source_shape", *part.params)  # type: ignore[attr-defined]
    other.names = part.params  # type: ignore[attr-defined]
    op = opaque(name, forward, inputs=("input", "source"), grads=(own, other), node=node,
                params=part.params, jvp=linear_jvp(lambda: op, 0, 1))
    return op


SELECT_SCATTER = _declare("select_scatter", GETITEM, "SelectScatter")
SLICE_SCATTER = _declare("slice_scatter", GETITEM, "SliceScatter")
DIAGONAL_SCATTER = _declare("diagonal_scatter", DIAGONAL, "DiagonalScatter")


def _strided_write(a: np.ndarray, source: np.ndarray, size: tuple, stride: tuple, shift: int,
                   layout: tuple) -> np.ndarray:
    inside, outside, count = places(size, stride, shift, layout)
    buffer = np.zeros(count, a.dtype)
    buffer[inside] = a
    buffer[outside] = source
    return buffer[inside]


def _replaced(g: Tensor, size: tuple, stride: tuple, shift: int, layout: tuple) -> Tensor:
    part = strided_copy(g, size, stride, shift, layout)
    return apply(AS_STRIDED_SCATTER, (wrap(np.zeros(g._a.shape, np.dtype(g._a.dtype.type))), part),
                 {"size": size, "stride": stride, "shift": shift, "layout": layout})


AS_STRIDED_SCATTER: Op = opaque(
    "as_strided_scatter", _strided_write, inputs=("input", "source"),
    grads=(_replaced, strided_copy), params=("size", "stride", "shift", "layout"),
    node="AsStridedScatter", jvp=linear_jvp(lambda: AS_STRIDED_SCATTER, 0, 1))


def _written(op: Any, input: Tensor, src: Tensor, shape: tuple, params: dict) -> Tensor:
    if src._a.shape != shape:
        raise RuntimeError("expected src to have a size equal to the slice of self. src size = "
                           f"{list(src._a.shape)}, slice size = {list(shape)}")
    return apply(op, (input, cast(src, input.dtype)), params)


@public("torch", "Tensor", out=True)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy with ``src`` at position ``index`` of dimension ``dim``.

    >>> import flambeau as torch
    >>> torch.zeros(2, 2).select_scatter(torch.ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])
    """
    part = select(input.detach(), dim, index)  # type: ignore[attr-defined]
    dim = wrap_dim(dim, input._a.ndim)
    key = (*(ALL,) * dim, int(index), ...)
    return _written(SELECT_SCATTER, input, src, part._a.shape, {"index": key})


@public("torch", "Tensor", out=True)
def slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start: int | None = None,
                  end: int | None = None, step: int = 1) -> Tensor:
    """A copy with ``src`` at the positions ``start`` to ``end``, every ``step``, of ``dim``."""
    dim = wrap_dim(dim, input._a.ndim)
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    part = slice(start, end, step)
    key = (*(ALL,) * dim, part, ...)
    shape = list(input._a.shape)
    shape[dim] = len(range(*part.indices(shape[dim])))
    return _written(SLICE_SCATTER, input, src, tuple(shape), {"index": key})


@public("torch", "Tensor", out=True)
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0,
                     dim2: int = 1) -> Tensor:
    """A copy with ``src`` on the diagonal of two dimensions."""
    dim1, dim2 = two_dims(dim1, dim2, input._a.ndim)
    params = {"offset": offset, "dim1": dim1, "dim2": dim2}
    shape = DIAGONAL.forward(np.broadcast_to(np.zeros(()), input._a.shape), **params).shape
    return _written(DIAGONAL_SCATTER, input, src, shape, params)


@public("torch", "Tensor", out=True)
def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any,
                       storage_offset: int | None = None) -> Tensor:
    """A copy with ``src`` where ``as_strided`` of the same arguments would look.

    Backward follows PyTorch, where ``input`` gets the gradient of the elements replaced, not of
    those kept; forward mode has the true derivative.
    """
    if input._node is not None and not input.is_contiguous():  # type: ignore[attr-defined]
        raise RuntimeError("as_strided_scatter is currently only supported for contiguous inputs")
    size, stride = sizes_of((size,)), sizes_of((stride,))
    as_strided(input.detach(), size, stride, storage_offset)  # type: ignore[attr-defined]
    shift = 0 if storage_offset is None else storage_offset - start_of(input)
    layout = (input._a.shape, input.stride())  # type: ignore[attr-defined]
    params = {"size": size, "stride": stride, "shift": shift, "layout": layout}
    return _written(AS_STRIDED_SCATTER, input, src, size, params)


__all__ = ["as_strided_scatter", "diagonal_scatter", "select_scatter", "slice_scatter"]
