"""Rows of a table by number: embedding, bags of them, and one-hot vectors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from flambeau.backends import axis_kernels, map_kernels
from flambeau.backends.numpy.scatter import add_at
from flambeau.base import dtypes, naming
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.inplace import store
from flambeau.core.kinds import linear, opaque
from flambeau.core.levels import TRACED, integers_in, values_of
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import FUNCTIONAL
from flambeau.ops.join import stack
from flambeau.ops.where import where

__all__ = ["embedding", "embedding_bag", "one_hot"]

ndarray = np.ndarray


def _embedding_forward(weight: ndarray, index: ndarray, padding_idx: int,
                       scale_grad_by_freq: bool) -> ndarray:
    found = axis_kernels.take(weight, index, 0)
    return weight.take(index, axis=0) if found is None else found


def _embedding_transpose(g: ndarray, index: ndarray, rows: int, padding_idx: int,
                         scale_grad_by_freq: bool) -> ndarray:
    width = g.shape[-1]
    out = np.zeros((rows, width), g.dtype)
    index = index.reshape(-1)
    values = g.reshape(-1, width)
    if scale_grad_by_freq and index.size:
        counts = np.bincount(index, minlength=rows)
        values = values / counts[index][:, None].astype(g.dtype)
    if not axis_kernels.scatter("add", out, index, 0, values):
        add_at(out, index, values)
    if padding_idx >= 0:
        out[padding_idx] = 0
    return out


def _embedding_grad(g: Tensor, weight_shape: tuple, index: Tensor, padding_idx: int,
                    scale_grad_by_freq: bool) -> Tensor:
    return apply(EMBEDDING_BACKWARD, (g, index), {
        "rows": weight_shape[0], "padding_idx": padding_idx,
        "scale_grad_by_freq": scale_grad_by_freq})


def _embedding_backward_grad(g: Tensor, index: Tensor, rows: int, padding_idx: int,
                             scale_grad_by_freq: bool) -> Tensor:
    back = apply(EMBEDDING, (g, index), {"padding_idx": -1, "scale_grad_by_freq": False})
    if scale_grad_by_freq:
        counts = np.bincount(index._a.reshape(-1), minlength=rows)
        back = back / wrap(counts[index._a][..., None]).to(back.dtype)
    return back if padding_idx < 0 else where((index == padding_idx).unsqueeze(-1), 0.0, back)


def _embedding_batch(op: Op, inputs: Any, dims: Any, **params: Any) -> tuple:
    weight, index = inputs
    if dims[0] is None:
        out = apply(op, (weight, index), params)
        return out, dims[1]
    table = weight.movedim(dims[0], 0)
    size, rows, width = table._a.shape
    if dims[1] is None:
        index = index.expand(size, *index._a.shape)
    else:
        index = index.movedim(dims[1], 0)
    first = wrap((np.arange(size) * rows).reshape(-1, *(1,) * (index._a.ndim - 1)))
    return apply(op, (table.reshape(size * rows, width), index + first), {
        **params, "padding_idx": -1}), 0


EMBEDDING = linear("embedding", _embedding_forward, _embedding_grad, inputs=("weight", "index"),
                   params=("padding_idx", "scale_grad_by_freq"), batch=_embedding_batch)
EMBEDDING_BACKWARD = linear(
    "embedding_backward", _embedding_transpose, _embedding_backward_grad, widen=True,
    inputs=("grad", "index"), params=("rows", "padding_idx", "scale_grad_by_freq"),
    node="EmbeddingDenseBackward")


def _check_index(name: str, index: Tensor) -> None:
    if index.dtype not in (dtypes.int64, dtypes.int32):
        raise RuntimeError("Expected tensor for argument #1 'indices' to have one of the following "
                           f"scalar types: Long, Int; but got {naming.prefix()}."
                           f"{index.dtype.title}Tensor instead (while checking arguments for "
                           f"{name})")


def _check_rows(index: Tensor, rows: int) -> None:
    a = integers_in(index, 0, rows)
    if a is not None and a.size and not axis_kernels.are_inside(a, rows):
        bad = a[(a < 0) | (a >= rows)].flat[0]
        raise IndexError(f"index out of range in self\n\n  The table has {rows} rows, numbered "
                         f"from 0 to {rows - 1}; row {bad} was asked for.")


def _shrink_rows(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that ``index`` names down to ``max_norm``, in place."""
    a = weight._a
    rows = np.unique(index._a)
    picked = a[rows].astype(np.float64)
    norms = (np.abs(picked) ** norm_type).sum(1) ** (1 / norm_type)
    long = norms > max_norm
    if not long.any():
        return
    changed = a.copy()
    scale = max_norm / (norms[long] + 1e-7)
    changed[rows[long]] = (picked[long] * scale[:, None]).astype(a.dtype)
    store(weight, changed)


