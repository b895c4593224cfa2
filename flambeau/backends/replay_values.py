"""What stands for arrays while a plan is written: views of memory, and loops over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.lib.stride_tricks import as_strided

from flambeau.backends.llvm import replay_text as text

if TYPE_CHECKING:
    from flambeau.backends.replay_plan import Writer

__all__ = ["Memory", "Refused", "Step", "Value", "is_basic", "step_of"]

ndarray = np.ndarray
_POWERS = {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}
_VIEWS = (np.broadcast_to, np.expand_dims, np.flip, np.moveaxis, np.rot90, np.squeeze,
          np.swapaxes, np.transpose)


class Refused(Exception):
    """A function does what no plan has."""


class Memory:
    """Dense elements: those of an array that is given, or of a result, or between steps."""

    __slots__ = ("given", "place", "dtype", "size", "offset")

    def __init__(self, dtype: np.dtype, size: int, given: bool = False) -> None:
        self.dtype, self.size, self.given = dtype, size, given
        self.place, self.offset = text.ADDRESS, 0


class Step(NamedTuple):
    """A loop over operands: their memory, where they start in it, and their strides, in bytes.

    There are strides for all sizes, as many as sizes.
    """

    loop: int
    besides: int | tuple[int, ...]
    sizes: tuple[int, ...]
    operands: tuple[tuple[Any, int, tuple[int, ...]], ...]


class Value(NDArrayOperatorsMixin):
    """Stands in for an array: a view of memory, dense if not told otherwise."""

    __hash__ = object.__hash__

    def __init__(self, writer: Writer, memory: Memory, shape: tuple[int, ...],
                 strides: tuple[int, ...] | None = None, offset: int = 0) -> None:
        self.writer, self.memory, self.shape, self.offset = writer, memory, shape, offset
        self.strides = dense_strides(shape, memory.dtype.itemsize) if strides is None else strides

    dtype = property(lambda self: self.memory.dtype)
    itemsize = property(lambda self: self.memory.dtype.itemsize)
    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: int(np.prod(self.shape, dtype=np.int64)))
    nbytes = property(lambda self: self.size * self.itemsize)
    T = property(lambda self: self.viewed(np.transpose))

    @property
    def flags(self) -> Any:
        return self._pattern().flags

    def _pattern(self) -> ndarray:
        """An array that lies as the value does; its elements are not there."""
        return as_strided(np.zeros((), self.dtype), self.shape, self.strides, writeable=False)

    def viewed(self, look: Callable, *args: Any, **kwargs: Any) -> Value:
        """A view that is made as ``look`` makes one of an array."""
        pattern = self._pattern()
        found = look(pattern, *args, **kwargs)
        if type(found) is not ndarray or found.size and not np.may_share_memory(found, pattern):
            raise Refused
        offset = found.ctypes.data - pattern.ctypes.data if found.size else 0
        return Value(self.writer, self.memory, found.shape, found.strides, self.offset + offset)

    def reshape(self, *shape: Any) -> Value:
        sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        whole = self if self.flags.c_contiguous else self.writer.dense(self)
        # NumPy itself resolves -1 and refuses what does not fit
        return whole.viewed(ndarray.reshape, sizes)

    def transpose(self, *axes: Any) -> Value:
        return self.viewed(ndarray.transpose, *axes)

    def swapaxes(self, first: int, second: int) -> Value:
        return self.viewed(ndarray.swapaxes, first, second)

    def squeeze(self, axis: Any = None) -> Value:
        return self.viewed(np.squeeze, axis)

    def astype(self, dtype: Any, copy: bool = True) -> Value:
        return self.writer.cast(self, np.dtype(dtype), copy)

    def copy(self) -> Value:
        return self.writer.dense(self)

    def dot(self, other: Value) -> Value:
        return self.writer.dot(self, other)

    def total(self, by: int) -> Value:
        return self.writer.total(self, by)

    def __pow__(self, exponent: Any) -> Any:
        named = _POWERS.get(exponent) if isinstance(exponent, (int, float)) else None
        return self.__array_ufunc__(named or np.power, "__call__",
                                    *((self,) if named else (self, exponent)))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Value:
        if is_basic(key):
            keys = key if type(key) is tuple else (key,)
            return self.viewed(ndarray.__getitem__, keys if ... in keys else (*keys, ...))
        return self.writer.picked(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.writer.put(self, key, value)

    def __bool__(self) -> bool:
        raise Refused

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if isinstance(out, tuple):
            (out,) = out
        target = None if out is ... else out
        if method == "__call__" and list(kwargs) == ["dtype"]:
            dtype = np.dtype(kwargs.pop("dtype"))
            inputs = tuple([x.astype(dtype, copy=False) if isinstance(x, Value) else x
                            for x in inputs])
        if method == "__call__" and not kwargs:
            return self.writer.elementwise(ufunc, inputs, target)
        if method == "reduce" and target is None:
            return self.writer.reduction(ufunc, *inputs, **kwargs)
        if method == "accumulate" and target is None:
            return self.writer.running(ufunc, *inputs, **kwargs)
        raise Refused

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and len(args) == 3 and not kwargs:
            return self.writer.choice(*args)
        if function is np.concatenate and len(args) == 2 and not kwargs:
            return self.writer.joined(args[0], args[1] % self.ndim)
        if function in _VIEWS and args[0] is self:
            return self.viewed(function, *args[1:], **kwargs)
        if function is np.zeros_like and len(args) == 1 and list(kwargs) == ["shape"]:
            return self.writer.zeros(kwargs["shape"], self.dtype)
        raise Refused


def is_basic(key: Any) -> bool:
    """Whether an index is made of slices, integers, None and ``...`` alone."""
    return all([k is None or k is ... or isinstance(k, (int, slice))
                for k in (key if type(key) is tuple else (key,))])


def dense_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """The strides of dense elements, in bytes."""
    found: list[int] = []
    step = itemsize
    for n in reversed(shape):
        found.insert(0, step)
        step *= n
    return tuple(found)


def step_of(loop: int, besides: Any, shape: Sequence[int], operands: Sequence[tuple]) -> Step:
    """A step whose neighbouring dimensions are one where all operands walk them as one.

    Operands are pairs of a value, or an array of one item, and strides.
    """
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in operands]
    for axis in reversed(range(len(shape))):
        n = shape[axis]
        if n == 1:
            continue
        here = [steps[axis] for _, steps in operands]
        if sizes and all(s == kept[0] * sizes[0] for s, kept in zip(here, strides)):
            sizes[0] *= n
            continue
        sizes.insert(0, n)
        for s, kept in zip(here, strides):
            kept.insert(0, s)
    if len(sizes) > 3 or len(operands) > text.MAX_OPERANDS:
        raise Refused
    missing = 3 - len(sizes)
    places = [(item, 0) if isinstance(item, ndarray) else (item.memory, item.offset)
              for item, _ in operands]
    whole = [(0,) * missing + tuple(kept) for kept in strides]
    return Step(loop, besides, (1,) * missing + tuple(sizes),
                tuple([(*place, steps) for place, steps in zip(places, whole)]))
