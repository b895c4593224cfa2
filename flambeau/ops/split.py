"""Taking a tensor apart along a dimension: split, chunk, unbind and their kin."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from flambeau.base.dtypes import int64
from flambeau.base.shapes import wrap_dim
from flambeau.core import dispatch
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.index_ops import ALL, GETITEM, slice_of
from flambeau.core.kinds import view
from flambeau.core.levels import front
from flambeau.core.op import OPS, Op
from flambeau.core.tensor import Tensor
from flambeau.ops.shape import sizes_of

# Indices, and for each a replay.
Keys = tuple[list[tuple], tuple]


def _bounds(sizes: Sequence[int]) -> list[tuple[int, int]]:
    found, at = [], 0
    for n in sizes:
        found.append((at, at + n))
        at += n
    return found


def _split_forward(a: np.ndarray, sizes: tuple, dim: int) -> list[np.ndarray]:
    lead = (ALL,) * dim
    return [a[(*lead, slice(start, stop))] for start, stop in _bounds(sizes)]


def _batch_apart(op: Any, inputs: Sequence[Any], bdims: Sequence[Any], **params: Any) -> tuple:
    params["dim"] += 1
    return apply(op, (front(inputs[0], bdims[0], 0),), params), 0


def _unbind_forward(a: np.ndarray, dim: int) -> list[np.ndarray]:
    if dim == 0:
        lines = a
    else:
        lines = a.swapaxes(0, dim) if a.ndim < 3 else np.moveaxis(a, dim, 0)
    return [lines[i, ...] for i in range(a.shape[dim])]


SPLIT = view("split", _split_forward, lambda g, dim: [apply(OPS["cat"], g, {"dim": dim})],
             params=("sizes", "dim"), multiple=True, batch=_batch_apart)
UNBIND = view("unbind", _unbind_forward, lambda g, dim: [apply(OPS["stack"], g, {"dim": dim})],
              params=("dim",), multiple=True, batch=_batch_apart)


# Up to so many parts, what gives each of them is kept for the next time.
_FEW = 64


def _cuts(sizes: tuple[int, ...], dim: int) -> Keys:
    """For each part of a split the index that gives it, and that as a view's ``replay``."""
    lead = (ALL,) * dim
    return _with_replays([(*lead, slice(a, b), ...) for a, b in _bounds(sizes)])


@functools.lru_cache(256)
def _kept_pieces(n: int, size: int, dim: int) -> tuple[tuple[int, ...], Keys]:
    """Sizes of pieces of ``size``, and of the smaller one that is left, of ``n``; their cuts."""
    sizes = _equal_sizes(n, size)
    return sizes, _cuts(sizes, dim)


