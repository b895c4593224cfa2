"""Making tensors: from values, filled, in ranges, like others."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import fills, libm, memory
from flambeau.backends.conversions import write
from flambeau.backends.memory_order import empty_in_order, result_axes
from flambeau.base import device as devices
from flambeau.base import dtypes, naming
from flambeau.base.device import as_device
from flambeau.base.dtypes import as_dtype, category_of, dtype, get_default_dtype
from flambeau.base.dtypes import from_numpy as dtype_from_numpy
from flambeau.base.settings import FILLING, fill_blank
from flambeau.core.face import public, show
from flambeau.core.promote import NUMBERS, check_held, checked_array, scalar_array
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.construct import array_of, finish_new, sizes_from, warn_of_tensor
from flambeau.ops.copy import cast

LARGE = 1 << 15


@public("torch")
def tensor(data: Any, *, dtype: dtype | None = None, device: Any = None,
           requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A new leaf that copies ``data``: a number, nested sequences, an array or a tensor.

    Python floats become the default dtype, integers int64; arrays keep their dtype.

    >>> import flambeau as torch
    >>> torch.tensor([[1.0, 2.0]])
    tensor([[1., 2.]])
    """
    warn_of_tensor(data, f"{naming.prefix()}.tensor")
    return finish_new(array_of(data, as_dtype(dtype, "tensor")), device, requires_grad)


@public("torch")
def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor over the array's own memory: a change of either shows in both.

    >>> import numpy as np, flambeau as torch
    >>> a = np.zeros(2)
    >>> t = torch.from_numpy(a)
    >>> a[0] = 5
    >>> t
    tensor([5., 0.], dtype=torch.float64)
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    if type(ndarray) is not np.ndarray:
        ndarray = ndarray.view(np.ndarray)
    dtype_from_numpy(ndarray.dtype)
    if not ndarray.dtype.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order. "
                         "Conversion between byte orders is currently not supported.")
    if ndarray.size and min(ndarray.strides, default=0) < 0:
        raise ValueError("At least one stride in the given numpy array is negative, and tensors "
                         "with negative strides are not currently supported. (You can probably "
                         "work around this by making a copy of your array  with array.copy().) ")
    if any(s % ndarray.itemsize for s in ndarray.strides):
        raise ValueError("given numpy array strides not a multiple of the element byte size. Copy "
                         "the numpy array to reallocate the memory.")
    return wrap(ndarray)


Tensor._from_array = staticmethod(from_numpy)  # type: ignore[attr-defined]


@public("torch")
def as_tensor(data: Any, dtype: dtype | None = None, device: Any = None) -> Tensor:
    """``data`` as a tensor, sharing memory with an array or tensor of the dtype asked for."""
    to = as_dtype(dtype, "as_tensor")
    as_device(device)
    if isinstance(data, Tensor):
        return data if to is None else cast(data, to)
    if isinstance(data, np.ndarray):
        shared = from_numpy(data)
        return shared if to is None else cast(shared, to)
    return wrap(array_of(data, to))


@public("torch")
def asarray(obj: Any, *, dtype: dtype | None = None, device: Any = None, copy: bool | None = None,
            requires_grad: bool = False) -> Tensor:
    """``obj`` as a tensor; ``copy`` True always copies, False never does (ValueError)."""
    to = as_dtype(dtype, "asarray")
    shares = isinstance(obj, (Tensor, np.ndarray)) or hasattr(obj, "__dlpack__")
    if not isinstance(obj, (Tensor, np.ndarray, list, tuple, int, float, complex)):
        obj = from_dlpack(obj) if hasattr(obj, "__dlpack__") else _from_buffer(obj)
        shares = True
    found = as_tensor(obj, to, device)
    if copy is False and (not shares or to is not None and found is not obj
                          and to is not dtype_from_numpy(np.asarray(obj).dtype)):
        raise ValueError("cannot return a tensor without a copy: its dtype or source forbids it")
    found = found.clone() if copy and shares else found
    if not requires_grad and found.requires_grad:
        found = found.detach()
    return found.requires_grad_(True) if requires_grad else found


def _from_buffer(obj: Any) -> Any:
    try:
        return np.frombuffer(obj, dtype=np.uint8)
    except (TypeError, ValueError):
        return obj


