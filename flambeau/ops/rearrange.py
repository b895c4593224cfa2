"""Copies with elements moved or repeated: flip, roll, repeat, triangles, diagonals, grids."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import fills
from flambeau.backends.conversions import copied_as, dense, in_format_of
from flambeau.base.device import contiguous_format
from flambeau.base.shapes import Size, broadcast, wrap_dim, wrap_dims
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import linear
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import CONTIGUOUS, clone
from flambeau.ops.join import cat, stack
from flambeau.ops.shape import expand, flatten, reshape, shifting, sizes_of, unsqueeze
from flambeau.ops.views import diagonal, two_dims

FLIP: Op = linear("flip", lambda a, dims: copied_as(np.flip(a, dims), a),
              lambda g, dims: apply(FLIP, (g,), {"dims": dims}), params=("dims",),
              batch=shifting("dims"))


@public()
def flip(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """A copy with the order along ``dims`` reversed.

    >>> import flambeau as torch
    >>> torch.arange(3).flip(0)
    tensor([2, 1, 0])
    """
    wanted = sizes_of(order if dims is None else (dims,))
    found = wrap_dims(wanted, input._a.ndim) if wanted else ()
    return apply(FLIP, (input,), {"dims": found if input._a.ndim else ()})


@public()
def fliplr(input: Tensor) -> Tensor:
    """A copy with dimension 1 reversed."""
    if input._a.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


@public()
def flipud(input: Tensor) -> Tensor:
    """A copy with dimension 0 reversed."""
    if input._a.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


ROLL: Op = linear("roll", lambda a, shifts, dims: in_format_of(np.roll(a, shifts, dims), a),
              lambda g, shifts, dims: apply(
                  ROLL, (g,), {"shifts": tuple([-s for s in shifts]), "dims": dims}),
              params=("shifts", "dims"), batch=shifting("dims"))


@public()
def roll(input: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    """A copy whose elements moved by ``shifts`` along ``dims``, around the end."""
    shifts = (shifts,) if isinstance(shifts, int) else sizes_of((shifts,))
    dims = (dims,) if isinstance(dims, int) else tuple(dims or ())
    if not shifts:
        raise RuntimeError("`shifts` required")
    if not dims and len(shifts) == 1:
        flat = roll(flatten(input), shifts, 0)
        return reshape(flat, input._a.shape)
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, "
                           f"dims:{len(dims)}")
    found = tuple([wrap_dim(d, input._a.ndim, scalar_ok=False) for d in dims])
    return apply(ROLL, (input,), {"shifts": shifts, "dims": found})


def _rotated(a: np.ndarray, k: int, dims: tuple[int, int]) -> np.ndarray:
    """Turned in memory of its own, whose order of axes turns with it."""
    if k % 2 == 0:
        return copied_as(np.rot90(a, k, dims), a)
    axis = dims[1] if k % 4 == 1 else dims[0]
    return copied_as(np.flip(a, axis), a).swapaxes(*dims)


ROT90: Op = linear("rot90", _rotated,
               lambda g, k, dims: apply(ROT90, (g,), {"k": -k, "dims": dims}),
               params=("k", "dims"), node="Rot90", batch=shifting("dims"))


@public()
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """A copy turned ``k`` times by 90 degrees in the plane of ``dims``."""
    rank = input._a.ndim
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if rank < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {rank}")
    if dims[0] == dims[1] or abs(dims[0] - dims[1]) == rank:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and "
                           f"dim1 = {dims[1]}")
    for i, d in enumerate(dims):
        if not -rank <= d < rank:
            raise RuntimeError(f"Rotation dim{i} out of range, dim{i} = {d}")
    found = wrap_dim(dims[0], rank), wrap_dim(dims[1], rank)
    return apply(ROT90, (input,), {"k": k % 4, "dims": found})


def _repeat_transpose(g: Tensor, input_shape: tuple, repeats: tuple) -> Tensor:
    lead = len(repeats) - len(input_shape)
    full = (*(1,) * lead, *input_shape)
    if not math.prod(repeats):
        return wrap(np.zeros(input_shape, np.dtype(g._a.dtype.type)))
    pairs = [n for pair in zip(repeats, full) for n in pair]
    summed = reshape(g, pairs)
    if repeats:
        summed = summed.sum(tuple(range(0, 2 * len(repeats), 2)))  # type: ignore[attr-defined]
    return reshape(summed, input_shape)


def _batch_repeat(op: Any, inputs: Sequence[Any], bdims: Sequence[Any], repeats: tuple) -> tuple:
    t = inputs[0].movedim(bdims[0], 0)
    lead = len(repeats) + 1 - t._a.ndim
    if lead:
        t = reshape(t, (t._a.shape[0], *(1,) * lead, *t._a.shape[1:]))
    return apply(op, (t,), {"repeats": (1, *repeats)}), 0


def _repeated(a: np.ndarray, repeats: tuple[int, ...]) -> np.ndarray:
    full = (*(1,) * (len(repeats) - a.ndim), *a.shape)
    lines = a.reshape([n for m in full for n in (1, m)])
    wide = np.broadcast_to(lines, [n for pair in zip(repeats, full) for n in pair])
    return dense(wide).reshape([n * m for n, m in zip(repeats, full)])


REPEAT = linear("repeat", _repeated,
                _repeat_transpose, params=("repeats",), batch=_batch_repeat)


@public("Tensor")
def repeat(self: Tensor, *sizes: Any, repeats: Any = None) -> Tensor:
    """A copy laid out ``sizes`` times along each dimension."""
    times = sizes_of(sizes if repeats is None else (repeats,))
    rank = self._a.ndim
    if len(times) < rank:
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of "
                           "dimensions of tensor")
    if any(n < 0 for n in times):
        full = (*(1,) * (len(times) - rank), *self._a.shape)
        shape = [n * m for n, m in zip(times, full)]
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: "
                           f"{shape}")
    return apply(REPEAT, (self,), {"repeats": times})


@public()
def tile(input: Tensor, *sizes: Any, dims: Any = None) -> Tensor:
    """A copy laid out ``dims`` times; missing leading counts are 1."""
    times = sizes_of(sizes if dims is None else (dims,))
    return repeat(input, (*(1,) * (input._a.ndim - len(times)), *times))


@public()
def repeat_interleave(input: Tensor, repeats: Any = None, dim: int | None = None, *,
                      output_size: int | None = None) -> Tensor:
    """Each position of ``dim`` (of the flattened tensor) repeated, the copies side by side."""
    if repeats is None:
        if input._a.ndim != 1:
            raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
        return wrap(np.repeat(np.arange(input._a.size), input._a))
    if dim is None:
        input, dim = flatten(input), 0
    dim = wrap_dim(dim, input._a.ndim)
    if not input._a.ndim:
        input = reshape(input, (1,))
    if isinstance(repeats, Tensor) and repeats._a.size == 1:
        repeats = int(repeats._a.reshape(())[()])
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        shape = input._a.shape
        wide = expand(unsqueeze(input, dim + 1), *shape[:dim + 1], repeats, *shape[dim + 1:])
        copy = apply(CONTIGUOUS, (wide,), {"order": contiguous_format})
        return flatten(copy, dim, dim + 1)
    times = repeats._a
    if times.ndim != 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    if times.size != input._a.shape[dim]:
        raise RuntimeError("repeats must have the same size as input along dim, but got "
                           f"repeats.size(0) = {times.size} and input.size({dim}) = "
                           f"{input._a.shape[dim]}")
    if times.dtype.kind not in "iu":
        raise RuntimeError("repeats has to be Long or Int tensor")
    if (times < 0).any():
        raise RuntimeError("repeats can not be negative")
    order = wrap(np.repeat(np.arange(times.size), times))
    return input.index_select(dim, order)  # type: ignore[attr-defined]


def _triangle(name: str) -> Any:
    lower = name == "tril"
    op = linear(name, lambda a, diagonal: fills.triangle(a, diagonal, lower),
                lambda g, diagonal: apply(op, (g,), {"diagonal": diagonal}),
                params=("diagonal",), batch=_batch_front)
    op.in_rows = True

    def function(input: Tensor, diagonal: int = 0) -> Tensor:
        if input._a.ndim < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
        return apply(op, (input,), {"diagonal": diagonal})

    side = "below" if lower else "above"
    function.__doc__ = f"Matrices with the elements on and {side} a diagonal; zeros elsewhere."
    return public("torch", "Tensor", out=True, inplace=True, name=name)(function)


def _batch_front(op: Any, inputs: Sequence[Any], bdims: Sequence[Any], **params: Any) -> tuple:
    return apply(op, (inputs[0].movedim(bdims[0], 0),), params), 0


tril = _triangle("tril")
triu = _triangle("triu")


def _embed_forward(a: np.ndarray, offset: int, dim1: int, dim2: int) -> np.ndarray:
    n = a.shape[-1] + abs(offset)
    whole = np.zeros((*a.shape[:-1], n, n), a.dtype)
    rows = np.arange(a.shape[-1]) + max(-offset, 0)
    whole[..., rows, rows + offset] = a
    return np.moveaxis(whole, (-2, -1), (dim1, dim2))


DIAG_EMBED = linear(
    "diag_embed", _embed_forward,
    lambda g, offset, dim1, dim2: diagonal(g, offset, dim1, dim2),
    params=("offset", "dim1", "dim2"), node="DiagEmbed", batch=shifting("dim1", "dim2"))


@public()
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices in the dimensions ``dim1`` and ``dim2`` with the last dimension as diagonal."""
    dim1, dim2 = two_dims(dim1, dim2, input._a.ndim + 1)
    return apply(DIAG_EMBED, (input,), {"offset": offset, "dim1": dim1, "dim2": dim2})


