"""Samples to batches: tensors stacked, numbers gathered, containers followed.

``default_collate_fn_map`` says, by the type of a batch's first sample, which function joins it;
programs add their own types there.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

from flambeau.backends import memory
from flambeau.base import dtypes
from flambeau.base.device import strided
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.create import as_tensor, tensor
from flambeau.ops.join import stack
from flambeau.utils.data._utils.information import worker_memory

__all__ = ["collate", "default_collate", "default_collate_err_msg_format",
           "default_collate_fn_map", "default_convert", "is_default_map", "new_array",
           "np_str_obj_array_pattern"]

FunctionMap = dict[Any, Callable]

default_collate_err_msg_format = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, "
    "dicts or lists; found {}"
)
NO_SPARSE = ("Batches of sparse tensors are not currently supported by the default collate_fn; "
             "please provide a custom collate_fn to handle them appropriately.")
# Byte strings, void, text and objects, by NumPy's letters for them.
np_str_obj_array_pattern = re.compile(r"[SaUO]")


def default_convert(data: Any) -> Any:
    """``data`` with its NumPy arrays and numbers as tensors; what ``batch_size=None`` applies.

    Containers are followed; a plain tuple becomes a list, as in PyTorch.

    >>> import flambeau as torch, numpy
    >>> torch.utils.data.default_convert({"a": numpy.zeros(2), "b": "text"})
    {'a': tensor([0., 0.], dtype=torch.float64), 'b': 'text'}
    """
    kind = type(data)
    if isinstance(data, Tensor):
        return data
    if kind.__module__ == "numpy" and kind.__name__ not in ("str_", "string_"):
        if kind is np.ndarray and np_str_obj_array_pattern.search(data.dtype.str):
            return data
        return as_tensor(data)
    if isinstance(data, Mapping):
        return _same_mapping(data, lambda key: default_convert(data[key]))
    if isinstance(data, tuple):
        converted = [default_convert(item) for item in data]
        return kind(*converted) if hasattr(data, "_fields") else converted
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _same_sequence(data, lambda: [default_convert(item) for item in data])
    return data


def collate(batch: Any, *, collate_fn_map: FunctionMap | None = None) -> Any:
    """Join the samples of ``batch`` by the function that the map has for the first one's type.

    The exact type comes first, then, in the map's order, whatever the sample is an instance of.
    Mappings, named tuples and sequences not in the map are followed; a plain tuple becomes a list.
    Raises TypeError for what remains, RuntimeError where sequences differ in length.

    >>> import flambeau as torch
    >>> from flambeau.utils.data._utils.collate import collate, default_collate_fn_map
    >>> own = {**default_collate_fn_map, range: lambda batch, *, collate_fn_map: len(batch)}
    >>> collate([range(3), range(4)], collate_fn_map=own)
    2
    """
    first = batch[0]
    join = None if collate_fn_map is None else _function_for(first, collate_fn_map)
    if join is not None:
        return join(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        return _same_mapping(
            first, lambda key: collate([d[key] for d in batch], collate_fn_map=collate_fn_map))
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*[collate(column, collate_fn_map=collate_fn_map)
                             for column in zip(*batch)])
    if not isinstance(first, Sequence):
        raise TypeError(default_collate_err_msg_format.format(type(first)))
    length = len(first)
    if any(len(sample) != length for sample in batch[1:]):
        raise RuntimeError("each element in list of batch should be of equal size")
    columns = list(zip(*batch))

    def joined() -> list:
        return [collate(column, collate_fn_map=collate_fn_map) for column in columns]

    return joined() if isinstance(first, tuple) else _same_sequence(first, joined)


def _function_for(sample: Any, functions: FunctionMap) -> Callable | None:
    exact = functions.get(type(sample))
    if exact is not None:
        return exact
    return next((f for kind, f in functions.items() if isinstance(sample, kind)), None)


def _same_mapping(like: Any, value_of: Callable[[Any], Any]) -> Any:
    """A mapping of the type of ``like``, or a dict where that type cannot be made so."""
    try:
        if not isinstance(like, MutableMapping):
            return type(like)({key: value_of(key) for key in like})  # type: ignore[call-arg]
        # A copy keeps whatever else the object holds.
        clone = copy.copy(like)
        clone.update({key: value_of(key) for key in like})
        return clone
    except TypeError:
        return {key: value_of(key) for key in like}


def _same_sequence(like: Any, items: Callable[[], list]) -> Any:
    """A sequence of the type of ``like``, or a list where that type cannot be made so."""
    try:
        if not isinstance(like, MutableSequence):
            return type(like)(items())  # type: ignore[call-arg]
        clone = copy.copy(like)
        for at, item in enumerate(items()):
            clone[at] = item
        return clone
    except TypeError:
        return items()


def collate_tensor_fn(batch: Any, *, collate_fn_map: FunctionMap | None = None) -> Tensor:
    """The tensors stacked along a new first dimension."""
    arrays = _plain_arrays(batch)
    if arrays is not None:
        return wrap(_stacked(arrays))
    if batch[0].layout is not strided:
        raise RuntimeError(NO_SPARSE)
    return stack(batch, 0)


def _plain_arrays(batch: Any) -> list[np.ndarray] | None:
    """The arrays of tensors of one shape and dtype without history; None where that is not so."""
    arrays = []
    for t in batch:
        if type(t) is not Tensor or t._node is not None:
            return None
        arrays.append(t._a)
    shape, held = arrays[0].shape, arrays[0].dtype
    for a in arrays:
        if type(a) is not np.ndarray or a.shape != shape or a.dtype is not held:
            return None
    return arrays


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of one shape and dtype under each other: one copy, and no Python for each."""
    first = arrays[0]
    out = new_array((len(arrays), *first.shape), first.dtype)
    if not first.ndim:
        out[...] = [a[()] for a in arrays]
    elif first.size:
        np.concatenate(arrays, out=out.reshape(-1, *first.shape[1:]))
    return out