@public("torch")
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of any object that speaks DLPack."""
    return wrap(np.from_dlpack(ext_tensor, copy=copy))


@public("torch")
def frombuffer(buffer: Any, *, dtype: dtype, count: int = -1, offset: int = 0,
               requires_grad: bool = False) -> Tensor:
    """A 1-D tensor over the memory of an object with the buffer protocol."""
    size = memoryview(buffer).nbytes
    if not size:
        raise ValueError(f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(f"offset ({offset} bytes) must be non-negative and no greater than "
                         f"buffer length ({size} bytes) minus 1")
    if count < 0 and (size - offset) % dtype.itemsize:
        raise ValueError(f"buffer length ({size - offset} bytes) after offset ({offset} bytes) "
                         f"must be a multiple of element size ({dtype.itemsize})")
    if count > 0 and offset + count * dtype.itemsize > size:
        raise ValueError(f"requested buffer length ({count} * {dtype.itemsize} bytes) after offset"
                         f" ({offset} bytes) must not be greater than actual buffer length "
                         f"({size} bytes)")
    return finish_new(np.frombuffer(buffer, dtype.np, count, offset), None, requires_grad)


def _filled(name: str, make: Callable) -> None:
    """Declare ``name`` by sizes, ``name_like`` and ``new_name``."""

    def sized(*size: Any, dtype: dtype | None = None, layout: Any = None, device: Any = None,
              requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None,
              names: Any = None, **by_name: Any) -> Tensor:
        shape = sizes_from(name, (by_name.pop("size"),) if "size" in by_name else size)
        if by_name:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(by_name))}'")
        held = as_dtype(dtype, name) or get_default_dtype()
        if layout is not None and layout is not devices.strided:
            return _sparse(name, shape, held.np, layout, requires_grad)
        return finish_new(make(shape, held.np), device, requires_grad)

    def like(input: Tensor, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
             requires_grad: bool = False, memory_format: Any = None,
             pin_memory: bool = False) -> Tensor:
        kind = layout or getattr(input, "layout", devices.strided)
        if kind is not devices.strided:
            held = as_dtype(dtype, name) or input.dtype
            return _sparse(name, input._a.shape, held.np, kind, requires_grad, input)
        array = array_like(f"{name}_like", input, dtype, memory_format)
        fill = _FILLS[name]
        if fill is not None:
            if array.size < LARGE or not write(array, fill):
                array.fill(fill)
        elif FILLING:
            fill_blank(array)
        return finish_new(array, device, requires_grad)

    def new(self: Tensor, *size: Any, dtype: dtype | None = None, layout: Any = None,
            device: Any = None, requires_grad: bool = False, pin_memory: bool = False,
            **by_name: Any) -> Tensor:
        return sized(*size, dtype=dtype or self.dtype, layout=layout or self.layout,
                     device=device, requires_grad=requires_grad, **by_name)

    sized.__doc__ = f"A tensor of the sizes given, as integers or one sequence: ``{name}``."
    like.__doc__ = f"``{name}`` of the shape, dtype and strides of ``input``."
    new.__doc__ = f"``{name}`` of this tensor's dtype."
    public("torch", out=True, name=name)(sized)
    public("torch", name=f"{name}_like")(like)
    public("Tensor", name=f"new_{name}")(new)


def _sparse(name: str, shape: tuple[int, ...], held: np.dtype, kind: Any, requires_grad: bool,
            like: Tensor | None = None) -> Tensor:
    """A sparse tensor without elements: what ``zeros`` and ``empty`` are in such a layout."""
    if name == "ones":
        raise RuntimeError("full(...) is not implemented for sparse layout")
    # At start-up it would cost time that only sparse tensors need.
    from flambeau.ops.sparse.copies import empty_sparse
    sparse = getattr(like, "_a", None)
    made = empty_sparse(shape, held, kind, getattr(sparse, "sparse_dim", None))
    return wrap(made).requires_grad_(requires_grad)


_FILLS = {"zeros": 0, "ones": 1, "empty": None}


def array_like(name: str, input: Tensor, dtype: Any, order: Any) -> np.ndarray:
    """Uninitialised memory for ``name``, a function that makes a tensor like ``input``."""
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not "
                        f"{type(input).__name__}")
    held = as_dtype(dtype, name) or input.dtype
    if order is devices.contiguous_format:
        return np.empty(input._a.shape, held.np)
    if order is devices.channels_last:
        n, c, h, w = input._a.shape
        return np.empty((n, h, w, c), held.np).transpose(0, 3, 1, 2)
    # While a step is traced the array itself is behind its stand-in.
    a = getattr(input._a, "array", input._a)
    if type(a) is not np.ndarray:
        return np.empty(input._a.shape, held.np)
    if a.flags.c_contiguous:
        return memory.empty(a.shape, held.np) if a.size >= LARGE else np.empty(a.shape, held.np)
    return empty_in_order(a.shape, held.np, result_axes(a.shape, (a,)))


def _blank(shape: tuple[int, ...], held: np.dtype) -> np.ndarray:
    array = np.empty(shape, held)
    return fill_blank(array) if FILLING else array


def _ones(shape: tuple[int, ...], held: np.dtype) -> np.ndarray:
    return np.ones(shape, held) if math.prod(shape) < LARGE else fills.full(shape, held, 1)


_filled("zeros", np.zeros)
_filled("ones", _ones)
_filled("empty", _blank)


def _full_array(size: Any, fill_value: Any, dtype: Any, name: str = "full") -> np.ndarray:
    value = fill_value._a if isinstance(fill_value, Tensor) else fill_value
    to = as_dtype(dtype, name)
    if to is None:
        to = dtypes.default_for(category_of(value if not isinstance(value, np.ndarray)
                                            else value.item()))
    shape = sizes_from(name, (size,))
    number = _filling(fill_value, to, name)
    if math.prod(shape) >= LARGE and number.dtype == to.np:
        return fills.full(shape, to.np, number)
    array = np.empty(shape, to.np)
    array[...] = number
    return array


def _filling(value: Any, to: dtype, name: str) -> Any:
    """What ``value``, a number or a tensor, fills an array of ``to`` with."""
    if not isinstance(value, (Tensor, *NUMBERS)):
        raise TypeError(f"{name}(): argument 'fill_value' (position 2) must be Number, not "
                        f"{type(value).__name__}")
    if not isinstance(value, Tensor):
        return checked_array(value, to)
    if not value._a.ndim:
        check_held(value, to)
    return value._a


@public("torch", out=True)
def full(size: Any, fill_value: Any, *, dtype: dtype | None = None, layout: Any = None,
         device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A tensor of shape ``size`` filled with a number, whose kind gives the dtype.

    >>> import flambeau as torch
    >>> torch.full((2,), 7)
    tensor([7, 7])
    """
    return finish_new(_full_array(size, fill_value, dtype), device, requires_grad)