@public("torch", "Tensor", out=True)
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The matrix that has a vector as its diagonal, or a copy of a matrix's diagonal."""
    if input._a.ndim == 1:
        return diag_embed(input, diagonal)
    if input._a.ndim != 2:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {input._a.ndim}D")
    return clone(_diagonal(input, diagonal))


_diagonal = diagonal


@public()
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """The matrix that has all elements as its diagonal."""
    return diag_embed(reshape(input, (-1,)), offset)


# Shapes of several tensors together.


@public("torch")
def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that all ``shapes`` broadcast to."""
    full = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    rank = max((len(s) for s in full), default=0)
    found = [1] * rank
    for at, shape in enumerate(full):
        for i in range(-1, -1 - len(shape), -1):
            n = shape[i]
            if n < 0:
                raise RuntimeError(f"Trying to create tensor with negative dimension ({n}): "
                                   f"({n})")
            if n in (1, found[i]):
                continue
            if found[i] != 1:
                raise RuntimeError(
                    f"Attempting to broadcast a dimension of length {n} at {i}! Mismatching "
                    f"argument at index {at} had {shape}; but expected shape should be "
                    f"broadcastable to {found}")
            found[i] = n
    return Size(found)


@public("torch")
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """Views of the tensors, broadcast against each other; a tensor of that shape is itself."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    shape: tuple[int, ...] = ()
    for t in tensors:
        shape = broadcast(shape, t._a.shape)
    return tuple([t if t._a.shape == shape else expand(t, shape) for t in tensors])


