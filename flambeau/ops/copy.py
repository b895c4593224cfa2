"""Copies, casts and detaching: clone, to, contiguous, detach, copy_."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import axis_kernels
from flambeau.backends.conversions import astype, copied, dense, unsigned
from flambeau.backends.memory_order import is_channels_last
from flambeau.base import device as devices
from flambeau.base.device import as_device
from flambeau.base.dtypes import BY_NAME, FLOAT, FROM_NUMPY, dtype
from flambeau.base.shapes import broadcast
from flambeau.core.dispatch import apply, make_view
from flambeau.core.face import public, show
from flambeau.core.inplace import check_inplace, overwrite, store
from flambeau.core.kinds import linear, view
from flambeau.core.modes import MODES
from flambeau.core.op import OPS
from flambeau.core.pointwise import is_plain
from flambeau.core.storage import root_of
from flambeau.core.tensor import Tensor, share

LARGE = 1 << 15
# So often repeated items are copied one by one.
FEW = 8

CLONE = linear("clone", lambda a, memory_format=None: copied(a), lambda g: g,
               params=("memory_format",))
ALIAS = view("alias", lambda a: a[...], lambda g: g)


def _cast(a: np.ndarray, dtype: dtype) -> np.ndarray:
    if a.dtype.kind == "c" and not dtype.is_complex:
        a = a.real
    if dtype.name.startswith("uint") and a.dtype.kind == "f":
        return unsigned(a, dtype.np)
    return astype(a, dtype.np)


TO_DTYPE = linear("to_dtype", _cast, lambda g: g, params=("dtype",), node="ToCopy")


def cast(t: Tensor, to: dtype) -> Tensor:
    """``t`` in the dtype ``to``; ``t`` itself where it has it already."""
    if t._a.dtype == to.np:
        return t
    if to.category < FLOAT and t._node is not None:
        t = detach(t)
    return apply(TO_DTYPE, (t,), {"dtype": to})


@public()
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy in memory of its own; gradients flow back through it.

    >>> import flambeau as torch
    >>> torch.ones(2).clone()
    tensor([1., 1.])
    """
    if memory_format is None or memory_format is devices.preserve_format:
        return apply(CLONE, (input,), {"memory_format": None})
    return apply(CLONE, (contiguous(input, memory_format=memory_format),), {"memory_format": None})


@public("Tensor")
def contiguous(input: Tensor, *, memory_format: Any = devices.contiguous_format) -> Tensor:
    """The same values in row-major order; the tensor itself where it is so already."""
    if is_contiguous(input, memory_format=memory_format):
        return input
    return apply(CONTIGUOUS, (input,), {"order": memory_format})


_CHANNELS_LAST = {devices.channels_last: (0, 2, 3, 1), devices.channels_last_3d: (0, 2, 3, 4, 1)}


def _repeated(a: np.ndarray) -> np.ndarray | None:
    """A dense copy of items of a row that are each read a few times; None for anything else."""
    if a.ndim < 2 or a.strides[-1] or not 1 < a.shape[-1] <= FEW:
        return None
    every = a[..., 0]
    index = np.repeat(np.arange(every.shape[-1]), a.shape[-1])
    found = axis_kernels.take(every, index, every.ndim - 1)
    return None if found is None else found.reshape(a.shape)


def _contiguous(a: np.ndarray, order: Any) -> np.ndarray:
    axes = _CHANNELS_LAST.get(order)
    if axes is None:
        found = _repeated(a) if a.size >= LARGE else None
        return dense(a) if found is None else found
    back = tuple(int(i) for i in np.argsort(axes))
    out = np.empty([a.shape[i] for i in axes], a.dtype).transpose(back)
    out[...] = a
    return out


CONTIGUOUS = linear("contiguous", _contiguous, lambda g: g, params=("order",), node="Clone")


@public("Tensor")
def is_contiguous(input: Tensor, *, memory_format: Any = devices.contiguous_format) -> bool:
    """Whether the elements lie in memory in the order ``memory_format`` says."""
    axes = _CHANNELS_LAST.get(memory_format)
    a = input._a
    if axes is None:
        return bool(a.flags.c_contiguous)
    return a.ndim == len(axes) and is_channels_last(a)


def converted(t: Tensor, to: dtype | None, order: Any) -> Tensor:
    """``t`` in a dtype and a memory format; itself where it has both, or nothing is asked for.

    As PyTorch does, the order of the strides says which format a tensor has, not whether its
    elements lie side by side.
    """
    found = t if to is None else cast(t, to)
    if order is devices.preserve_format or order is None:
        return found
    axes = _CHANNELS_LAST.get(order)
    if axes is not None and t._a.ndim != len(axes):
        name = str(order).rpartition(".")[2]
        raise RuntimeError(f"required rank {len(axes)} tensor to use {name} format")
    if found is t and _suggested(t._a) is order:
        return t
    return apply(CONTIGUOUS, (found,), {"order": order})