@public("torch")
def full_like(input: Tensor, fill_value: Any, *, dtype: dtype | None = None, layout: Any = None,
              device: Any = None, requires_grad: bool = False, memory_format: Any = None,
              pin_memory: bool = False) -> Tensor:
    """``full`` of the shape and dtype of ``input``."""
    array = array_like("full_like", input, dtype, memory_format)
    number = _filling(fill_value, dtypes.FROM_NUMPY[array.dtype], "full_like")
    if array.size < LARGE or not write(array, number):
        array[...] = number
    return finish_new(array, device, requires_grad)


@public("Tensor")
def new_full(self: Tensor, size: Any, fill_value: Any, *, dtype: dtype | None = None,
             device: Any = None, requires_grad: bool = False, layout: Any = None,
             pin_memory: bool = False) -> Tensor:
    """``full`` of this tensor's dtype."""
    return finish_new(_full_array(size, fill_value, dtype or self.dtype, "new_full"), device,
                      requires_grad)


@public("Tensor")
def new_tensor(self: Tensor, data: Any, *, dtype: dtype | None = None, device: Any = None,
               requires_grad: bool = False, layout: Any = None,
               pin_memory: bool = False) -> Tensor:
    """``tensor(data)`` of this tensor's dtype."""
    warn_of_tensor(data, "tensor.new_tensor")
    return finish_new(array_of(data, as_dtype(dtype, "new_tensor") or self.dtype), device,
                      requires_grad)


