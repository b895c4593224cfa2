"""What stands in for arrays while a step is traced, and the memory that such values share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from flambeau.backends.conversions import copied
from flambeau.compiler.blanks import ValuesNeeded
from flambeau.compiler.graph import Value
from flambeau.core.levels import TRACED, Handle, mark
from flambeau.core.storage import address

if TYPE_CHECKING:
    from flambeau.compiler.tracer import Tracer
    from flambeau.core.tensor import Tensor

__all__ = ["Capture", "Memory", "Traced"]

ndarray = np.ndarray


class Capture:
    """A tensor from outside of the step: what it was when the trace first met it."""

    __slots__ = ("array", "at", "handle", "memory", "node", "tensor")

    def __init__(self, at: int, tensor: Tensor, array: ndarray, memory: Memory,
                 handle: Traced) -> None:
        self.at = at
        self.tensor = tensor
        self.array = array
        self.memory = memory
        self.handle = handle
        self.node = tensor._node


class Memory:
    """Memory that tensors of the trace share.

    ``array`` is the real one, ``value`` what it holds now as a value of the graph (None where
    that is not in the graph yet). ``before`` is what it held when the step began, kept once it
    was written. Of one that is ``blank`` the elements of ``array`` mean nothing. One that was
    ``picked`` from another, by numbers that are tensors, would be a view of that in eager mode:
    which, and how often that had been written by then.
    """

    __slots__ = ("array", "before", "blank", "captures", "picked", "strides", "tracer", "value",
                 "writes")

    def __init__(self, tracer: Tracer, array: ndarray, value: Value | None) -> None:
        self.tracer = tracer
        self.array = array
        self.value = value
        self.captures: list[Capture] = []
        self.before: ndarray | None = None
        self.blank = False
        self.picked: tuple[Memory, int] | None = None
        self.strides: tuple[int, ...] = array.strides
        self.writes = 0


class _Read:
    """A value that was asked for while tracing, where code expects a tensor."""

    __slots__ = ("_a",)

    def __init__(self, array: ndarray) -> None:
        self._a = array


class Traced(Handle, NDArrayOperatorsMixin):
    """The array ``array``, seen through the views ``chain`` of a memory.

    Each step of ``chain`` is (op, params, number of the output). What an operator does to it is
    noted in the graph; anything else that reads its elements ends the hope for one graph, and
    gets the real array.
    """

    __slots__ = ("array", "at", "chain", "memory", "seen")

    def __init__(self, array: ndarray, memory: Memory, chain: tuple = ()) -> None:
        self.level = TRACED
        self.array = array
        self.memory = memory
        self.chain = chain
        self.seen: Value | None = None
        self.at = -1

    __hash__ = object.__hash__
    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: mark(self.array.dtype))
    itemsize = property(lambda self: self.array.itemsize)
    strides = property(lambda self: self.array.strides)
    flags = property(lambda self: self.array.flags)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    nbytes = property(lambda self: self.array.nbytes)

    def transpose(self, *axes: Any) -> ndarray:
        """The real array, transposed: for its strides."""
        return self.array.transpose(*axes)

    @property
    def value(self) -> _Read:  # type: ignore[override]
        """Something over the real array: its values are being read."""
        return _Read(self.read())

    @property
    def whole(self) -> ndarray:  # type: ignore[override]
        """The array whose memory this is a part of."""
        return self.memory.array if self.chain else self.array

    def start_in(self, root: Any) -> int:
        """How many elements of the storage lie before the first: as read, its place may change."""
        if self.memory.captures:
            self.memory.tracer.breaks_at_read()
        whole = root.whole if type(root) is Traced else root
        return (address(self.array) - address(whole)) // self.itemsize

    def steps(self) -> tuple[int, ...]:
        """The strides, in elements: as read, those of the graph's value may be others."""
        self.memory.tracer.breaks_at_read()
        return tuple([s // self.itemsize for s in self.strides])

    def read(self) -> ndarray:
        """The real array, whose values Python needs."""
        if self.memory.blank:
            raise ValuesNeeded
        self.memory.tracer.breaks_at_read()
        return self.array

    def __array__(self, *args: Any, **kwargs: Any) -> ndarray:
        return np.array(self.read(), *args, **kwargs)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        real = [x.read() if type(x) is Traced else x for x in inputs]
        return getattr(ufunc, method)(*real, **kwargs)

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.read())

    def __bool__(self) -> bool:
        return bool(self.read())

    def __getitem__(self, index: Any) -> Any:
        return self.read()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        memory = self.memory
        if memory.blank:
            raise ValuesNeeded
        if memory.captures or memory.value is not None:
            # Not a new array that is still being filled: the graph would miss the change.
            memory.tracer.breaks_at_read()
            if memory.captures and memory.before is None:
                memory.before = copied(memory.array)
        self.array[index] = value.read() if type(value) is Traced else value

    def __getattr__(self, name: str) -> Any:
        if not hasattr(ndarray, name) or name.startswith("__") and name != "__array_interface__":
            raise AttributeError(name)
        return getattr(self.read(), name)
