"""Reading and writing at positions given by tensors: index_select, gather, take, nonzero, ..."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import axis_kernels
from flambeau.backends.conversions import in_rows
from flambeau.backends.numpy.flat import take_along
from flambeau.base.dtypes import dtype as Dtype
from flambeau.base.dtypes import int64
from flambeau.base.shapes import wrap_dim
from flambeau.core import indexing
from flambeau.core.dispatch import apply, finish
from flambeau.core.face import FACES, public
from flambeau.core.index_ops import linear_jvp, put_index
from flambeau.core.kinds import linear, opaque
from flambeau.core.levels import TRACED, front, integers_in, tested, values_of
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.shape import expand, flatten, reshape
from flambeau.ops.where import where

I64 = np.dtype(np.int64)
LARGE = 1 << 15
OUT_OF_RANGE = "index {} is out of bounds for dimension {} with size {}"


def index_array(name: str, index: Any) -> None:
    """Raise where ``index`` is not a tensor of int32 or int64."""
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index._a.dtype.kind != "i" or index._a.dtype.itemsize < 4:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def check_range(index: Tensor, dim: int, size: int, kind: type = RuntimeError) -> None:
    """Raise where an index is negative or not below ``size``."""
    a = integers_in(index, 0, size)
    if a is None or not a.size:
        return
    if not axis_kernels.are_inside(a, size):
        wrong = a[(a < 0) | (a >= size)]
        raise kind(OUT_OF_RANGE.format(wrong[0], dim, size))


# index_select


def _select_forward(a: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    if not a.ndim:
        return np.array(a)
    found = axis_kernels.take(a, index.reshape(-1), dim)
    return a.take(index.reshape(-1), axis=dim) if found is None else found


def _select_back(g: Tensor, input_shape: tuple, index: Tensor, dim: int) -> Tensor:
    if not input_shape:
        return reshape(g, ())
    zeros = wrap(np.zeros(input_shape, np.dtype(g._a.dtype.type)))
    return zeros.index_add(dim, reshape(index, (-1,)), g)  # type: ignore[attr-defined]


def _batch_select(op: Any, inputs: Sequence, bdims: Sequence, dim: int) -> tuple:
    t, index = inputs
    if bdims[1] is None:
        return apply(op, (front(t, bdims[0], 0), index), {"dim": dim + 1}), 0
    index = front(index, bdims[1], 0)
    if bdims[0] is None:
        flat = apply(op, (t, reshape(index, (-1,))), {"dim": dim})
        shape = t._a.shape
        parts = reshape(flat, (*shape[:dim], *index._a.shape, *shape[dim + 1:]))
        return parts, dim
    t = front(t, bdims[0], 0)
    shape = t._a.shape
    index = reshape(index, (shape[0], *(1,) * dim, -1, *(1,) * (len(shape) - dim - 2)))
    wide = (*shape[:dim + 1], index._a.shape[dim + 1], *shape[dim + 2:])
    return gather(t, dim + 1, expand(index, wide)), 0


INDEX_SELECT = linear("index_select", _select_forward, _select_back, inputs=("input", "index"),
                      params=("dim",), node="IndexSelect", batch=_batch_select)


@public("torch", "Tensor", out=True, apart=True)
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """A copy of the positions ``index`` of dimension ``dim``.

    >>> import flambeau as torch
    >>> torch.tensor([5, 6, 7]).index_select(0, torch.tensor([2, 0]))
    tensor([7, 5])
    """
    dim = wrap_dim(dim, input._a.ndim)
    if index._a.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    if index._a.dtype.kind != "i" or index._a.dtype.itemsize < 4:
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    n = input._a.shape[dim] if input._a.ndim else 1
    i = integers_in(index, 0, n)
    if i is not None and i.size and not axis_kernels.are_inside(i, n):
        raise IndexError("index out of range in self")
    return apply(INDEX_SELECT, (input, index), {"dim": dim})


# gather


def _part(a: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    """``a`` cut to the sizes of ``index``, but for ``dim``."""
    if all(n == m for d, (n, m) in enumerate(zip(a.shape, index.shape)) if d != dim):
        return a
    return a[tuple([slice(None) if d == dim else slice(n) for d, n in enumerate(index.shape)])]


def _gather_forward(a: np.ndarray, index: np.ndarray, dim: int) -> np.ndarray:
    if not index.size:
        return np.empty(index.shape, a.dtype)
    if not a.ndim:
        return np.array(np.broadcast_to(a, index.shape))
    if index.size < LARGE and a.ndim == index.ndim and a.flags.c_contiguous:
        return in_rows(take_along(a, index, dim))
    part = _part(a, index, dim)
    found = axis_kernels.gather(part, index, dim)
    found = np.take_along_axis(part, index, axis=dim) if found is None else found
    return in_rows(found)


def _gather_back(g: Tensor, input_shape: tuple, index: Tensor, dim: int) -> Tensor:
    zeros = wrap(np.zeros(input_shape, np.dtype(g._a.dtype.type)))
    return zeros.scatter_add(dim, index, g)  # type: ignore[attr-defined]


def _batch_gather(op: Any, inputs: Sequence, bdims: Sequence, dim: int) -> tuple:
    t, index = inputs
    if not index._a.ndim - (bdims[1] is not None):
        return _batch_gather_scalar(t, index, bdims)
    size = t._a.shape[bdims[0]] if bdims[0] is not None else index._a.shape[bdims[1]]
    t, index = (expand(v, (size, *v._a.shape)) if b is None else front(v, b, 0)
                for v, b in zip((t, index), bdims))
    return apply(op, (t, index), {"dim": dim + 1}), 0


def _batch_gather_scalar(t: Tensor, index: Tensor, bdims: Sequence) -> tuple:
    out = front(t, bdims[0], 0)
    if bdims[0] is None:
        out = expand(t, index._a.shape)
    return out, 0


GATHER = linear("gather", _gather_forward, _gather_back, inputs=("input", "index"),
                params=("dim",), batch=_batch_gather)


@public("torch", "Tensor", out=True, apart=True)
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """``out[i][j] = input[index[i][j]][j]`` (for ``dim`` 0), and so for every dimension.

    >>> import flambeau as torch
    >>> torch.gather(torch.tensor([[1, 2], [3, 4]]), 1, torch.tensor([[0], [1]]))
    tensor([[1],
            [4]])
    """
    dim = wrap_dim(dim, input._a.ndim)
    if not sparse_grad and _is_plain(input._a, index._a, dim):
        out = in_rows(take_along(input._a, index._a, dim))
        return finish(GATHER, (input, index), {"dim": dim}, out)
    if not index._a.size:
        index = index.to(int64)
    index_array("gather", index)
    late = looked_at(input, dim, index, "get")
    _check_gather(input, dim, index, late)
    if sparse_grad and type(input._a) is np.ndarray:
        return FACES["sparse"]["_gather"](input, dim, index)
    try:
        return apply(GATHER, (input, index), {"dim": dim})
    except IndexError:
        if late:
            check_range(index, dim, input._a.shape[dim])
        raise


def looked_at(input: Tensor, dim: int, index: Tensor, how: str) -> bool:
    """Whether the kernel that will run looks at the index, so that nothing before it has to."""
    a, i = input._a, index._a
    return type(a) is np.ndarray and type(i) is np.ndarray and axis_kernels.looks(a, i, dim, how)


def _is_plain(a: Any, index: Any, dim: int) -> bool:
    """Whether these are small arrays alike but for ``dim``, and all indices in range."""
    return (type(a) is type(index) is np.ndarray and index.dtype is I64
            and 0 < index.size < LARGE and a.ndim == index.ndim > 0
            and index.shape[:dim] == a.shape[:dim] and index.shape[dim + 1:] == a.shape[dim + 1:]
            and axis_kernels.are_inside(index, a.shape[dim]))


def _check_gather(input: Tensor, dim: int, index: Tensor, late: bool) -> None:
    have, want = input._a.shape, index._a.shape
    if not index._a.size:
        return
    if max(len(have), 1) != max(len(want), 1):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (n, m) in enumerate(zip(have, want)):
        if d != dim and m > n:
            raise RuntimeError(f"Size does not match at dimension {d} expected index {list(want)} "
                               f"to be no larger than self {list(have)} apart from dimension "
                               f"{dim}")
    if not late:
        check_range(index, dim, have[dim] if have else 1)


@public("torch", "Tensor", out=True)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """``gather`` with input and indices broadcast against each other."""
    if indices.dtype is not int64:
        raise RuntimeError("torch.take_along_dim(): dtype of indices should be Long but got "
                           f"{indices.dtype.title}")
    if dim is None:
        return gather(flatten(input), 0, flatten(indices))
    have, want = list(input._a.shape), list(indices._a.shape)
    if len(have) != len(want):
        raise RuntimeError("torch.take_along_dim(): input and indices should have the same number "
                           f"of dimensions, but got {len(have)} dimensions for input, and "
                           f"{len(want)} dimensions for indices")
    dim = wrap_dim(dim, len(have))
    own, asked = have[dim], want[dim]
    have[dim] = want[dim] = 1
    shape = list(np.broadcast_shapes(tuple(have), tuple(want)))
    indices = _from_front(indices, own)
    wide, index_shape = shape.copy(), shape.copy()
    wide[dim], index_shape[dim] = own, asked
    return gather(expand(input, wide), dim, expand(indices, index_shape))


def _from_front(index: Tensor, size: int) -> Tensor:
    """Positions below zero, which count from the end, counted from the front."""
    a = index._a
    if type(a) is np.ndarray and a.size and a.min() < 0 and a.min() >= -size:
        return wrap(np.where(a < 0, a + size, a))
    if getattr(a, "level", None) == TRACED:
        found = integers_in(index, -size, size)
        if found.size and -size <= found.min() and found.max() < size:
            return where(index < 0, index + size, index)
    return index


# Positions in the flattened tensor.


def _flat_range(index: Tensor, count: int) -> None:
    a = integers_in(index, -count, count)
    if a is not None and a.size and (a.min() < -count or a.max() >= count):
        wrong = a[(a < -count) | (a >= count)][0]
        raise IndexError(f"out of range: tried to access index {wrong} on a tensor of {count} "
                         "elements.")


def _take_back(g: Tensor, input_shape: tuple, index: Tensor) -> Tensor:
    zeros = wrap(np.zeros(input_shape, np.dtype(g._a.dtype.type)))
    return zeros.put(index, g, True)  # type: ignore[attr-defined]


TAKE = linear("take", lambda a, index: np.asarray(a.take(index)), _take_back,
              inputs=("input", "index"))


@public("torch", "Tensor", out=True, apart=True)
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions of the flattened tensor."""
    if index.dtype is not int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got "
                           f"{index.dtype.title}")
    if not input._a.size and index._a.size:
        raise IndexError("take(): tried to take from an empty tensor")
    _flat_range(index, input._a.size)
    return apply(TAKE, (input, index), {})