@public("torch")
def empty_strided(size: Any, stride: Any, *, dtype: dtype | None = None, layout: Any = None,
                  device: Any = None, requires_grad: bool = False,
                  pin_memory: bool = False) -> Tensor:
    """Uninitialised memory with the given strides, in elements."""
    shape = sizes_from("empty_strided", (size,))
    steps = tuple(stride)
    if len(steps) != len(shape):
        raise RuntimeError(f"dimensionality of sizes ({len(shape)}) must match dimensionality of "
                           f"strides ({len(steps)})")
    held = (as_dtype(dtype, "empty_strided") or get_default_dtype()).np
    span = 1 + sum(s * (n - 1) for n, s in zip(shape, steps)) if all(shape) else 0
    flat = _blank((span,), held)
    array = np.ndarray(shape, held, flat, 0, tuple([s * held.itemsize for s in steps]))
    return finish_new(array, device, requires_grad)


@public("Tensor")
def new_empty_strided(self: Tensor, size: Any, stride: Any, *, dtype: dtype | None = None,
                      device: Any = None, requires_grad: bool = False, layout: Any = None,
                      pin_memory: bool = False) -> Tensor:
    """``empty_strided`` of this tensor's dtype."""
    return empty_strided(size, stride, dtype=dtype or self.dtype, device=device,
                         requires_grad=requires_grad)


@public("torch")
def empty_permuted(size: Any, physical_layout: Any, *, dtype: dtype | None = None,
                   layout: Any = None, device: Any = None, requires_grad: bool = False,
                   pin_memory: bool = False) -> Tensor:
    """Uninitialised memory whose dimensions lie in the order ``physical_layout``."""
    shape, order = sizes_from("empty_permuted", (size,)), tuple(physical_layout)
    if len(order) != len(shape):
        raise RuntimeError(f"Number of dimensions in size does not match the length of the "
                           f"physical_layout; i.e. len(size) = {len(shape)} is not equal to "
                           f"len(physical_layout) = {len(order)}")
    if sorted(order) != list(range(len(shape))):
        raise RuntimeError("Duplicate or out of range dim in physical_layout")
    held = (as_dtype(dtype, "empty_permuted") or get_default_dtype()).np
    array = _blank(tuple([shape[d] for d in order]), held).transpose(np.argsort(order))
    return finish_new(array, device, requires_grad)