def _padding_row(padding_idx: int | None, rows: int) -> int:
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx % rows


@public("torch", name="embedding")
def _embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1,
               scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """The rows of ``weight`` that ``indices`` names, in its shape with one more dimension."""
    if weight._a.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")
    _check_index("embedding", indices)
    _check_rows(indices, weight._a.shape[0])
    if sparse and type(weight._a) is ndarray:
        return FACES["sparse"]["_embedding"](weight, indices, padding_idx, scale_grad_by_freq)
    return apply(EMBEDDING, (weight, indices), {
        "padding_idx": padding_idx, "scale_grad_by_freq": scale_grad_by_freq})


@public(FUNCTIONAL)
def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None,
              max_norm: float | None = None, norm_type: float = 2.0,
              scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """The rows of ``weight`` that ``input`` names, in its shape with one more dimension.

    Row ``padding_idx`` gets no gradient. With ``max_norm`` longer rows are shortened in place.

    >>> import flambeau as torch
    >>> table = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> torch.nn.functional.embedding(torch.tensor([1, 0]), table)
    tensor([[3., 4.],
            [1., 2.]])
    """
    row = -1 if padding_idx is None else _padding_row(padding_idx, weight._a.shape[0])
    if max_norm is not None:
        _check_index("embedding", input)
        _check_rows(input, weight._a.shape[0])
        _shrink_rows(weight, input, max_norm, norm_type)
    return _embedding(weight, input, row, scale_grad_by_freq, sparse)


@public(FUNCTIONAL)
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """int64 zeros with a one at each class number; one more dimension, of ``num_classes``."""
    if input.dtype is not dtypes.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    a = input._a
    if not a.size:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return wrap(np.zeros((*a.shape, num_classes), np.int64))
    traced = type(a) is not ndarray and a.level == TRACED
    if traced:
        a = values_of(input) if num_classes == -1 else integers_in(input, 0, num_classes)
        if num_classes >= 0 and a.min() >= 0 and a.max() < num_classes:
            a = input._a
    if type(a) is not ndarray:
        if num_classes == -1:
            raise RuntimeError("one_hot: vmap cannot infer num_classes; give it")
        return (input.unsqueeze(-1) == wrap(np.arange(num_classes))).to(dtypes.int64)
    if a.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = int(a.max()) + 1
    elif a.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    hot = np.equal(a[..., None], np.arange(num_classes), order="C")
    return wrap(hot.astype(np.int64))


# Bags: sums, means or maxima of rows


def _bag_forward(weight: ndarray, scale: ndarray, index: ndarray, bag: ndarray, count: int,
                 scale_grad_by_freq: bool) -> ndarray:
    """``bag``, the number of every entry's bag, is in order."""
    starts = np.searchsorted(bag, np.arange(count + 1))
    found = map_kernels.sums_of_rows(weight, index, scale, starts)
    if found is not None:
        return found
    out = np.zeros((count, weight.shape[1]), weight.dtype)
    add_at(out, bag, weight.take(index, axis=0) * scale[:, None])
    return out