def new_array(shape: tuple[int, ...], held: np.dtype) -> np.ndarray:
    """Memory for a batch: in a worker, where it is large, what the parent can read as it stands."""
    shared = worker_memory()
    if shared is not None:
        found = shared.empty(shape, held)
        if found is not None:
            return found
    return memory.empty(shape, held)


def collate_numpy_array_fn(batch: Any, *, collate_fn_map: FunctionMap | None = None) -> Any:
    """Arrays as tensors, then joined as tensors are; TypeError for text and objects."""
    held = batch[0].dtype
    if np_str_obj_array_pattern.search(held.str) is not None:
        raise TypeError(default_collate_err_msg_format.format(held))
    if collate_fn_map is not None and collate_fn_map.get(Tensor) is collate_tensor_fn:
        if held in dtypes.FROM_NUMPY and _are_alike(batch):
            return wrap(_stacked(batch))
    return collate([as_tensor(a) for a in batch], collate_fn_map=collate_fn_map)


def _are_alike(arrays: Sequence[Any]) -> bool:
    """Whether they are plain arrays of one shape and dtype that tensors could be over as well."""
    shape, held = arrays[0].shape, arrays[0].dtype
    return all(type(a) is np.ndarray and a.shape == shape and a.dtype is held and a.flags.carray
               for a in arrays)


def collate_numpy_scalar_fn(batch: Any, *, collate_fn_map: FunctionMap | None = None) -> Tensor:
    """NumPy's numbers as one tensor of their dtype."""
    return as_tensor(batch)


def collate_float_fn(batch: Any, *, collate_fn_map: FunctionMap | None = None) -> Tensor:
    """Python floats as one float64 tensor."""
    if set(map(type, batch)) == {float}:
        return wrap(np.array(batch))
    return tensor(batch, dtype=dtypes.BY_NAME["float64"])


def collate_int_fn(batch: Any, *, collate_fn_map: FunctionMap | None = None) -> Tensor:
    """Python integers as one int64 tensor; bools as a bool one."""
    if set(map(type, batch)) == {int}:
        found = np.array(batch)
        if found.dtype == np.int64:
            return wrap(found)
    return tensor(batch)


def collate_str_fn(batch: Any, *, collate_fn_map: FunctionMap | None = None) -> Any:
    """Text and bytes stay as they are."""
    return batch


default_collate_fn_map: FunctionMap = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}
_ORIGINAL = dict(default_collate_fn_map)


def is_default_map() -> bool:
    """Whether no program has changed ``default_collate_fn_map``."""
    return default_collate_fn_map == _ORIGINAL


def default_collate(batch: Any) -> Any:
    """The samples of ``batch`` joined, with a new first dimension in every tensor.

    Tensors and arrays are stacked, numbers become tensors (floats in float64), text and bytes
    stay lists, containers are followed and a plain tuple becomes a list.

    >>> import flambeau as torch
    >>> torch.utils.data.default_collate([(1, "a"), (2, "b")])
    [tensor([1, 2]), ('a', 'b')]
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
