"""Type promotion over tensors and Python numbers, and numbers as arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, category_of, default_for, dtype, promote_types
from flambeau.base.limits import finfo
from flambeau.core.tensor import Tensor

__all__ = ["NUMBERS", "check_held", "check_numbers", "check_scalars", "checked_array",
           "checked_number", "fits_all", "kept_number", "number_array", "result_type",
           "scalar_array"]

NUMBERS = (bool, int, float, complex, np.number, np.bool_)


def result_type(operands: Iterable[Any]) -> dtype:
    """PyTorch's result dtype of tensors and Python numbers used together.

    Tensors with dimensions decide first; 0-dim tensors, then Python numbers, only raise the
    result to their category (bool, integer, floating, complex), never its width.
    """
    dims: dtype | None = None
    zero: dtype | None = None
    number = -1
    for x in operands:
        if isinstance(x, Tensor):
            held = FROM_NUMPY[x._a.dtype]
            if x._a.ndim:
                dims = held if dims is None else promote_types(dims, held)
            else:
                zero = held if zero is None else promote_types(zero, held)
        elif x is not None:
            number = max(number, category_of(x))
    return _combine(dims, zero, number)


def _combine(dims: dtype | None, zero: dtype | None, number: int) -> dtype:
    found = dims
    if zero is not None and (found is None or zero.category > found.category):
        found = zero if found is None else _raised(found, zero)
    if number >= 0 and (found is None or number > found.category):
        by_number = default_for(number)
        found = by_number if found is None else _raised(found, by_number)
    assert found is not None
    return found


def _raised(low: dtype, high: dtype) -> dtype:
    if high.is_complex and low.is_floating_point:
        return promote_types(low.to_complex(), high) if low is dtypes.float64 else high
    return high


def kept_number(value: float, held: np.dtype) -> np.ndarray:
    """As ``number_array``, one array for all that ask for a number: it cannot be written."""
    # 0.0 and -0.0 are one key of a dict
    return _kept(value, held) if value else number_array(value, held)


@functools.lru_cache(256, typed=True)
def _kept(value: float, held: np.dtype) -> np.ndarray:
    array = number_array(value, held)
    array.flags.writeable = False
    return array


def number_array(value: Any, held: np.dtype) -> np.ndarray:
    """A 0-dim array of a Python number; integers wrap around as in PyTorch."""
    if held.kind in "iu" and isinstance(value, int):
        _check_width(value)
        info = np.iinfo(held)
        if not info.min <= value <= info.max:
            value &= (1 << 8 * held.itemsize) - 1
            if held.kind == "i" and value > info.max:
                value -= 1 << 8 * held.itemsize
    if held.kind == "V" and isinstance(value, int):
        value = float(value)
    return np.asarray(value, held)


def _check_width(value: int) -> None:
    if value >= 2**64:
        raise OverflowError("int too big to convert")
    if value < -2**63:
        raise OverflowError("can't convert negative int to unsigned")


# Numbers that must be of a dtype: what is filled in, where, and what bounds are.

# What every floating dtype of 16 bits and more holds.
_SMALL = 65504.0
_C_NAMES = {"float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float",
            "float64": "double", "complex64": "c10::complex<float>",
            "complex128": "c10::complex<double>", "int32": "int", "bool": "bool"}
_largest: dict[dtype, float] = {}


def fits_all(value: Any) -> bool:
    """Whether a real number is in every floating dtype of 16 bits and more: small, or not finite.
    """
    return bool(-_SMALL <= value <= _SMALL or value != value or value in (math.inf, -math.inf))


def check_numbers(numbers: Iterable[Any], operands: Iterable[Any]) -> None:
    """RuntimeError where one of ``numbers`` is not in the result dtype of ``operands``."""
    for x in numbers:
        if isinstance(x, NUMBERS) and not _is_tiny(x):
            checked_number(x, result_type(operands))


def _is_tiny(x: Any) -> bool:
    """Whether any dtype holds the number ``x``."""
    return not isinstance(x, (complex, np.complexfloating)) and bool(-128 <= x <= 127)


def check_held(value: Any, to: dtype) -> None:
    """RuntimeError where ``to`` does not hold the number in ``value``, a 0-dim tensor."""
    if type(value._a) is np.ndarray and value._a.dtype is not to.np:
        checked_number(value._a.item(), to)


def _overflow(to: dtype) -> RuntimeError:
    """The error for a number that ``to`` does not hold."""
    name = _C_NAMES.get(to.name) or (
        f"{to.name}_t" if to.category == dtypes.INT else f"c10::{to.name.capitalize()}")
    return RuntimeError(f"value cannot be converted to type {name} without overflow")


def checked_array(value: Any, to: dtype) -> np.ndarray:
    """``checked_number(value, to)`` as a 0-dim array of ``to``."""
    return number_array(checked_number(value, to), to.np)


def scalar_array(value: Any, to: dtype) -> np.ndarray:
    """The same, but half types take what float64 holds, as infinity where it is too large."""
    return number_array(checked_number(value, _scalar_dtype(to)), to.np)


def check_scalars(numbers: Iterable[Any], operands: Iterable[Any]) -> None:
    """``check_numbers`` by the rule of ``scalar_array``."""
    for x in numbers:
        if isinstance(x, NUMBERS) and not _is_tiny(x):
            checked_number(x, _scalar_dtype(result_type(operands)))


def _scalar_dtype(to: dtype) -> dtype:
    return dtypes.float64 if to.is_floating_point and to.itemsize < 4 else to


def checked_number(value: Any, to: dtype) -> Any:
    """The number ``value`` as one of the category of ``to``, or of a lower one.

    RuntimeError where ``to`` does not hold it. Floats lose their fraction in integer dtypes,
    and negative integers wrap around in unsigned ones.
    """
    if not isinstance(value, NUMBERS):
        raise TypeError(f"value must be a number or a tensor, not {type(value).__name__}")
    if isinstance(value, (bool, np.bool_)):
        return value
    if isinstance(value, (int, np.integer)):
        _check_width(int(value))
    if to.category == dtypes.BOOL:
        return bool(value)
    if isinstance(value, (complex, np.complexfloating)):
        return _checked_complex(value, to)
    if to.category == dtypes.INT:
        return _checked_integer(value, to)
    if not (to.itemsize > 1 and fits_all(value) or _is_held(value, to)):
        raise _overflow(to)
    return value


def _checked_complex(value: Any, to: dtype) -> Any:
    if to.is_complex:
        if _is_held(value.real, to) and _is_held(value.imag, to):
            return value
    elif not value.imag:
        return checked_number(value.real, to)
    raise _overflow(to)


def _checked_integer(value: Any, to: dtype) -> int:
    low, high = int(np.iinfo(to.np).min), int(np.iinfo(to.np).max)
    if isinstance(value, (int, np.integer)):
        whole = int(value)
        if not to.is_signed:
            low = -high
        # 64 bits hold every negative integer, as the unsigned one that it wraps around to.
        if whole > high or whole < low and (to.is_signed or to.itemsize < 8):
            raise _overflow(to)
        return whole
    if not math.isfinite(value) or value < low or int(value) > high:
        raise _overflow(to)
    return int(value)


def _is_held(value: Any, to: dtype) -> bool:
    if not math.isfinite(value):
        return True
    most = _largest.get(to)
    if most is None:
        most = _largest[to] = finfo(to).max
    return bool(-most <= value <= most)