def _bag_weight_grad(g: Tensor, weight_shape: tuple, scale: Tensor, index: Tensor, bag: Tensor,
                     scale_grad_by_freq: bool) -> Tensor:
    return apply(EMBEDDING_BACKWARD, (g.index_select(0, bag) * scale.unsqueeze(1), index), {
        "rows": weight_shape[0], "padding_idx": -1, "scale_grad_by_freq": scale_grad_by_freq})


def _bag_scale_grad(g: Tensor, weight: Tensor, index: Tensor, bag: Tensor) -> Tensor:
    return (weight.index_select(0, index) * g.index_select(0, bag)).sum(1)


EMBEDDING_BAG = opaque(
    "embedding_bag", _bag_forward, inputs=("weight", "scale", "index", "bag"), widen=True,
    grads=(_bag_weight_grad, _bag_scale_grad, None, None),
    params=("count", "scale_grad_by_freq"))

# The rows that hold the maxima, (bags, width); -1 where a bag is empty.
EMBEDDING_BAG_MAX = linear(
    "embedding_bag_max",
    lambda w, choice: np.where(choice >= 0, np.take_along_axis(w, np.maximum(choice, 0), 0),
                               w.dtype.type(0)),
    lambda g, weight_shape, choice: g.new_zeros(weight_shape).scatter_add(
        0, choice.clamp_min(0), where(choice >= 0, g, 0.0)),
    inputs=("weight", "choice"), node="EmbeddingBag")


def _bag_of_each(offsets: ndarray, count: int, include_last: bool) -> tuple[ndarray, int]:
    """The number of every entry's bag, and how many bags there are."""
    if len(offsets) and offsets[0] != 0:
        raise RuntimeError("offsets[0] has to be 0, i.e., the first sequence in the mini-batch "
                           f"has to start from position 0. However, got {offsets[0]}")
    if len(offsets) and offsets[-1] > count:
        raise RuntimeError("offsets[-1] can not be greater than input's length "
                           f"{count} but got offsets[-1] of {offsets[-1]}")
    if include_last:
        return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), len(offsets) - 1
    return np.repeat(np.arange(len(offsets)), np.diff(np.append(offsets, count))), len(offsets)


def _maxima(weight: ndarray, index: ndarray, bag: ndarray, used: ndarray, count: int) -> Tensor:
    choice = np.full((count, weight.shape[1]), -1, np.int64)
    index, bag = index[used], bag[used]
    starts = np.searchsorted(bag, np.arange(count + 1)).tolist()
    for b, (start, end) in enumerate(pairwise(starts)):
        if start < end:
            rows = index[start:end]
            choice[b] = rows[weight[rows].argmax(0)]
    return wrap(choice)


def _maxima_of_tensors(weight: Tensor, index: ndarray, bag: ndarray, used: ndarray,
                       count: int) -> Tensor:
    """The maxima themselves, by operators: for weights inside a transform."""
    index, bag = index[used], bag[used]
    rows = [index[bag == b] for b in range(count)]
    empty = weight.new_zeros((weight._a.shape[1],))
    return stack([weight.index_select(0, wrap(r)).amax(0) if r.size else empty for r in rows])


def _bag_settings(input: Tensor, offsets: Tensor | None, psw: Tensor | None, mode: str,
                  scale_grad_by_freq: bool, sparse: bool) -> None:
    if psw is not None and input.size() != psw.size():
        raise ValueError(f"embedding_bag: If per_sample_weights ({psw.shape}) is not None, then "
                         f"it must have the same shape as the input ({input.shape})")
    rank = input.dim()
    if rank == 2 and offsets is not None:
        raise ValueError("if input is 2D, then offsets has to be None, as input is treated is a "
                         "mini-batch of fixed length sequences. However, found offsets of type "
                         f"{type(offsets)}")
    if rank == 1 and not isinstance(offsets, Tensor):
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if rank == 1 and offsets.dim() != 1:  # type: ignore[union-attr]
        raise ValueError("offsets has to be a 1D Tensor")
    if rank not in (1, 2):
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {rank}")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if psw is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}'). Please open a feature request on GitHub.")


