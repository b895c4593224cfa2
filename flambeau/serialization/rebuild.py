"""The functions by which a checkpoint rebuilds tensors, under the names that PyTorch gave them.

Sizes, strides and offsets are checked against the storage before any view of it is made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.base import device as devices
from flambeau.base.dtypes import BY_NAME
from flambeau.base.dtypes import dtype as Dtype
from flambeau.core.face import FACES
from flambeau.core.node import LEAF
from flambeau.core.storage import UntypedStorage, restrided
from flambeau.core.tensor import Tensor, wrap
from flambeau.nn.parameter import Parameter
from flambeau.ops.create import from_numpy
from flambeau.storage import TypedStorage

__all__ = ["REBUILD", "reduce_sparse"]

Sizes = tuple[int, ...]
MAX_RANK = 64


def _memory(storage: Any) -> tuple[np.ndarray, Dtype]:
    """The bytes of a storage and the dtype of its elements."""
    if isinstance(storage, TypedStorage):
        return _bytes(storage._untyped), storage.dtype
    if isinstance(storage, UntypedStorage):
        return _bytes(storage), BY_NAME["uint8"]
    raise TypeError(f"a tensor is rebuilt from a storage, not from {type(storage).__name__}")


def _bytes(storage: UntypedStorage) -> np.ndarray:
    root = storage._root
    if root.dtype == np.uint8 and root.ndim == 1 and root.flags.c_contiguous:
        return root
    return storage._bytes


def _checked(sizes: Any, strides: Any, offset: Any, held: Dtype, length: int) -> None:
    """Raise where a view of these numbers would leave a storage of ``length`` bytes."""
    numbers = (*sizes, *strides, offset)
    if any(type(n) is not int or n < 0 or n > 2**62 for n in numbers):
        raise RuntimeError(f"a tensor cannot have the size {sizes}, strides {strides} and offset "
                           f"{offset}")
    if len(sizes) != len(strides) or len(sizes) > MAX_RANK:
        raise RuntimeError(f"mismatch in length of strides and shape: {strides} and {sizes}")
    last = 0 if 0 in sizes else offset + 1 + sum((n - 1) * s for n, s in zip(sizes, strides))
    if last * held.itemsize > length:
        raise RuntimeError(
            f"setStorage: sizes {list(sizes)}, strides {list(strides)}, storage offset {offset}, "
            f"and itemsize {held.itemsize} requiring a storage size of {last * held.itemsize} are "
            f"out of bounds for storage of size {length}")


def _view(storage: Any, offset: int, sizes: Any, strides: Any, held: Dtype | None) -> Tensor:
    memory, own = _memory(storage)
    held = held or own
    sizes, strides = tuple(sizes), tuple(strides)
    _checked(sizes, strides, offset, held, memory.size)
    t = wrap(restrided(memory, held.np, sizes, strides, offset))
    t._meta().root = memory
    return t


def _rebuild_tensor(storage: Any, storage_offset: int, size: Any, stride: Any) -> Tensor:
    return _view(storage, storage_offset, size, stride, None)


def _finished(t: Tensor, requires_grad: bool, hooks: Any) -> Tensor:
    if requires_grad and t._a.dtype.kind in "biu":
        raise RuntimeError("only Tensors of floating point dtype can require gradients")
    t._node = LEAF if requires_grad else None
    if hooks:
        t._meta().hooks = hooks
    return t


def _rebuild_tensor_v2(storage: Any, storage_offset: int, size: Any, stride: Any,
                       requires_grad: bool, backward_hooks: Any, metadata: Any = None) -> Tensor:
    return _finished(_rebuild_tensor(storage, storage_offset, size, stride), requires_grad,
                     backward_hooks)


def _rebuild_tensor_v3(storage: Any, storage_offset: int, size: Any, stride: Any,
                       requires_grad: bool, backward_hooks: Any, dtype: Dtype,
                       metadata: Any = None) -> Tensor:
    return _finished(_view(storage, storage_offset, size, stride, dtype), requires_grad,
                     backward_hooks)


def _rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Parameter:
    parameter = Parameter(data, requires_grad)
    if backward_hooks:
        parameter._meta().hooks = backward_hooks
    return parameter


def _rebuild_parameter_with_state(data: Tensor, requires_grad: bool, backward_hooks: Any,
                                  state: Any) -> Parameter:
    return _with_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _with_state(t: Any, state: Any) -> Any:
    """Set the attributes of a tensor as they were saved: a dict, or that and a dict of slots."""
    parts = state if isinstance(state, tuple) else (state,)
    for part in parts:
        for name, value in (part or {}).items():
            setattr(t, name, value)
    return t


def _rebuild_from_type_v2(func: Callable, new_type: type, args: tuple, state: Any) -> Tensor:
    t = func(*args)
    if new_type is not Tensor and type(t) is not new_type:
        t = t.as_subclass(new_type)
    if getattr(type(t), "__setstate__", None) is not getattr(Tensor, "__setstate__", None):
        t.__setstate__(state)
        return t
    return _with_state(t, state)


def _rebuild_sparse_tensor(layout: Any, data: tuple) -> Tensor:
    kind = str(layout).rpartition(".")[2]
    if kind == "sparse_coo":
        indices, values, size, *rest = data
        made = FACES["torch"]["sparse_coo_tensor"](indices, values, size)
        return made._coalesced_(rest[0]) if rest and rest[0] is not None else made
    compressed, plain, values, size = data
    return FACES["torch"]["sparse_compressed_tensor"](compressed, plain, values, size,
                                                      layout=layout)


def reduce_sparse(t: Any) -> tuple:
    """What a checkpoint holds of a sparse tensor."""
    layout = _Layout(str(t.layout))
    if t.is_sparse:
        parts: tuple = (t._indices(), t._values(), t.size(), t.is_coalesced())
    else:
        by_row = str(t.layout).endswith(("csr", "bsr"))
        outer = t.crow_indices() if by_row else t.ccol_indices()
        inner = t.col_indices() if by_row else t.row_indices()
        parts = (outer, inner, t.values(), t.size())
    return REBUILD["_rebuild_sparse_tensor"], (layout, parts)


class _Layout:
    """A layout, saved as a call by name."""

    def __init__(self, name: str) -> None:
        self.name = f"torch.{name.rpartition('.')[2]}"

    def __reduce__(self) -> tuple:
        return _get_layout, (self.name,)


def _get_layout(name: str) -> Any:
    """The layout of a name such as ``torch.strided``."""
    found = getattr(devices, name.rpartition(".")[2], None)
    if not isinstance(found, devices.layout):
        raise RuntimeError(f"unknown layout {name!r}")
    return found


def _rebuild_device_tensor_from_numpy(data: np.ndarray, dtype: Dtype, device: Any,
                                      requires_grad: bool) -> Tensor:
    return _finished(from_numpy(data).to(dtype), requires_grad, OrderedDict())


REBUILD: dict[str, Callable[..., Any]] = {
    f.__name__: f for f in (
        _rebuild_tensor, _rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_parameter,
        _rebuild_parameter_with_state, _rebuild_from_type_v2, _rebuild_sparse_tensor,
        _rebuild_device_tensor_from_numpy)}
for _name, _function in REBUILD.items():
    _function.__module__ = "torch._tensor" if _name == "_rebuild_from_type_v2" else "torch._utils"
_get_layout.__module__ = "torch.serialization"
