"""``x[...]`` and ``x[...] = v``: first the basic part, which is a view, then index tensors."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.errors import told
from flambeau.core import dispatch
from flambeau.core.dispatch import apply
from flambeau.core.face import show
from flambeau.core.index_ops import (
    ALIAS_NODE,
    ALL,
    BOOL,
    GETITEM,
    NEW_NODE,
    SELECT_NODE,
    basic,
    gather_index,
    has_plain_bounds,
    is_basic,
    put_index,
    read_at,
    record_index,
    write_at,
)
from flambeau.core.inplace import bump, check_inplace, check_writeable, overwrite
from flambeau.core.levels import values_of
from flambeau.core.modes import MODES
from flambeau.core.node import InferenceVersion
from flambeau.core.op import OPS
from flambeau.core.promote import check_held, fits_all, scalar_array
from flambeau.core.tensor import Tensor, wrap

__all__ = ["checked_indices", "gathered", "index_error", "parse", "put"]

ndarray = np.ndarray
INT64, INT32, UINT8 = np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.uint8)
SCALAR = ("invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` "
          "in C++ to convert a 0-dim tensor to a number")
NEW = None, ...
NEW_PARAMS, WHOLE_PARAMS = {"index": NEW}, {"index": (...,)}
KINDS = "tensors used as indices must be long, int, byte or bool tensors"
BYTE = ("indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool "
        "instead.")
SEQUENCE = ("Using a non-tuple sequence for multidimensional indexing is deprecated and will be "
            "changed in pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this "
            "will be interpreted as tensor index, x[torch.tensor(seq)], which will result either "
            "in an error or a different result")


def getitem(self: Tensor, index: Any) -> Tensor:
    """``x[index]``: a view for integers, slices and None, a copy for index tensors."""
    a = self._a
    if type(a) is ndarray:
        kind = type(index)
        if kind is int:
            key = index, ...
            try:
                r = a[key]
            except IndexError:
                raise _bad_integer(a.shape, index, 0) from None
            return dispatch.make_view(GETITEM, self, r, {"index": key}, True, SELECT_NODE)
        if kind is Tensor:
            i = index._a
            if type(i) is ndarray and i.ndim and a.ndim and not MODES.inference and (
                    i.dtype is INT64 or i.dtype is BOOL):
                return _take(self, index)
        elif kind is slice:
            if a.ndim and has_plain_bounds(index):
                return dispatch.make_view(GETITEM, self, a[index], {"index": (index, ...)})
        elif kind is tuple and is_basic(index):
            found = _basic_tuple(self, index)
            if found is not None:
                return found
        elif index is None:
            return dispatch.make_view(GETITEM, self, a[NEW], NEW_PARAMS, True, NEW_NODE)
        elif index is Ellipsis:
            return dispatch.make_view(GETITEM, self, a[...], WHOLE_PARAMS, True, ALIAS_NODE)
    key, indices, dims = parse(self, index)
    if not dims:
        return basic(self, key)
    return gathered(_viewed(self, key), indices, dims)


def _basic_tuple(t: Tensor, index: tuple) -> Tensor | None:
    """The view at a tuple of plain items; None where it is not a right one."""
    key = index if Ellipsis in index else (*index, ...)
    try:
        return basic(t, key)
    except IndexError:
        return None


def _take(t: Tensor, index: Tensor) -> Tensor:
    """``t`` at one index tensor of the first dimension, or a mask of the first dimensions."""
    a, i = t._a, index._a
    try:
        if a.flags.c_contiguous and i.flags.c_contiguous:
            r = a[i] if i.dtype is BOOL else a.take(i, axis=0)
        else:
            r = read_at(a, i, dims=(0,))
    except IndexError as error:
        raise index_error(error, a.shape, (index,), (0,)) from None
    out = wrap(r)
    if t._node is not None and MODES.grad:
        record_index(t, index, out)
    return out


def gathered(t: Tensor, indices: Sequence[Tensor], dims: Sequence[int]) -> Tensor:
    """``t`` at index tensors, with PyTorch's errors."""
    try:
        return gather_index(t, indices, dims)
    except (IndexError, ValueError) as error:
        raise index_error(error, t._a.shape, indices, dims) from None


def _viewed(t: Tensor, key: tuple) -> Tensor:
    """The view at ``key``; the tensor itself where the key takes everything."""
    for step in key:
        if step is not Ellipsis and not (type(step) is slice and step == ALL):
            return basic(t, key)
    return t


