"""Copies of large arrays in another dtype or in C order, by kernels where there are any."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import large, memory
from flambeau.backends.memory_order import (
    empty_in_order,
    inverse,
    lies_in_order,
    result_axes,
    suggests_channels_last,
)
from flambeau.backends.passing import is_brief

_STORED = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
           "bool")
_CASTS = frozenset({(a, b) for a in _STORED for b in _STORED if a != b})
HALVES = frozenset(("float16", "bfloat16"))
_F16 = np.dtype(np.float16)
# NumPy is slow with float16: so many are converted by a kernel, where there are kernels already.
FEW_HALVES = 1 << 10


def astype(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return a converted copy, as NumPy's ``astype``, in the order of the array's axes.

    >>> astype(np.zeros(2, np.float16), np.dtype(np.float32)).dtype
    dtype('float32')
    """
    if array.size >= FEW_HALVES and _is_cast(array.dtype, dtype):
        least = FEW_HALVES if _F16 in (array.dtype, dtype) and large.started() else large.MIN_ITEMS
        found = _converted(array, dtype) if array.size >= least else None
        if found is not None:
            return found
    with np.errstate(invalid="ignore"):
        if array.dtype == np.float64 and dtype.name in HALVES:
            # by way of float32, as PyTorch rounds
            array = array.astype(np.float32)
        if _is_repeated(array):
            return _in_own_order(array, dtype)
        return array.astype(dtype)


@functools.cache
def _is_cast(source: np.dtype, target: np.dtype) -> bool:
    """Whether kernels, if there are any, convert from one dtype to another."""
    natively = source.isnative and target.isnative
    return natively and (source.name, target.name) in _CASTS


_I64, _U8 = np.dtype(np.int64), np.dtype(np.uint8)