@public("torch")
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Grids of coordinates, one per vector, as views."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    if indexing is None:
        warnings.warn("torch.meshgrid: in an upcoming release, it will be required to pass the "
                      "indexing argument.", stacklevel=2)
        indexing = "ij"
    if indexing not in ("ij", "xy"):
        raise RuntimeError('torch.meshgrid: indexing must be one of "xy" or "ij", but received: '
                           f"{indexing}")
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for at, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {at} in argument 0, but got "
                            f"{type(t).__name__}")
        if t._a.ndim > 1:
            raise RuntimeError("torch.meshgrid: Expected 0D or 1D tensor in the tensor list but "
                               f"got: {t}")
        if t.dtype is not tensors[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    order = list(range(len(tensors)))
    if indexing == "xy" and len(tensors) > 1:
        order[:2] = [1, 0]
    shape = [tensors[i]._a.size for i in order]
    grids = []
    for i, t in enumerate(tensors):
        at = order.index(i)
        ones = [1] * len(shape)
        ones[at] = t._a.size
        grids.append(expand(t.reshape(ones), shape))
    return tuple(grids)


def _need_vector(t: Tensor) -> None:
    if t._a.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(t._a.shape)}")


@public("torch")
def cartesian_prod(*tensors: Any) -> Tensor:
    """All combinations of one element of each vector, as rows."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    for t in tensors:
        _need_vector(t)
    if len(tensors) == 1:
        return tensors[0]
    return stack([flatten(g) for g in meshgrid(*tensors, indexing="ij")], 1)


@public()
def combinations(input: Any, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of ``r`` elements of a vector, as rows."""
    _need_vector(input)
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return wrap(np.empty(0, input.dtype.np))
    choose = itertools.combinations_with_replacement if with_replacement else (
        itertools.combinations)
    rows = np.array(list(choose(range(input._a.size), r)), np.int64).reshape(-1, r)
    return stack([input[wrap(column)] for column in np.ascontiguousarray(rows.T)], 1)


@public("Tensor")
def sum_to_size(self: Tensor, *size: Any) -> Tensor:
    """Summed over the dimensions along which ``size`` would be broadcast to this shape."""
    shape, have = sizes_of(size), self._a.shape
    lead = len(have) - len(shape)
    if not shape:
        return self.sum()  # type: ignore[attr-defined]
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, have[lead:])):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(have)}}}.")
    dims = (*range(lead), *[i + lead for i, n in enumerate(shape) if n == 1 != have[i + lead]])
    if not dims:
        return self
    return reshape(self.sum(dims), shape)  # type: ignore[attr-defined]


__all__ = ["broadcast_shapes", "broadcast_tensors", "cat", "diag", "diag_embed", "flip",
           "meshgrid", "repeat", "repeat_interleave", "roll", "tile", "tril", "triu"]