def _equal_sizes(n: int, size: int) -> tuple[int, ...]:
    left = n % size
    return (size,) * (n // size) + ((left,) if left else ())


def _lines(count: int, dim: int) -> Keys:
    """As ``_cuts``, for each position of a dimension."""
    lead = (ALL,) * dim
    return _with_replays([(*lead, i, ...) for i in range(count)])


def _with_replays(keys: list[tuple]) -> Keys:
    return keys, tuple([(GETITEM, {"index": key}) for key in keys])


_kept_lines = functools.lru_cache(256)(_lines)


def _parts(op: Op, t: Tensor, params: dict[str, Any], found: Keys) -> tuple[Tensor, ...]:
    """The outputs of ``op``, each of which the same index would give alone."""
    keys, replays = found
    a = t._a
    if type(a) is np.ndarray:
        return dispatch.make_parts(op, t, list(map(a.__getitem__, keys)), params, replays)
    parts = apply(op, (t,), params)
    origin = t._x
    path = () if origin is None or origin.base is None else origin.replay
    for part, replay in zip(parts, replays):
        if part._x is not None:
            part._x.replay = (*path, *replay)
    return parts


def split_parts(t: Tensor, sizes: Sequence[int], dim: int) -> tuple[Tensor, ...]:
    """Views of consecutive parts of ``t``, of the given sizes along ``dim``."""
    sizes = tuple(sizes)
    return _parts(SPLIT, t, {"sizes": sizes, "dim": dim}, _cuts(sizes, dim))


def _pieces(t: Tensor, n: int, size: int, dim: int) -> tuple[Tensor, ...]:
    """Views of parts of ``size``, and of the smaller one that is left, of ``n`` positions."""
    if n > _FEW * size:
        return split_parts(t, _equal_sizes(n, size), dim)
    sizes, found = _kept_pieces(n, size, dim)
    return _parts(SPLIT, t, {"sizes": sizes, "dim": dim}, found)


def _split_dim(name: str, t: Tensor, dim: int) -> int:
    rank = t._a.ndim
    if not rank:
        raise RuntimeError(f"{name} expects at least a 1-dimensional tensor")
    return wrap_dim(dim, rank)


@public(aliases=("unsafe_split",))
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of parts of size ``split_size_or_sections``, or of the sizes it lists.

    >>> import flambeau as torch
    >>> torch.arange(5).split(2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    if isinstance(split_size_or_sections, (list, tuple)):
        return split_with_sizes(tensor, split_size_or_sections, dim)
    size = operator.index(split_size_or_sections)
    dim = _split_dim("split", tensor, dim)
    n = tensor._a.shape[dim]
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and n:
        raise RuntimeError("split_size can only be 0 if dimension size is 0, but got dimension "
                           f"size of {n}")
    if not n:
        return split_parts(tensor, (0,), dim)
    return _pieces(tensor, n, size, dim)


@public(aliases=("unsafe_split_with_sizes",))
def split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive parts of the given sizes, which must cover the dimension."""
    dim = _split_dim("split", input, dim)
    sizes = sizes_of((split_sizes,))
    if any(n < 0 for n in sizes):
        raise RuntimeError("split_with_sizes expects split_sizes have only non-negative entries, "
                           f"but got split_sizes={list(sizes)}")
    if sum(sizes) != input._a.shape[dim]:
        raise RuntimeError("split_with_sizes expects split_sizes to sum exactly to "
                           f"{input._a.shape[dim]} (input tensor's size at dimension {dim}), but "
                           f"got split_sizes={list(sizes)}")
    return split_parts(input, sizes, dim)


@public(aliases=("unsafe_chunk",))
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` views of equal size (the last may be smaller)."""
    dim = _split_dim("chunk", input, dim)
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    n = input._a.shape[dim]
    if not n:
        return split_parts(input, (0,) * chunks, dim)
    return _pieces(input, n, -(-n // chunks), dim)


@public()
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The views at each position of dimension ``dim``."""
    shape = input._a.shape
    if dim or not shape:
        dim = wrap_dim(dim, len(shape), scalar_ok=False)
    count = shape[dim]
    found = (_kept_lines if count <= _FEW else _lines)(count, dim)
    return _parts(UNBIND, input, {"dim": dim}, found)


@public()
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of nearly equal parts, or cut before each of the given positions."""
    if not input._a.ndim:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a "
                           "tensor with 0 dims")
    dim = wrap_dim(dim, input._a.ndim)
    n = input._a.shape[dim]
    given = indices_or_sections
    if isinstance(given, Tensor):
        if given._a.ndim > 1 or given.dtype is not int64:
            raise RuntimeError("tensor_split expected tensor_indices_or_sections to be a "
                               f"zero-dimensional or one-dimensional tensor, but got a tensor "
                               f"with {given._a.ndim} dims")
        given = given.tolist()  # type: ignore[attr-defined]
    if isinstance(given, (list, tuple)):
        cuts = [0, *[slice(0, operator.index(c)).indices(n)[1] for c in given], n]
    else:
        if given <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {given}")
        small, larger = divmod(n, given)
        cuts = [i * small + min(i, larger) for i in range(given + 1)]
    return tuple([slice_of(input, dim, a, max(a, b)) for a, b in zip(cuts, cuts[1:])])


def _split_at(name: str, t: Tensor, given: Any, least: int, dim: int) -> tuple[Tensor, ...]:
    rank = t._a.ndim
    if rank < least:
        raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but "
                           f"got a tensor with {rank} dimensions!")
    if isinstance(given, int):
        n = t._a.shape[dim]
        if given <= 0 or n % given:
            raise RuntimeError(f"torch.{name} attempted to split along dimension {dim}, but the "
                               f"size of the dimension {n} is not divisible by the split_size "
                               f"{given}!")
    return tensor_split(t, given, dim)


def _given(values: tuple) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


@public()
def hsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along dimension 1 (0 for vectors)."""
    return _split_at("hsplit", input, _given(indices_or_sections), 1, min(1, input._a.ndim - 1))


@public()
def vsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along dimension 0."""
    return _split_at("vsplit", input, _given(indices_or_sections), 2, 0)


@public()
def dsplit(input: Tensor, *indices_or_sections: Any) -> tuple[Tensor, ...]:
    """``tensor_split`` along dimension 2."""
    return _split_at("dsplit", input, _given(indices_or_sections), 3, 2)


def _iterate(self: Tensor) -> Iterator[Tensor]:
    """The positions of the first dimension, one by one."""
    if not self._a.ndim:
        raise TypeError("iteration over a 0-d tensor")
    return iter(unbind(self, 0))


def _contains(self: Tensor, element: Any) -> bool:
    """Whether some element equals ``element``, a number or a tensor."""
    if not isinstance(element, (Tensor, int, float, complex, np.number, np.bool_)):
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed "
                           f"in a {type(element)}.")
    return bool((self == element).any())  # type: ignore[attr-defined]


def _reversed(self: Tensor) -> Tensor:
    """The tensor flipped along its first dimension."""
    return self.flip(0) if self._a.ndim else self  # type: ignore[attr-defined]


show(_iterate, "__iter__", "Tensor")
show(_contains, "__contains__", "Tensor")
show(_reversed, "__reversed__", "Tensor")

__all__ = ["SPLIT", "UNBIND", "chunk", "split", "split_parts", "split_with_sizes", "tensor_split",
           "unbind"]