def unsigned(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Floats, converted to an unsigned dtype by way of int64, as PyTorch does: they wrap.

    >>> unsigned(np.array([-1.5, 300.0]), np.dtype(np.uint8))
    array([255,  44], dtype=uint8)
    """
    if dtype == _U8 and array.size >= large.MIN_ITEMS and _is_cast(array.dtype, dtype):
        found = _converted(array, dtype, True)
        if found is not None:
            return found
    return astype(array, _I64).astype(dtype)


def _is_repeated(array: np.ndarray) -> bool:
    """Whether an item stands for several: NumPy orders such axes otherwise than PyTorch."""
    return array.ndim > 1 and not array.flags.c_contiguous and 0 in array.strides


def _in_own_order(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A copy in a dtype, laid out as PyTorch lays out copies."""
    out = empty_in_order(array.shape, dtype, result_axes(array.shape, (array,)))
    out[...] = array
    return out


def laid(out: np.ndarray, operands: Sequence[Any]) -> np.ndarray:
    """`out`, computed item by item from `operands`, in the order PyTorch lays it out; else a copy.

    operands: arrays, and None or numbers.

    >>> a = np.zeros((2, 3)).T
    >>> laid(np.zeros((3, 2)), (a,)).strides == a.strides
    True
    """
    if out.ndim < 2:
        return in_rows(out)
    arrays = [a for a in operands if type(a) is np.ndarray]
    if all([a.flags.c_contiguous for a in arrays]):
        return in_rows(out)
    return in_order(out, result_axes(out.shape, arrays))


def copied_as(array: np.ndarray, like: np.ndarray) -> np.ndarray:
    """A copy whose axes lie in memory as those of a copy of `like`, an array of its shape, do.

    >>> copied_as(np.zeros((2, 3)), np.zeros((3, 2)).T).flags.f_contiguous
    True
    """
    axes = None if like.flags.c_contiguous else result_axes(like.shape, (like,))
    return dense(array) if axes is None else _turned(array, axes)


def in_order(array: np.ndarray, axes: Sequence[int] | None) -> np.ndarray:
    """The array where its axes lie in memory in the order `axes`, else a copy whose do."""
    if lies_in_order(array, axes):
        return array
    return dense(array) if axes is None else _turned(array, axes)


def _turned(array: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """A copy whose axes lie in memory in the order `axes`."""
    return dense(array.transpose(axes)).transpose(inverse(axes))


def _converted(array: np.ndarray, dtype: np.dtype, wraps: bool = False) -> np.ndarray | None:
    if large.load() is None:
        return None
    kernel = _kernel(array.dtype, dtype, wraps)
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        found: np.ndarray | None = large.anyhow(kernel.program, (array,), dtype)
        return found
    out = memory.empty(array.shape, dtype)
    kernel.run_checked((out,), (array,), array.size, True)
    return out


@functools.cache
def _kernel(source: np.dtype, target: np.dtype, wraps: bool = False) -> Any:
    """The kernel of a conversion; where it `wraps`, float64 as int64 would."""
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    kinds = llvm.calls.STORED_KINDS
    x = b.input(kinds[source])
    if wraps and source == np.float64:
        # what is left of 256s, exactly; of other floats int32 lacks only whole 256s
        x = b.on.trunc(x)
        x = x - b.on.floor(x * (1 / 256)) * 256.0
    return llvm.calls.pointwise_kernel(b.pointwise(x.cast(kinds[target])))


def dense(array: np.ndarray) -> np.ndarray:
    """Return a C-contiguous copy.

    >>> dense(np.zeros((2, 3)).T).flags.c_contiguous
    True
    """
    if array.size >= large.MIN_ITEMS and not array.flags.c_contiguous and array.flags.aligned:
        llvm = large.load()
        if llvm is not None and array.dtype in llvm.calls.STORED_KINDS:
            out = memory.empty(array.shape, array.dtype)
            if is_brief(array):
                out[...] = array
                return out
            if llvm.strided.run(_kernel(array.dtype, array.dtype).program, (out,), (array,)):
                return out
    return np.array(array, order="C")


def reshaped(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The array in another shape, copied where no view of it has that.

    >>> reshaped(np.zeros((2, 3)).T, (6,)).shape
    (6,)
    """
    if array.size < large.MIN_ITEMS or array.flags.c_contiguous:
        return array.reshape(shape)
    try:
        return array.reshape(shape, copy=False)
    except ValueError:
        return dense(array).reshape(shape)


def in_rows(array: np.ndarray) -> np.ndarray:
    """Return the array where its items lie row by row, else a copy whose do."""
    return array if array.flags.c_contiguous else dense(array)


def in_format_of(array: np.ndarray, *like: np.ndarray) -> np.ndarray:
    """The array, or a copy: its channels are innermost where those of all `like` are, else rows.

    >>> images = np.zeros((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    >>> in_format_of(np.zeros((2, 3, 4, 5)), images).strides == images.strides
    True
    """
    if array.ndim != like[0].ndim or not all([suggests_channels_last(a) for a in like]):
        return in_rows(array)
    inner = array.transpose(0, *range(2, array.ndim), 1)
    return in_rows(inner).transpose(0, array.ndim - 1, *range(1, array.ndim - 1))


def dense_copy(array: np.ndarray) -> np.ndarray:
    """Return a C-contiguous copy; a small one by NumPy.

    >>> dense_copy(np.zeros((2, 3)).T).flags.c_contiguous
    True
    """
    if array.size < large.MIN_ITEMS:
        return np.array(array, order="C")
    return copied(array) if array.flags.c_contiguous else dense(array)


def write(out: np.ndarray, values: Any) -> bool:
    """``out[...] = values`` by a kernel, for an array of its dtype or a number; False if not.

    >>> out = np.zeros(40_000)
    >>> write(out, 2.0) and float(out.min()) != 2.0
    False
    """
    flags = out.flags
    if out.size < large.MIN_ITEMS or not (flags.aligned and flags.writeable) or is_brief(out):
        return False
    if not flags.c_contiguous and (not out.strides[-1] == out.itemsize or 0 in out.strides):
        return False
    llvm = large.load()
    if llvm is None or out.dtype not in llvm.calls.STORED_KINDS:
        return False
    if type(values) is not np.ndarray:
        with np.errstate(all="ignore"):
            values = np.array(values, out.dtype)
    if values.dtype != out.dtype or not values.flags.aligned or np.may_share_memory(out, values):
        return False
    whole = values.shape == out.shape and values.flags.c_contiguous
    if flags.c_contiguous and (values.size == 1 or whole):
        _copier(out.dtype, "scalar" if values.size == 1 else "array").run((out,), (values,))
        return True
    fits = values.ndim <= out.ndim and all(
        n in (1, m) for n, m in zip(values.shape[::-1], out.shape[::-1]))
    done: bool = fits and llvm.strided.run(_copier(out.dtype, "array").program, (out,), (values,))
    return done


@functools.cache
def _copier(dtype: np.dtype, layout: str) -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    return llvm.calls.pointwise_kernel(b.pointwise(b.input(llvm.calls.STORED_KINDS[dtype], layout)))


def copied(array: np.ndarray) -> np.ndarray:
    """Return a copy whose axes lie in memory as the array's do.

    >>> copied(np.zeros((2, 3)).T).flags.f_contiguous
    True
    """
    if array.size >= large.MIN_ITEMS and array.flags.c_contiguous and array.flags.aligned:
        llvm = large.load()
        if llvm is not None and array.dtype in llvm.calls.STORED_KINDS:
            out = memory.empty(array.shape, array.dtype)
            if is_brief(array):
                out[...] = array
                return out
            _copier(array.dtype, "array").run((out,), (array,), True)
            return out
    return _in_own_order(array, array.dtype) if _is_repeated(array) else np.array(array, order="K")


def half_pointwise(name: str, operands: Any) -> np.ndarray | None:
    """One instruction on large arrays of float16 or bfloat16, computed in float32.

    operands: arrays of one such dtype that broadcast to the largest, and Python numbers, which
    are not rounded to it. None for other cases. Comparisons give bool.
    """
    lead = large.lead_of(operands)
    if lead is None or lead.size < large.MIN_ITEMS or lead.dtype.name not in HALVES:
        return None
    if not large.takes(name, len(operands)) or large.load() is None:
        return None
    ins = []
    for item in operands:
        if type(item) is np.ndarray:
            if item.dtype != lead.dtype:
                return None
            ins.append(item)
        elif isinstance(item, (int, float)):
            ins.append(np.array(item, np.float32))
        else:
            return None
    layouts = tuple([large.dense_layout(a, lead.shape) for a in ins])
    dtypes = tuple([a.dtype for a in ins])
    if None in layouts:
        kernel = _half_kernel(name, dtypes, ("array",) * len(ins), lead.dtype)
        return large.anyhow(kernel.program, ins, kernel.outputs[0])
    kernel = _half_kernel(name, dtypes, layouts, lead.dtype)
    out = memory.empty(lead.shape, kernel.outputs[0])
    kernel.run((out,), ins, True)
    return out


@functools.cache
def _half_kernel(
    name: str, dtypes: tuple[np.dtype, ...], layouts: tuple[str, ...], dtype: np.dtype
) -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    operands = [b.input(llvm.calls.KINDS[d], layout) for d, layout in zip(dtypes, layouts)]
    result = b.step(name, *[x.cast("f32") for x in operands])
    if result.kind != "bool":
        result = result.cast(llvm.calls.KINDS[dtype])
    return llvm.calls.pointwise_kernel(b.pointwise(result))