# Assignment.


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``: the value is broadcast and cast; nothing changes on an error."""
    kind = type(index)
    if (kind is int or kind is slice or kind is tuple) and self._node is None and _is_plain(
            self, index, value) and _write_plain(self, index, value):
        return
    if MODES.tracer is not None:
        index = MODES.tracer.index(self, index, value)
    key, indices, dims = parse(self, index)
    value = _value(self, value)
    if dims:
        put(_viewed(self, key), value, indices, dims, accumulate=False)
    else:
        copy_into(_viewed(self, key), value)


def _is_plain(t: Tensor, index: Any, value: Any) -> bool:
    """Whether nothing can be recorded, the index is basic, and the value needs no conversion."""
    a, meta = t._a, t._x
    if type(a) is not ndarray or type(t._v) is InferenceVersion:
        return False
    if meta is not None and meta.base is not None and meta.base._node is not None:
        return False
    if not a.ndim or not a.flags.writeable or 0 in a.strides:
        return False
    kind = type(index)
    if kind is tuple:
        if not is_basic(index):
            return False
    elif kind is slice and not (index.step is None or type(index.step) is int):
        return False
    kind = type(value)
    if kind is Tensor:
        v = value._a
        return value._node is None and type(v) is ndarray and v.dtype is a.dtype
    return (kind is float or kind is int) and a.dtype.kind == "f" and fits_all(value)


def _write_plain(t: Tensor, index: Any, value: Any) -> bool:
    """Write where ``_is_plain`` says so; False, with nothing done, where the index is no good."""
    a = t._a
    kind = type(index)
    try:
        target = a[index, ...] if kind is not tuple else (
            a[index] if Ellipsis in index else a[(*index, ...)])
    except IndexError:
        return False
    if kind is slice and (index.step or 1) < 0:
        raise ValueError("step must be greater than zero")
    if type(value) is Tensor:
        v = value._a
        if v.shape != target.shape:
            v = _expanded(value, target.shape)._a
        target[...] = v
    else:
        target[...] = value
    bump(t)
    return True


def _value(t: Tensor, value: Any) -> Tensor:
    """The value of an assignment as a tensor; a number gets the dtype of ``t``."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.floating) and not isinstance(value, float) or not isinstance(
            value, (bool, int, float, complex, np.integer)):
        name = type(value).__name__
        shown = f"numpy.{name}" if type(value).__module__ == "numpy" else name
        raise TypeError(f"can't assign a {shown} to a torch.{t.dtype.title}Tensor")
    if isinstance(value, int) and not -2**63 <= value < 2**63:
        raise ValueError("Overflow when unpacking long long")
    return wrap(scalar_array(value, FROM_NUMPY[t._a.dtype]))