@public("torch")
def scalar_tensor(s: Any, *, dtype: dtype | None = None, layout: Any = None, device: Any = None,
                  requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A 0-dim tensor of a number, in the default dtype."""
    held = as_dtype(dtype, "scalar_tensor") or get_default_dtype()
    return finish_new(scalar_array(_number(s), held), device, requires_grad)


def _number(x: Any) -> Any:
    return x.item() if isinstance(x, Tensor) else x


@public("torch", out=True)
def arange(*bounds: Any, dtype: dtype | None = None, layout: Any = None, device: Any = None,
           requires_grad: bool = False, pin_memory: bool = False, **by_name: Any) -> Tensor:
    """Numbers from ``start`` (0) up to, not including, ``end`` in steps of ``step`` (1).

    >>> import flambeau as torch
    >>> torch.arange(1, 2.5, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    names = ("end",) if len(bounds) == 1 else ("start", "end", "step")
    given = {**dict(zip(names, map(_number, bounds))), **by_name}
    start, end, step = given.get("start", 0), given["end"], given.get("step", 1)
    to = as_dtype(dtype, "arange")
    if to is None:
        whole = all(category_of(x) <= dtypes.INT for x in (start, end, step))
        to = dtypes.int64 if whole else get_default_dtype()
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    return finish_new(_range_array(start, end, step, to), device, requires_grad)


def _range_array(start: Any, end: Any, step: Any, to: dtype) -> np.ndarray:
    if to.category == dtypes.INT:
        start, end, step = int(start), int(end), int(step)
        found = fills.spaced(len(range(start, end, step)), to.np, start, step)
        if found is not None:
            return found
        return np.arange(start, end, step, dtype=np.int64).astype(to.np, copy=False)
    return fills.stepped(math.ceil((end - start) / step), to.np, start, step)


@public("torch", name="range")
def range_(start: float, end: float, step: float = 1, *, dtype: dtype | None = None,
           device: Any = None, requires_grad: bool = False, layout: Any = None) -> Tensor:
    """Numbers from ``start`` to ``end``, both included."""
    to = as_dtype(dtype, "range") or get_default_dtype()
    if step == 0:
        raise RuntimeError("step must be nonzero")
    count = math.floor((end - start) / step) + 1
    array = (start + np.arange(count) * step).astype(to.np)
    return finish_new(array, device, requires_grad)


def _interpolated(start: Any, end: Any, steps: int, held: dtype) -> np.ndarray:
    """``steps`` numbers; the upper half is counted down from ``end``, so both ends are exact."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if steps == 1:
        return np.asarray([start], dtype=held.np)
    if held is dtypes.float16 and max(abs(start), abs(end)) > np.finfo(np.float16).max:
        raise RuntimeError("value cannot be converted to type c10::Half without overflow")
    wide = held.compute if held.category >= dtypes.FLOAT else np.dtype(np.float64)
    low, high = (_in(held, x).astype(wide)[()] for x in (start, end))
    step = (high - low) / wide.type(max(steps - 1, 1))
    if held.np == np.float32:
        found = fills.spaced(steps, held.np, float(low), float(step), float(high))
        if found is not None:
            return found
    at = np.arange(steps)
    if held.compute is not held.np:
        step = (high - low).astype(held.np) / held.np.type(max(steps - 1, 1))
        up = low + (step * at.astype(held.np)).astype(wide)
        down = high - (step * (steps - 1 - at).astype(held.np)).astype(wide)
    else:
        up = _fused(at, step, low)
        down = _fused(steps - 1 - at, -step, high)
    return np.where(at < steps // 2, up, down).astype(held.np)


def _fused(at: np.ndarray, step: Any, start: Any) -> np.ndarray:
    """``start + step * at``, rounded once where it is real, as PyTorch's kernel does."""
    if step.dtype == np.float32:
        # The float64 product is exact, so only the sum rounds, far below float32.
        return np.float64(start) + np.float64(step) * at
    if step.dtype == np.float64:
        return libm.fma(at.astype(np.float64), float(step), float(start))
    return start + step * at.astype(step.dtype)


def _count(name: str, steps: Any) -> int:
    try:
        return operator.index(steps)
    except TypeError:
        raise TypeError(f"{name}(): argument 'steps' must be int, not "
                        f"{type(steps).__name__}") from None


@public("torch", out=True)
def linspace(start: Any, end: Any, steps: int, *, dtype: dtype | None = None, layout: Any = None,
             device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """``steps`` numbers evenly spaced from ``start`` to ``end``, both included."""
    start, end, steps = _number(start), _number(end), _count("linspace", steps)
    to = as_dtype(dtype, "linspace") or _span_dtype(start, end)
    return finish_new(_interpolated(start, end, steps, to), device, requires_grad)


def _in(held: dtype, x: Any) -> np.ndarray:
    """A number in the dtype of the result, as its ends are taken."""
    if held.category == dtypes.INT and not isinstance(x, complex):
        return np.asarray(int(x), held.np)
    return np.asarray(x, held.np)


def _span_dtype(start: Any, end: Any) -> dtype:
    default = get_default_dtype()
    both = max(category_of(start), category_of(end))
    return default.to_complex() if both == dtypes.COMPLEX else default


@public("torch", out=True)
def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: dtype | None = None,
             layout: Any = None, device: Any = None, requires_grad: bool = False,
             pin_memory: bool = False) -> Tensor:
    """``base`` to the powers of ``linspace(start, end, steps)``."""
    start, end, steps = _number(start), _number(end), _count("logspace", steps)
    to = as_dtype(dtype, "logspace") or _span_dtype(start, end)
    if to.category == dtypes.INT:
        start, end = int(start), int(end)
    wide = dtypes.float64 if to.category < dtypes.COMPLEX else dtypes.complex128
    powers = np.power(wide.np.type(base), _interpolated(start, end, steps, wide))
    return finish_new(powers.astype(to.np), device, requires_grad)


@public("torch", out=True)
def eye(n: int, m: int | None = None, *, dtype: dtype | None = None, layout: Any = None,
        device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """The identity matrix, n × m."""
    for name, size in (("n", n), ("m", n if m is None else m)):
        if isinstance(size, (str, float)):
            raise TypeError(f"eye(): argument '{name}' (position {1 + (name == 'm')}) must be int, "
                            f"not {type(size).__name__}")
        if size < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {size}")
    held = as_dtype(dtype, "eye") or get_default_dtype()
    return finish_new(np.eye(n, m, dtype=held.np), device, requires_grad)


__all__ = ["arange", "array_of", "as_tensor", "finish_new", "from_numpy", "show", "tensor"]
