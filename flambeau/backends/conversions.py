"""Copies of large arrays in another dtype or in C order, by kernels where there are any."""

import functools
from typing import Any

import numpy as np

from flambeau.backends import large, memory

# floats do not go to integers here: what is out of range has no value
_CASTS = frozenset({
    *[(a, b) for a in ("float16", "bfloat16", "float64") for b in ("float32",)],
    *[("float32", b) for b in ("float16", "bfloat16", "float64")],
    *[(a, b) for a in ("int32", "int64", "bool") for b in ("float32", "float64")],
    ("int32", "int64"), ("int64", "int32"), ("bool", "int32"), ("bool", "int64"),
})
HALVES = frozenset(("float16", "bfloat16"))


def astype(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return a converted copy, as NumPy's ``astype``, in the order of the array's axes.

    >>> astype(np.zeros(2, np.float16), np.dtype(np.float32)).dtype
    dtype('float32')
    """
    if array.size >= large.MIN_ITEMS and (array.dtype.name, dtype.name) in _CASTS:
        found = _converted(array, dtype)
        if found is not None:
            return found
    return array.astype(dtype)


def _converted(array: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    if large.load() is None or not (array.dtype.isnative and dtype.isnative):
        return None
    kernel = _kernel(array.dtype, dtype)
    if not (array.flags.c_contiguous and array.flags.aligned):
        found: np.ndarray | None = large.anyhow(kernel.program, (array,), dtype)
        return found
    out = memory.empty(array.shape, dtype)
    kernel.run((out,), (array,), True)
    return out


@functools.cache
def _kernel(source: np.dtype, target: np.dtype) -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    kinds = llvm.calls.KINDS
    return llvm.calls.pointwise_kernel(b.pointwise(b.input(kinds[source]).cast(kinds[target])))


def dense(array: np.ndarray) -> np.ndarray:
    """Return a C-contiguous copy.

    >>> dense(np.zeros((2, 3)).T).flags.c_contiguous
    True
    """
    if array.size >= large.MIN_ITEMS and not array.flags.c_contiguous and array.flags.aligned:
        llvm = large.load()
        if llvm is not None and array.dtype in llvm.calls.KINDS:
            out = memory.empty(array.shape, array.dtype)
            if llvm.strided.run(_kernel(array.dtype, array.dtype).program, (out,), (array,)):
                return out
    return np.array(array, order="C")


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
    kernel = _half_kernel(name, tuple([a.dtype for a in ins]), lead.dtype)
    return large.anyhow(kernel.program, ins, kernel.outputs[0])


@functools.cache
def _half_kernel(name: str, dtypes: tuple[np.dtype, ...], dtype: np.dtype) -> Any:
    llvm = large.load()
    assert llvm is not None
    b = llvm.expressions.Builder()
    result = b.step(name, *[b.input(llvm.calls.KINDS[d]).cast("f32") for d in dtypes])
    if result.kind != "bool":
        result = result.cast(llvm.calls.KINDS[dtype])
    return llvm.calls.pointwise_kernel(b.pointwise(result))