def _check_bag(input: Tensor, weight: Tensor, psw: Tensor | None, padding_idx: int | None) -> int:
    """The padding row, -1 for none."""
    _check_index("embedding_bag", input)
    if psw is not None and psw.dtype is not weight.dtype:
        kinds = [f"{naming.prefix()}.{t.dtype.title}Tensor" for t in (weight, psw)]
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have the same type as tensor for argument "
            f"#1 'per_sample_weights'; but type {kinds[0]} does not equal {kinds[1]} (while "
            "checking arguments for embedding_bag)")
    rows = weight._a.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(f"padding_idx must be within the number of embeddings, -{rows} through "
                           f"{rows - 1}, but got {padding_idx}")
    a = integers_in(input, 0, rows)
    if a is not None and a.size and not axis_kernels.are_inside(a, rows):
        raise RuntimeError("Expected i < index_size to be true, but got false.  (Could this error "
                           "message be improved?  If so, please report an enhancement request to "
                           "PyTorch.)")
    return -1 if padding_idx is None else padding_idx % rows


@public(FUNCTIONAL)
def embedding_bag(input: Tensor, weight: Tensor, offsets: Tensor | None = None,
                  max_norm: float | None = None, norm_type: float = 2,
                  scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
                  per_sample_weights: Tensor | None = None, include_last_offset: bool = False,
                  padding_idx: int | None = None) -> Tensor:
    """The sum, mean or maximum of the rows of ``weight`` that every bag of ``input`` names.

    Each row of a 2-D input is a bag; a 1-D input is cut into bags at ``offsets`` (with
    ``include_last_offset`` the last offset is where the last bag ends). Rows ``padding_idx`` do
    not count. ``per_sample_weights``, of the input's shape, multiply the rows of a sum.
    """
    psw = per_sample_weights
    _bag_settings(input, offsets, psw, mode, scale_grad_by_freq, sparse)
    padding = _check_bag(input, weight, psw, padding_idx)
    if max_norm is not None:
        _shrink_rows(weight, input, max_norm, norm_type)
    flat = input.reshape(-1)
    index = flat._a
    if input.dim() == 2:
        count, each = input._a.shape
        bag = np.repeat(np.arange(count), each)
    else:
        bag, count = _bag_of_each(offsets._a, index.size, include_last_offset)  # type: ignore
        flat = wrap(index[:bag.size])
        index = flat._a
        psw = None if psw is None else psw[:bag.size]
    used = index != padding
    if mode == "max" and type(weight._a) is not ndarray:
        return _maxima_of_tensors(weight, index, bag, used, count)
    if mode == "max":
        choice = _maxima(weight._a, index, bag, used, count)
        return apply(EMBEDDING_BAG_MAX, (weight, choice))
    scale = _bag_scale(weight, psw, bag, used, mode, count)
    if sparse and type(weight._a) is ndarray:
        return FACES["sparse"]["_embedding_bag"](weight, scale, flat, wrap(bag), count, padding)
    return apply(EMBEDDING_BAG, (weight, scale, flat, wrap(bag)),
                 {"count": count, "scale_grad_by_freq": scale_grad_by_freq})


def _bag_scale(weight: Tensor, psw: Tensor | None, bag: ndarray, used: ndarray, mode: str,
               count: int) -> Tensor:
    """What every row is multiplied by: its weight, 1 / the bag's size, or 0 for padding."""
    if psw is not None:
        flat = psw.reshape(-1)
        return flat if used.all() else where(wrap(used), flat, 0.0)
    held = weight._a.dtype
    if mode != "mean":
        return wrap(used.astype(held))
    held = np.dtype(np.float32) if held.itemsize < 4 else held
    if used.all():
        starts = np.searchsorted(bag, np.arange(count + 1))
        sizes = np.diff(starts)
        return wrap(np.repeat((1 / np.maximum(sizes, 1)).astype(held), sizes))
    sizes = np.bincount(bag[used], minlength=count)
    return wrap((used / np.maximum(sizes, 1)[bag]).astype(held))