def _expanded(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``value`` without surplus leading dimensions of size 1, broadcast to ``shape``."""
    surplus = value._a.ndim - len(shape)
    if surplus > 0 and all(n == 1 for n in value._a.shape[:surplus]):
        value = basic(value, (*(0,) * surplus, ...))
    if value._a.shape == shape:
        return value
    try:
        return value.expand(shape)  # type: ignore[attr-defined, no-any-return]
    except RuntimeError:
        _stripped(value).expand(shape)  # type: ignore[attr-defined]
        raise


def _stripped(value: Tensor) -> Tensor:
    """``value`` without its leading dimensions of size 1, which errors do not tell."""
    ones = next((d for d, n in enumerate(value._a.shape) if n != 1), value._a.ndim)
    return basic(value, (*(0,) * ones, ...)) if ones else value


def copy_into(target: Tensor, value: Tensor) -> None:
    """Overwrite ``target`` with ``value``, broadcast to its shape and cast to its dtype."""
    shape, held = target._a.shape, FROM_NUMPY[target._a.dtype]
    if not held.is_complex and value.dtype.is_complex:
        warnings.warn("Casting complex values to real discards the imaginary part", stacklevel=3)
    value = _expanded(value, shape)
    overwrite(target, lambda t: apply(OPS["copy"], (value,), {"shape": shape, "dtype": held}),
              (value,), reads=False)


def put(t: Tensor, value: Tensor, indices: Sequence[Tensor], dims: Sequence[int],
        accumulate: bool) -> Tensor:
    """Write (or add) ``value`` into ``t`` at index tensors, in place."""
    if FROM_NUMPY[value._a.dtype] is not FROM_NUMPY[t._a.dtype]:
        one_mask = len(dims) == 1 and indices[0]._a.dtype == BOOL and not value._a.ndim
        if not one_mask:
            raise RuntimeError("Index put requires the source and destination dtypes match, got "
                               f"{t.dtype.title} for the destination and {value.dtype.title} for "
                               "the source.")
        check_held(value, t.dtype)
        value = apply(OPS["to_dtype"], (value,), {"dtype": t.dtype})
    value = _without_ones(t, value, indices, dims)
    plain = type(t._a) is ndarray and type(value._a) is ndarray and all(
        type(i._a) is ndarray for i in indices)
    try:
        if plain and (not MODES.grad or t._node is None and value._node is None):
            check_inplace(t)
            check_writeable(t._a)
            write_at(t._a, value._a, [i._a for i in indices], dims, accumulate)
            bump(t)
            return t
        return overwrite(t, lambda s: put_index(s, value, indices, dims, accumulate), (value,),
                         reads=False)
    except (IndexError, ValueError, TypeError) as error:
        raise index_error(error, t._a.shape, indices, dims, _stripped(value)) from None


def _without_ones(t: Tensor, value: Tensor, indices: Sequence[Tensor],
                  dims: Sequence[int]) -> Tensor:
    surplus = value._a.ndim
    if surplus and value._a.shape[0] == 1:
        taken = sum(i._a.ndim if i._a.dtype == BOOL else 1 for i in indices)
        rank = t._a.ndim - taken + max(
            1 if i._a.dtype == BOOL else i._a.ndim for i in indices)
        while value._a.ndim > rank and value._a.shape[0] == 1:
            value = basic(value, (0, ...))
    return value


# Reading an index.


def parse(t: Tensor, index: Any) -> tuple[tuple, list[Tensor], list[int]]:
    """An index as a basic part, index tensors, and the dimensions they index of the view."""
    if MODES.tracer is not None:
        index = MODES.tracer.index(t, index)
    shape = t._a.shape
    steps = [_step(i) for i in _items(index)]
    spare = len(shape) - sum(_width(s) for s in steps)
    if spare < 0:
        raise IndexError(_too_many(shape, steps))
    key: list[Any] = []
    indices: list[Tensor] = []
    dims: list[int] = []
    source = 0
    for step in steps:
        if step is None:
            key.append(None)
        elif step is Ellipsis:
            key.extend((ALL,) * spare)
            source += spare
            spare = 0
        elif type(step) is int:
            if not -shape[source] <= step < shape[source]:
                raise _bad_integer(shape, step, source)
            key.append(step)
            source += 1
        elif type(step) is slice:
            key.append(step)
            source += 1
        else:
            indices.append(step)
            dims.append(sum(type(k) is not int for k in key))
            if _is_flag(step):
                key.append(None)
                indices[-1] = step.reshape(1)  # type: ignore[attr-defined]
            else:
                _check_mask(shape, source, step)
                key.extend((ALL,) * _width(step))
                source += _width(step)
    return (*key, ...), indices, dims


def _too_many(shape: tuple, steps: list) -> str:
    if not shape:
        if any(type(s) is slice for s in steps):
            return "slice() cannot be applied to a 0-dim tensor."
        if len(steps) == 1 and type(steps[0]) is int:
            return SCALAR
    return f"too many indices for tensor of dimension {len(shape)}"


def _items(index: Any) -> Sequence[Any]:
    if type(index) is tuple:
        return index
    if isinstance(index, list) and len(index) < 32 and any(
            isinstance(i, (Tensor, ndarray, slice, list, tuple)) or i is None or i is Ellipsis
            for i in index):
        warnings.warn(SEQUENCE, UserWarning, stacklevel=4)
        return index
    return index if isinstance(index, tuple) else (index,)


def _step(item: Any) -> Any:
    """One item of an index: an int, a checked slice, None, Ellipsis or an index tensor."""
    kind = type(item)
    if kind is int or item is None or item is Ellipsis:
        return item
    if kind is slice:
        return _plain_slice(item)
    if kind is bool:
        return wrap(np.array(item))
    if isinstance(item, Tensor):
        return _index_step(item)
    if isinstance(item, ndarray):
        return _index_step(Tensor._from_array(item))  # type: ignore[attr-defined]
    if isinstance(item, (list, tuple, range)):
        array = np.array(item)
        return _index_step(wrap(array if array.size else array.astype(np.int64)))
    if isinstance(item, str):
        raise TypeError("new(): invalid data type 'str'")
    try:
        if isinstance(item, np.bool_):
            raise TypeError
        return operator.index(item)
    except TypeError:
        name = kind.__name__ if kind.__module__ != "numpy" else f"numpy.{kind.__name__}"
        raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte "
                         f"Variables are valid indices (got {name})") from None


def _plain_slice(item: slice) -> slice:
    start, stop, step = item.start, item.stop, item.step
    try:
        if step is not None and type(step) is not int:
            step = operator.index(step)
        if start is not None and type(start) is not int:
            start = operator.index(start)
        if stop is not None and type(stop) is not int:
            stop = operator.index(stop)
    except TypeError:
        raise TypeError("slice indices must be integers or None or have an __index__ "
                        "method") from None
    if step is not None and step <= 0:
        raise ValueError("step must be greater than zero" if step else
                         "slice step cannot be zero")
    return slice(start, stop, step)


def _index_step(t: Tensor) -> Any:
    a = t._a
    if a.dtype == UINT8:
        warnings.warn(BYTE, stacklevel=5)
        return t.bool()  # type: ignore[attr-defined]
    if a.dtype != BOOL and a.dtype not in (INT64, INT32):
        if type(a) is not ndarray or a.ndim or a.dtype.kind not in "iu":
            raise IndexError(KINDS)
    if not a.ndim and a.dtype != BOOL and type(a) is ndarray:
        return int(a)
    return t


def _is_flag(step: Tensor) -> bool:
    return not step._a.ndim and step._a.dtype == BOOL


def _width(step: Any) -> int:
    """How many dimensions of the tensor an item stands for."""
    if step is None or step is Ellipsis:
        return 0
    if isinstance(step, Tensor) and step._a.dtype == BOOL:
        return step._a.ndim
    return 1


def _check_mask(shape: tuple, source: int, mask: Tensor) -> None:
    if mask._a.dtype != BOOL:
        return
    for i, n in enumerate(mask._a.shape):
        if shape[source + i] != n:
            raise IndexError(f"The shape of the mask {list(mask._a.shape)} at index {i} does not "
                             f"match the shape of the indexed tensor {list(shape)} at index "
                             f"{source + i}")


def _bad_integer(shape: tuple, at: Any, dim: int) -> IndexError:
    if not shape:
        return IndexError(SCALAR if type(at) is int else
                          "slice() cannot be applied to a 0-dim tensor.")
    n = shape[dim]
    first = f"index {at} is out of bounds for dimension {dim} with size {n}"
    return IndexError(told(first, "index", low=-n, high=n - 1) if n else first)


def checked_indices(shape: tuple, indices: Sequence[Any]) -> tuple[list[Tensor], list[int]]:
    """The index tensors of ``index_put``, each for the next dimensions; None skips one."""
    found, dims, at = [], [], 0
    for i in indices:
        if i is None:
            at += 1
            continue
        step = i.bool() if i._a.dtype == UINT8 else i
        if step._a.dtype != BOOL and step._a.dtype not in (INT64, INT32):
            raise IndexError(KINDS)
        width = _width(step)
        if at + width > len(shape):
            raise IndexError(f"too many indices for tensor of dimension {len(shape)} (got "
                             f"{len(indices)})")
        _check_mask(shape, at, step)
        found.append(step)
        dims.append(at)
        at += width
    return found, dims


def index_error(error: Exception, shape: tuple, indices: Sequence[Tensor],
                dims: Sequence[int], value: Tensor | None = None) -> Exception:
    """PyTorch's error for what NumPy refused."""
    sizes: list[tuple[int, ...]] = []
    for at, (i, d) in enumerate(zip(indices, dims)):
        seen = values_of(i)
        a = i._a if seen is None else seen
        if a.dtype == BOOL:
            try:
                _check_mask(shape, d, i)
            except IndexError as found:
                return found
            sizes.append((int(np.count_nonzero(a)),))
            continue
        sizes.append(a.shape)
        outside: Any = a[(a < -shape[d]) | (a >= shape[d])] if type(a) is ndarray else ()
        if len(outside):
            return IndexError(f"index {outside[0]} is out of bounds for dimension {at} with size "
                              f"{shape[d]}")
    try:
        np.broadcast_shapes(*sizes)
    except ValueError:
        shown = ", ".join(str(list(s)) for s in sizes)
        return IndexError("shape mismatch: indexing tensors could not be broadcast together with "
                          f"shapes {shown}")
    if value is not None:
        result = wrap(np.broadcast_to(np.zeros(()), shape))
        got = gather_index(result, indices, dims)._a.shape
        return RuntimeError(f"shape mismatch: value tensor of shape {list(value._a.shape)} cannot "
                            f"be broadcast to indexing result of shape {list(got)}")
    return error


show(getitem, "__getitem__", "Tensor")
show(setitem, "__setitem__", "Tensor")
