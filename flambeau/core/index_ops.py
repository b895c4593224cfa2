"""The operators of indexing: views at basic indices, and copies at index tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import axis_kernels, conversions, fills, fused
from flambeau.backends.conversions import copied, in_order, in_rows
from flambeau.backends.memory_order import forms_axes
from flambeau.backends.numpy import scatter
from flambeau.core import dispatch
from flambeau.core.dispatch import apply, record
from flambeau.core.kinds import linear, opaque, view
from flambeau.core.levels import front, integers_in
from flambeau.core.modes import MODES
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap

__all__ = [
    "ALIAS_NODE",
    "ALL",
    "BOOL",
    "GETITEM",
    "INDEX",
    "INDEX_ADD",
    "INDEX_PUT",
    "NEW_NODE",
    "PLACE",
    "SELECT_NODE",
    "basic",
    "gather_index",
    "has_plain_bounds",
    "is_basic",
    "linear_jvp",
    "named",
    "put_index",
    "read_at",
    "record_index",
    "select",
    "slice_of",
    "write_at",
    "zeros_like",
]

ndarray = np.ndarray
ALL = slice(None)
MAX_INDICES = 8
INDEX_NAMES = tuple([f"index{i}" for i in range(MAX_INDICES)])
BOOL = np.dtype(np.bool_)
LARGE = 1 << 15
PLAIN = frozenset((int, type(None)))


# Basic indices: integers, slices, None. Each ends with an Ellipsis, so that NumPy gives a view.


def _place_forward(a: ndarray, shape: tuple, index: tuple) -> ndarray:
    if a.size < LARGE:
        whole = np.zeros(shape, a.dtype)
        whole[index] = a
        return whole
    whole = fills.full(shape, a.dtype, 0)
    part = whole[index]
    if type(part) is not ndarray or not conversions.write(part, a):
        whole[index] = a
    return whole


def _batch_getitem(op: Any, inputs: Sequence, dims: Sequence, index: tuple) -> tuple:
    return apply(op, (front(inputs[0], dims[0], 0),), {"index": (ALL, *index)}), 0


def _batch_place(op: Any, inputs: Sequence, dims: Sequence, shape: tuple, index: tuple) -> tuple:
    t = front(inputs[0], dims[0], 0)
    return apply(op, (t,), {"shape": (t._a.shape[0], *shape), "index": (ALL, *index)}), 0


GETITEM: Op = view(
    "getitem",
    lambda a, index: a[index],
    lambda g, input_shape, index: apply(PLACE, (g,), {"shape": input_shape, "index": index}),
    params=("index",),
    node="Slice",
    batch=_batch_getitem,
)
PLACE: Op = linear(
    "place",
    _place_forward,
    lambda g, index: apply(GETITEM, (g,), {"index": index}),
    params=("shape", "index"),
    node="SliceBackward",
    batch=_batch_place,
)

SELECT_NODE = type("SelectBackward0", (GETITEM.node_type,), {})
NEW_NODE = type("UnsqueezeBackward0", (GETITEM.node_type,), {})
ALIAS_NODE = type("AliasBackward0", (GETITEM.node_type,), {})


def named(key: tuple) -> type:
    """The node that PyTorch would show: that of the last step."""
    for step in reversed(key):
        if type(step) is slice:
            if step != ALL:
                return GETITEM.node_type
        elif step is None:
            return NEW_NODE
        elif step is not Ellipsis:
            return SELECT_NODE
    return ALIAS_NODE


def has_plain_bounds(s: slice) -> bool:
    """Whether a slice is of Python integers and steps forward."""
    step = s.step
    return (step is None or type(step) is int and step > 0) and (
        type(s.start) in PLAIN and type(s.stop) in PLAIN
    )


def is_basic(key: tuple) -> bool:
    """Whether every item of an index is plainly an integer, a slice, None or Ellipsis."""
    for step in key:
        kind = type(step)
        if kind is slice:
            if not has_plain_bounds(step):
                return False
        elif kind is not int and step is not None and step is not Ellipsis:
            return False
    return True


def basic(t: Tensor, key: tuple) -> Tensor:
    """The view of ``t`` at a checked basic index."""
    if type(t._a) is not ndarray:
        return apply(GETITEM, (t,), {"index": key})
    kind = None if t._node is None else named(key)
    return dispatch.make_view(GETITEM, t, t._a[key], {"index": key}, True, kind)


def select(t: Tensor, dim: int, at: int) -> Tensor:
    """The view at position ``at`` of dimension ``dim``, both checked."""
    return basic(t, (*(ALL,) * dim, at, ...))


def slice_of(t: Tensor, dim: int, start: int, stop: int, step: int = 1) -> Tensor:
    """The view of positions ``start`` to ``stop`` of dimension ``dim``."""
    return basic(t, (*(ALL,) * dim, slice(start, stop, step), ...))


# Index tensors, each standing for one dimension (a mask for as many as it has).


def _key(dims: Sequence[int], arrays: Sequence[Any]) -> tuple:
    """The NumPy index that has ``arrays`` at the dimensions ``dims``."""
    key: list[Any] = []
    at = 0
    for d, i in zip(dims, arrays):
        key.extend((ALL,) * (d - at))
        key.append(i)
        at = d + (i.ndim if i.dtype == BOOL else 1)
    return tuple(key)


def read_at(a: ndarray, *arrays: Any, dims: tuple) -> ndarray:
    """The elements of ``a`` at index arrays, in memory in the order that PyTorch gives them."""
    first = arrays[0]
    if len(dims) == 1 and first.dtype != BOOL:
        found = None
        if axis_kernels.are_in_front(first, a.shape[dims[0]]):
            found = axis_kernels.take(a, first, dims[0])
        found = np.asarray(a.take(first, axis=dims[0])) if found is None else found
    else:
        found = np.asarray(a[_key(dims, arrays[: len(dims)])])
        found = found if found.base is None else np.array(found)
    given = arrays[: len(dims)]
    if a.flags.c_contiguous and all([i.flags.c_contiguous for i in given]):
        return in_rows(found)
    return in_order(found, forms_axes(found.shape, _forms(found, a, given, dims)))


def _forms(found: ndarray, a: ndarray, arrays: Sequence[ndarray], dims: Sequence[int]) -> tuple:
    """What each element of ``found`` was read from, as operands: their shapes and strides."""
    widths = [i.ndim if i.dtype == BOOL else 1 for i in arrays]
    used = {d + k for d, width in zip(dims, widths) for k in range(width)}
    kept = [step for d, step in enumerate(a.strides) if d not in used]
    width = found.ndim - len(kept)
    front = 0 if len(used) <= max(used) - min(used) else dims[0]
    lead, tail = kept[:front], kept[front:]
    forms = [(found.shape, (*lead, *(0,) * width, *tail))]
    for i in arrays:
        own = ((i.size,), (8,)) if i.dtype == BOOL else (i.shape, i.strides)
        forms.append(((*own[0], *(1,) * len(tail)), (*own[1], *(0,) * len(tail))))
    return tuple(forms)


def _add_forward(g: ndarray, *arrays: Any, shape: tuple, dims: tuple) -> ndarray:
    whole = np.zeros(shape, g.dtype)
    if len(dims) == 1 and arrays[0].dtype != BOOL and g.size >= LARGE:
        d, index = dims[0], arrays[0].reshape(-1)
        if axis_kernels.are_in_front(index, shape[d]):
            part = g.reshape(*shape[:d], index.size, *shape[d + 1 :])
            if axis_kernels.scatter("add", whole, index, d, part):
                return whole
    scatter.add_at(whole, _key(dims, arrays[: len(dims)]), g)
    return whole


def _put_forward(
    a: ndarray, values: ndarray, *arrays: Any, dims: tuple, accumulate: bool
) -> ndarray:
    out = copied(a)
    write_at(out, values, arrays[: len(dims)], dims, accumulate)
    return out


def write_at(
    out: ndarray, values: ndarray, arrays: Sequence[ndarray], dims: Sequence[int], accumulate: bool
) -> None:
    """Write (or add) ``values`` into ``out`` at index arrays."""
    if accumulate:
        scatter.add_at(out, _key(dims, arrays), values)
    elif not _write_masked(out, values, arrays[0]):
        out[_key(dims, arrays)] = values


def _write_masked(out: ndarray, value: ndarray, mask: ndarray) -> bool:
    """Put one value where a mask of the whole holds, by a kernel; False where there is none."""
    if mask.dtype != BOOL or mask.shape != out.shape or value.size != 1 or value.dtype != out.dtype:
        return False
    return fused.choose(mask, value, out, out) is not None


def gather_index(t: Tensor, indices: Sequence[Tensor], dims: Sequence[int]) -> Tensor:
    """The elements of ``t`` at index tensors that stand at the dimensions ``dims``."""
    a = t._a
    if type(a) is ndarray and not MODES.inference and (t._node is None or not MODES.grad):
        arrays = [i._a for i in indices]
        if all(type(i) is ndarray for i in arrays):
            return wrap(read_at(a, *arrays, dims=tuple(dims)))
    _note_ranges(t, indices, dims)
    found: Tensor = apply(INDEX, (t, *_padded(indices)), {"dims": tuple(dims)})
    if MODES.tracer is not None and not any([i._a.ndim for i in indices]):
        at = dict(zip(dims, indices))
        MODES.tracer.picked(found, t, tuple([at.get(d, ALL) for d in range(t._a.ndim)]))
    return found


def _note_ranges(t: Tensor, indices: Sequence[Tensor], dims: Sequence[int]) -> None:
    """Let what is traced run where all indices name something: the operator itself raises else."""
    if MODES.tracer is None:
        return
    for i, d in zip(indices, dims):
        if i._a.dtype != BOOL and d < t._a.ndim:
            integers_in(i, -t._a.shape[d], t._a.shape[d])


def _padded(indices: Sequence[Tensor]) -> tuple:
    if len(indices) > MAX_INDICES:
        raise NotImplementedError(f"indexing with more than {MAX_INDICES} index tensors")
    return (*indices, *(None,) * (MAX_INDICES - len(indices)))


def put_index(
    t: Tensor,
    values: Tensor,
    indices: Sequence[Tensor],
    dims: Sequence[int],
    accumulate: bool = False,
) -> Tensor:
    """``t`` with ``values`` written (or added) at index tensors."""
    _note_ranges(t, indices, dims)
    return apply(
        INDEX_PUT, (t, values, *_padded(indices)), {"dims": tuple(dims), "accumulate": accumulate}
    )


def _naming(*names: str) -> Callable:
    """Name the arguments of a formula that takes them as a sequence."""

    def mark(formula: Callable) -> Callable:
        formula.names = names  # type: ignore[attr-defined]
        return formula

    return mark


@_naming("input_shape", "dims", *INDEX_NAMES)
def _index_transpose(g: Tensor, shape: tuple, dims: tuple, *indices: Any) -> Tensor:
    return apply(INDEX_ADD, (g, *indices), {"shape": shape, "dims": dims})


@_naming("dims", *INDEX_NAMES)
def _at_indices(g: Tensor, dims: tuple, *indices: Any) -> Tensor:
    return apply(INDEX, (g, *indices), {"dims": dims})


@_naming("dims", "accumulate", *INDEX_NAMES)
def _put_input(g: Tensor, dims: tuple, accumulate: bool, *indices: Any) -> Tensor:
    if accumulate:
        return g
    zero = wrap(np.zeros((), np.dtype(g._a.dtype.type)))
    return apply(INDEX_PUT, (g, zero, *indices), {"dims": dims, "accumulate": False})


def zeros_like(t: Tensor) -> Tensor:
    """Zeros of the shape and dtype of ``t``, in memory of their own."""
    return wrap(np.zeros(t._a.shape, np.dtype(t._a.dtype.type)))


def linear_jvp(find: Callable, *places: int) -> Callable:
    """Forward mode of an operator linear in the inputs at ``places`` (all, if none is given).

    ``find()`` gives the operator, which runs on the tangents, zeros where an input has none.
    """

    def jvp(tangents: Sequence, out: Tensor, *inputs: Any, **params: Any) -> Tensor:
        moved = list(inputs)
        for k in places or range(len(moved)):
            moved[k] = zeros_like(inputs[k]) if tangents[k] is None else tangents[k]
        return apply(find(), moved, params)

    return jvp


def _separated(dims: Sequence[int], indices: Sequence[Any]) -> bool:
    """Whether dimensions that are not indexed lie between indexed ones."""
    at = dims[0]
    for d, i in zip(dims, indices):
        if d != at:
            return True
        at = d + (i._a.ndim if i._a.dtype == BOOL else 1)
    return False


def _batch_index(op: Any, inputs: Sequence, bdims: Sequence, dims: tuple) -> tuple:
    """Only the tensor is batched: its indices stand one dimension further."""
    t, indices = inputs[0], inputs[1:]
    if any(b is not None for b in bdims[1:]):
        return _batch_index_all(op, inputs, bdims, dims)
    live = [i for i in indices if i is not None]
    out = apply(op, (front(t, bdims[0], 0), *indices), {"dims": tuple([d + 1 for d in dims])})
    return out, _index_rank(live) if _separated(dims, live) else 0


def _index_rank(indices: Sequence[Tensor]) -> int:
    return max(1 if i._a.dtype == BOOL else i._a.ndim for i in indices)


def _batched_indices(indices: Sequence[Tensor], bdims: Sequence, rank: int) -> list:
    """Indices with the batch dimension in front of ``rank`` dimensions of their own."""
    found = []
    for i, b in zip(indices, bdims):
        if i._a.dtype == BOOL:
            raise RuntimeError(
                "vmap: We do not support batching operators that can support dynamic shape. "
                "Attempting to batch over indexing with a boolean mask.\n\n  the mask may select "
                "differently many elements of each example: use torch.where()."
            )
        if b is not None:
            i = front(i, b, 0)
            own = i._a.shape[1:]
            i = i.reshape(i._a.shape[0], *(1,) * (rank - len(own)), *own)  # type: ignore
        found.append(i)
    return found


def _batch_index_all(op: Any, inputs: Sequence, bdims: Sequence, dims: tuple) -> tuple:
    """Indices that differ over the batch; the tensor may as well."""
    live = [i for i in inputs[1:] if i is not None]
    marks = bdims[1 : 1 + len(live)]
    rank = max(i._a.ndim - (b is not None) for i, b in zip(live, marks))
    apart = _separated(dims, live)
    moved = _batched_indices(live, marks, rank)
    if bdims[0] is None:
        return gather_index(inputs[0], moved, dims), 0 if apart else dims[0]
    size = inputs[0]._a.shape[bdims[0]]
    lead = wrap(np.arange(size).reshape(size, *(1,) * rank))
    at = tuple([d + 1 for d in dims])
    out = gather_index(front(inputs[0], bdims[0], 0), (lead, *moved), (0, *at))
    if apart or dims[0] == 0:
        return out, 0
    order = (0, *range(1 + rank, 1 + rank + dims[0]), *range(1, 1 + rank))
    rest = range(len(order), out._a.ndim)
    return out.permute(*order, *rest), 0


INDEX: Op = linear(
    "index",
    read_at,
    _index_transpose,
    inputs=("input", *INDEX_NAMES),
    params=("dims",),
    batch=_batch_index,
)
INDEX_ADD: Op = linear(
    "index_backward",
    _add_forward,
    _at_indices,
    inputs=("input", *INDEX_NAMES),
    params=("shape", "dims"),
    widen=True,
)
INDEX_PUT: Op = opaque(
    "index_put",
    _put_forward,
    inputs=("input", "values", *INDEX_NAMES),
    grads=(_put_input, _at_indices, *(None,) * MAX_INDICES),
    params=("dims", "accumulate"),
    node="IndexPut",
    jvp=linear_jvp(lambda: INDEX_PUT, 0, 1),
)


def record_index(t: Tensor, index: Tensor, out: Tensor) -> None:
    """Make ``out``, which is ``t`` at one index tensor of its first dimensions, go back to it."""
    record(INDEX, (t, *_padded((index,))), {"dims": (0,)}, out)