def _put_forward(a: np.ndarray, index: np.ndarray, source: np.ndarray,
                 accumulate: bool) -> np.ndarray:
    flat = np.array(a, order="C").reshape(-1)
    values = source.reshape(index.shape)
    if accumulate:
        np.add.at(flat, index, values)
    else:
        flat[index] = values
    return flat.reshape(a.shape)


def _put_input(g: Tensor, index: Tensor, source_shape: tuple, accumulate: bool) -> Tensor:
    if accumulate:
        return g
    zeros = wrap(np.zeros(source_shape, np.dtype(g._a.dtype.type)))
    return put(g, index, zeros)


PUT: Op = opaque("put", _put_forward, inputs=("input", "index", "source"),
             grads=(_put_input, None,
                    lambda g, index, source_shape: reshape(take(g, index), source_shape)),
             params=("accumulate",), jvp=linear_jvp(lambda: PUT, 0, 2))


@public(inplace=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with ``source`` written (or added) at positions of the flattened tensor."""
    if index.dtype is not int64:
        raise RuntimeError(f"put_(): Expected a long tensor for index, but got "
                           f"{index.dtype.title}")
    if source.dtype is not input.dtype:
        raise RuntimeError(f"put_(): Expected source and self to have the same dtype, but got "
                           f"{source.dtype.title} and {input.dtype.title}")
    if source._a.size != index._a.size:
        raise IndexError("put_(): Expected source and index to have the same number of elements, "
                         f"but got source.numel() = {source._a.size}, index.numel() = "
                         f"{index._a.size}")
    _flat_range(index, input._a.size)
    return apply(PUT, (input, index, source), {"accumulate": accumulate})


# Masks.


def _need_values(t: Tensor, what: str) -> np.ndarray:
    found = values_of(t)
    if found is None:
        raise RuntimeError(f"vmap: It looks like you're attempting to use {what}, whose result "
                           "has a shape that depends on values; that cannot be batched.")
    return found


def _masked_back(g: Tensor, input_shape: tuple, mask: Tensor) -> Tensor:
    shape = np.broadcast_shapes(input_shape, mask._a.shape)
    zeros = wrap(np.zeros(shape, np.dtype(g._a.dtype.type)))
    return masked_scatter(zeros, mask, g)


MASKED_SELECT = linear(
    "masked_select", lambda a, mask: a[mask] if a.shape == mask.shape else
    np.broadcast_to(a, (s := np.broadcast_shapes(a.shape, mask.shape)))[np.broadcast_to(mask, s)],
    _masked_back, inputs=("input", "mask"), node="MaskedSelect")


@public("torch", "Tensor", out=True, apart=True)
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask``, broadcast with the input, is true, in one dimension."""
    if mask._a.dtype != np.bool_:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    return apply(MASKED_SELECT, (input, mask), {})


def _masked_scatter_forward(a: np.ndarray, mask: np.ndarray, source: np.ndarray) -> np.ndarray:
    shape = np.broadcast_shapes(a.shape, mask.shape)
    out = np.array(np.broadcast_to(a, shape), order="C")
    mask = np.broadcast_to(mask, shape)
    out[mask] = source.reshape(-1)[:np.count_nonzero(mask)]
    return out


def _scatter_source(g: Tensor, mask: Tensor, source_shape: tuple) -> Tensor:
    found = masked_select(g, mask)
    whole = wrap(np.zeros(math.prod(source_shape), np.dtype(g._a.dtype.type)))
    front_part = wrap(np.arange(found._a.size))
    return reshape(put(whole, front_part, found, True), source_shape)


MASKED_SCATTER: Op = opaque(
    "masked_scatter", _masked_scatter_forward, inputs=("input", "mask", "source"),
    grads=(lambda g, mask: g * ~mask, None, _scatter_source), node="MaskedScatter",
    jvp=linear_jvp(lambda: MASKED_SCATTER, 0, 2))


@public(inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy with the elements of ``source``, in order, where ``mask`` is true."""
    if input.dtype is not source.dtype:
        raise RuntimeError("masked_scatter: expected self and source to have same dtypes but got"
                           f"{input.dtype.title} and {source.dtype.title}")
    if mask._a.dtype != np.bool_:
        raise RuntimeError("masked_scatter_ only supports boolean masks, but got mask with dtype "
                           f"{mask.dtype.title}")
    shape, count = np.broadcast_shapes(input._a.shape, mask._a.shape), source._a.size

    def too_few(places: np.ndarray) -> bool:
        return count < np.count_nonzero(np.broadcast_to(places, shape))

    places = tested(mask, too_few)
    if places is not None and too_few(places):
        raise RuntimeError("Number of elements of source < number of ones in mask")
    return apply(MASKED_SCATTER, (input, mask, source), {})


# Where elements are.


@public("torch", "Tensor", out=True)
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """The positions of elements that are not zero: a row each, or a tensor per dimension.

    >>> import flambeau as torch
    >>> torch.tensor([0, 3, 4]).nonzero()
    tensor([[1],
            [2]])
    """
    a = _need_values(input, "nonzero")
    if as_tuple:
        return tuple([wrap(i) for i in np.atleast_1d(a).nonzero()])
    return wrap(np.argwhere(a).astype(np.int64, copy=False))


@public()
def argwhere(input: Tensor) -> Tensor:
    """The positions of elements that are not zero, a row each."""
    return nonzero(input)


@public("torch", "Tensor", out=True)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first ``size`` rows of ``nonzero``, filled up with ``fill_value``."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    rows = np.argwhere(_need_values(input, "nonzero_static"))[:size]
    out = np.full((size, input._a.ndim), fill_value, np.int64)
    out[:len(rows)] = rows
    return wrap(out)


def _triangle_indices(name: str, doc: str, rows: Any) -> None:
    def function(row: int, col: int, offset: int = 0, *, dtype: Dtype = int64,
                 layout: Any = None, device: Any = None, pin_memory: bool = False,
                 requires_grad: bool = False) -> Tensor:
        if row < 0 or col < 0:
            which, n = ("row", row) if row < 0 else ("col", col)
            raise RuntimeError(f"{which} must be non-negative, got{n}")
        found = np.stack(rows(row, offset, col)) if row and col else np.empty((2, 0))
        return wrap(found.astype(dtype.np))

    function.__doc__ = doc
    public("torch", name=name)(function)


_triangle_indices("tril_indices", "Rows and columns of the lower triangle of a matrix.",
                  np.tril_indices)
_triangle_indices("triu_indices", "Rows and columns of the upper triangle of a matrix.",
                  np.triu_indices)


@public("torch")
def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """Positions of a flattened tensor of ``shape`` as one tensor per dimension."""
    if not isinstance(indices, Tensor):
        raise TypeError(f"expected 'indices' to be torch.Tensor, but got {type(indices)}")
    if indices.dtype.category not in (0, 1) or indices.dtype.np == np.bool_:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {tuple(sizes)}")
    found, left = [], indices._a
    for n in reversed(sizes):
        found.append(wrap(np.asarray(left % n)))
        left = left // n
    return tuple(reversed(found))


# index_put


def _index_list(indices: Any) -> Sequence[Any]:
    if isinstance(indices, (tuple, list)):
        return indices
    raise TypeError("index_put_(): argument 'indices' (position 1) must be tuple of Tensors, not "
                    f"{type(indices).__name__}")


def _prepared(input: Tensor, indices: Any, values: Any) -> tuple:
    if not isinstance(values, Tensor):
        raise TypeError("index_put_(): argument 'values' (position 2) must be Tensor, not "
                        f"{type(values).__name__}")
    found = indexing.checked_indices(input._a.shape, _index_list(indices))
    if input.dtype is not values.dtype:
        raise RuntimeError("Index put requires the source and destination dtypes match, got "
                           f"{input.dtype.title} for the destination and {values.dtype.title} "
                           "for the source.")
    return found


@public()
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with ``values`` written (or added) at the index tensors."""
    found, dims = _prepared(input, indices, values)
    try:
        return put_index(input, values, found, dims, accumulate)
    except (IndexError, ValueError) as error:
        raise indexing.index_error(error, input._a.shape, found, dims, values) from None


@public("torch", "Tensor")
def index_put_(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """In-place version of ``index_put``."""
    found, dims = _prepared(input, indices, values)
    return indexing.put(input, values, found, dims, accumulate)


__all__ = ["check_range", "gather", "index_array", "index_put", "index_select", "masked_scatter",
           "masked_select", "nonzero", "put", "take", "take_along_dim"]