def _suggested(a: Any) -> Any:
    """The memory format that the strides of ``a`` follow."""
    for order, axes in _CHANNELS_LAST.items():
        if a.ndim != len(axes):
            continue
        low, channel = 0, a.strides[1]
        for d in (*axes[:0:-1], 0):
            step, size = a.strides[d], a.shape[d]
            if not size or step < low or d == 0 and low == channel:
                break
            low = step * size if size > 1 else step
        else:
            if channel:
                return order
    return devices.contiguous_format


@public("torch", "Tensor")
def detach(input: Tensor) -> Tensor:
    """The same memory without history; changes of either show in both."""
    if type(input._a) is np.ndarray:
        t = share(input)
    else:
        t = apply(DETACH, (input,), {})
        if MODES.tracer is None:
            return t
        t._meta().root = root_of(input)
    version = input._v
    if version is None:
        input._v = version = [0]
    t._v = version
    return t


DETACH = linear("detach", lambda a: a, None)


@public("Tensor")
def detach_(self: Tensor) -> Tensor:
    """Forget how this tensor was made, in place; views cannot."""
    if self._x is not None and self._x.base is not None:
        raise RuntimeError("Can't detach views in-place. Use detach() instead. If you are using "
                           "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view"
                           " is set as True, gradients are views of DDP buckets, and hence "
                           "detach_() cannot be called on these gradients. To fix this error, "
                           "please refer to the Optimizer.zero_grad() function in "
                           "torch/optim/optimizer.py as the solution.")
    self._node = None
    return self


def _set_data(self: Tensor, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError("Variable data has to be a tensor, but got " + type(value).__name__)
    self._a = value._a
    meta = self._x
    if meta is not None:
        meta.root = None if value._x is None else value._x.root


show(property(share, _set_data, doc="The values, apart from the graph."), "data", "Tensor")


def _copy_forward(a: np.ndarray, shape: tuple[int, ...], dtype: dtype) -> np.ndarray:
    return np.broadcast_to(_cast(a, dtype), shape)


COPY = linear("copy", _copy_forward, lambda g: g, params=("shape", "dtype"), node="Copy")


def _copies_bits(t: Tensor, src: Tensor) -> bool:
    """Whether ``src`` goes into ``t`` as it is, and nobody records it."""
    if type(t._a) is not np.ndarray or type(src._a) is not np.ndarray:
        return False
    return t._a.dtype is src._a.dtype and not (
        MODES.grad and (src._node is not None or not is_plain(t)))


@public("Tensor")
def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Overwrite this tensor with ``src``, broadcast to its shape and cast to its dtype."""
    if not isinstance(src, Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not "
                        f"{type(src).__name__}")
    shape, to = tuple(self._a.shape), FROM_NUMPY[self._a.dtype]
    if src._a.shape != shape:
        check_inplace(self, src._node is not None)
        both = broadcast(shape, src._a.shape)
        if both != shape:
            raise RuntimeError(f"output with shape {list(shape)} doesn't match the broadcast "
                               f"shape {list(both)}")
    if _copies_bits(self, src):
        check_inplace(self, False)
        store(self, src._a)
        return self
    return overwrite(self, lambda t: apply(COPY, (src,), {"shape": shape, "dtype": to}), (src,),
                     reads=False)


def _parse_to(args: tuple, kwargs: dict) -> tuple:
    to, place, copy = kwargs.get("dtype"), kwargs.get("device"), kwargs.get("copy", False)
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        to, place = rest[0].dtype, rest[0].device
        rest = rest[1:]
    elif rest and isinstance(rest[0], dtype):
        to, rest = rest[0], rest[1:]
    elif rest and (rest[0] is None or isinstance(rest[0], (str, int, devices.device))):
        place, rest = rest[0], rest[1:]
        if rest and (rest[0] is None or isinstance(rest[0], dtype)):
            to, rest = rest[0], rest[1:]
    elif rest:
        raise TypeError("to() received an invalid combination of arguments - got "
                        f"({', '.join(type(a).__name__ for a in args)})")
    if len(rest) > 1:
        copy = rest[1]
    return to, place, copy


@public("Tensor")
def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """This tensor with another dtype, device or memory format; itself where nothing changes.

    >>> import flambeau as torch
    >>> torch.ones(2).to(torch.int64)
    tensor([1, 1])
    """
    target, place, copy = _parse_to(args, kwargs)
    as_device(place)
    order = kwargs.get("memory_format", devices.preserve_format)
    found = converted(self, target, order)
    return clone(found) if copy and found is self else found


def _caster(name: str, to: dtype) -> None:
    def method(self: Tensor, *, memory_format: Any = devices.preserve_format) -> Tensor:
        return converted(self, to, memory_format)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"This tensor as {to.name}."
    show(method, name, "Tensor")


for _name, _to in {"float": "float32", "double": "float64", "half": "float16", "byte": "uint8",
                   "bfloat16": "bfloat16", "char": "int8", "short": "int16", "int": "int32",
                   "long": "int64", "bool": "bool", "cfloat": "complex64",
                   "cdouble": "complex128"}.items():
    _caster(_name, BY_NAME[_to])


__all__ = ["ALIAS", "CLONE", "COPY", "OPS", "TO_DTYPE", "cast", "clone", "contiguous", "copy_",
           "detach", "is_contiguous", "make_view"]
