"""The memory behind tensors: where it starts, how long it is, and reading it anew."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from flambeau.base import naming
from flambeau.base.device import CPU, as_device, device
from flambeau.core.tensor import Tensor

__all__ = ["UntypedStorage", "address", "bytes_of", "mapped", "restrided", "root_of", "start_of"]


def root_of(t: Tensor) -> np.ndarray:
    """The array whose memory ``t`` and its views share."""
    meta = t._x
    return t._a if meta is None or meta.root is None else meta.root


def address(a: np.ndarray) -> int:
    """Where the first element of ``a`` lies."""
    return a.__array_interface__["data"][0]


def bytes_of(root: np.ndarray) -> np.ndarray:
    """The memory of ``root`` as bytes; empty where it has no elements."""
    if not root.size:
        return np.empty(0, np.uint8)
    place: Any = (..., *[slice(0, 1)] * root.ndim)
    first = root[place].reshape(1).view(np.uint8)
    low, high = np.lib.array_utils.byte_bounds(root)
    return np.lib.stride_tricks.as_strided(first, (high - low,), (1,),
                                           writeable=root.flags.writeable)


def start_of(t: Tensor) -> int:
    """How many elements of its storage lie before the first of ``t``."""
    if not t._a.size:
        return 0
    if type(t._a) is not np.ndarray:
        return 0 if t._a.whole is None else t._a.start_in(root_of(t))
    return (address(t._a) - address(root_of(t))) // t._a.itemsize


def restrided(memory: np.ndarray, held: np.dtype, size: Sequence[int], stride: Sequence[int],
              start: int) -> np.ndarray:
    """The array of this size and these strides (in elements) over ``memory``, which are bytes."""
    n = held.itemsize
    if any(m == 0 for m in size):
        return np.empty(tuple(size), held)
    return np.ndarray(tuple(size), held, memory, start * n, tuple([s * n for s in stride]))


def mapped(filename: str, shared: bool, count: int, held: np.dtype) -> np.ndarray:
    """An array over the first ``count`` elements of a file; see ``from_file``."""
    need = count * held.itemsize
    if need < 0:
        raise RuntimeError(f"unable to mmap {need} bytes from file <{filename}>: the size is "
                           "negative")
    try:
        have = os.stat(filename).st_size
        if shared and have < need:
            os.truncate(filename, need)
    except FileNotFoundError as error:
        if not shared:
            raise RuntimeError(f"unable to open file <{filename}> in read-only mode: "
                               f"{error.strerror} ({error.errno})") from None
        with open(filename, "wb") as file:
            file.truncate(need)
    else:
        if not shared and have < need:
            raise RuntimeError(f"file <{filename}> size <{have}> is smaller than the required "
                               f"mapping size <{need}>")
    if not need:
        return np.empty(0, held)
    try:
        memory = np.memmap(filename, np.uint8, "r+" if shared else "c", shape=(need,))
    except OSError as error:
        raise RuntimeError(f"unable to mmap {need} bytes from file <{filename}>: "
                           f"{error.strerror} ({error.errno})") from None
    return np.asarray(memory).view(held)


class UntypedStorage:
    """The bytes that a tensor and its views share, or bytes on their own.

    ``UntypedStorage(n)`` has n bytes that are not initialised, ``UntypedStorage([...])`` those
    given. Two storages are equal where they are the same memory.

    >>> import flambeau as torch
    >>> torch.zeros(3).untyped_storage().nbytes()
    12
    >>> torch.UntypedStorage([1, 2]).tolist()
    [1, 2]
    """

    is_cuda = is_hpu = is_sparse = is_sparse_csr = False
    filename: str | None = None

    def __init__(self, data: Any = None, *, size: int | None = None, device: Any = None) -> None:
        as_device(device)
        self._root = _bytes_given(size if data is None else data)
        self._alone = True

    @classmethod
    def of(cls, root: np.ndarray) -> Self:
        """The storage that is the memory of ``root``."""
        self = cls.__new__(cls)
        self._root, self._alone = root, False
        return self

    @classmethod
    def from_buffer(cls, buffer: Any, byte_order: str | None = None, count: int = -1,
                    offset: int = 0, *, dtype: Any = None) -> Self:
        """A copy of the memory of an object with the buffer protocol.

        ``dtype`` says how long an element is, in which ``count`` counts; ``byte_order`` is
        "native", "little" or "big", and is turned into this machine's.
        """
        held = np.dtype(np.uint8) if dtype is None else dtype.np
        array = np.frombuffer(buffer, held, count, offset).copy()
        if byte_order in ("little", "big") and byte_order != sys.byteorder:
            array = array.byteswap()
        self = cls()
        self._root = array.view(np.uint8)
        return self

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, size: int = 0) -> Self:
        """``size`` bytes over the memory of a file; see ``torch.from_file``."""
        self = cls.of(mapped(filename, shared, size, np.dtype(np.uint8)))
        self.filename = filename
        return self

    @property
    def _bytes(self) -> np.ndarray:
        return bytes_of(self._root)

    def nbytes(self) -> int:
        """The length in bytes."""
        return self._bytes.size

    size = __len__ = nbytes

    def element_size(self) -> int:
        """1: elements are bytes."""
        return 1

    def data_ptr(self) -> int:
        """The address of the first byte; 0 where there is none."""
        return address(self._root) if self._root.size else 0

    _cdata = property(lambda self: self.data_ptr() or id(self._root))

    @property
    def device(self) -> device:
        """Where the memory is."""
        return CPU

    def get_device(self) -> int:
        """-1: the CPU."""
        return -1

    def untyped(self) -> Self:
        """Itself."""
        return self

    def cpu(self) -> Self:
        """Itself."""
        return self

    def is_pinned(self, device: Any = None) -> bool:
        """False."""
        return False

    def tolist(self) -> list[int]:
        """The bytes as integers."""
        return self._bytes.tolist()

    def clone(self) -> Self:
        """A copy."""
        return self.of(self._bytes.copy())

    def copy_(self, source: Any, non_blocking: bool | None = None) -> Self:
        """Overwrite the bytes with those of a storage of the same length."""
        theirs = source.untyped()._bytes
        if theirs.size != self.nbytes():
            raise RuntimeError(f"size does not match, self was {self.nbytes()} bytes but src was "
                               f"{theirs.size} bytes")
        self._bytes[...] = theirs
        return self

    def fill_(self, value: int) -> Self:
        """Overwrite every byte."""
        self._bytes[...] = np.asarray(value).astype(np.uint8)
        return self

    def byteswap(self, dtype: Any) -> None:
        """Reverse the bytes of every element, in place."""
        elements = self._bytes.view(dtype.np)
        elements[...] = elements.byteswap()

    def new(self) -> Self:
        """An empty storage."""
        return type(self)()

    def resizable(self) -> bool:
        """Whether ``resize_`` is possible: not where tensors share the memory."""
        return self._alone

    def resize_(self, size: int) -> Self:
        """Change the length; RuntimeError where tensors share the memory."""
        if not self._alone:
            raise RuntimeError("Trying to resize storage that is not resizable")
        longer = np.zeros(size, np.uint8)
        kept = min(size, self.nbytes())
        longer[:kept] = self._bytes[:kept]
        self._root = longer
        return self

    def type(self) -> str:
        """The name of this class."""
        return f"{naming.prefix()}.storage.UntypedStorage"

    def _at(self, at: int) -> int:
        count = self.nbytes()
        if not -count <= at < count:
            raise IndexError(f"index {at} out of range for storage of size {count}")
        return at

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            if at.step not in (None, 1):
                raise RuntimeError(f"Trying to slice with a step of {at.step}, but only a step of "
                                   "1 is supported")
            return self.of(self._bytes[at])
        return int(self._bytes[self._at(at)])

    def __setitem__(self, at: Any, value: int) -> None:
        where = at if isinstance(at, slice) else self._at(at)
        self._bytes[where] = np.asarray(value).astype(np.uint8)

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self._cdata == other._cdata

    def __hash__(self) -> int:
        return hash(self._cdata)

    def __copy__(self) -> Self:
        return self.clone()

    def __deepcopy__(self, memo: dict) -> Self:
        return memo.setdefault(("storage", self._cdata), self.clone())

    def __reduce__(self) -> tuple:
        return type(self).from_buffer, (self._bytes.tobytes(),)

    def __repr__(self) -> str:
        lines = "\n ".join(map(str, self.tolist()))
        return (f" {lines}\n[{naming.prefix()}.storage.UntypedStorage(device=cpu) of size "
                f"{self.nbytes()}]")


def _bytes_given(data: Any) -> np.ndarray:
    if data is None:
        return np.empty(0, np.uint8)
    if isinstance(data, int):
        if data < 0:
            raise RuntimeError(f"UntypedStorage: the size must not be negative, but is {data}")
        return np.empty(data, np.uint8)
    name = f"{naming.prefix()}.UntypedStorage()"
    if not isinstance(data, Sequence):
        raise RuntimeError(f"{name}: Expected a sequence type, but got {type(data).__name__}")
    wrong = next((x for x in data if not isinstance(x, int)), None)
    if wrong is not None:
        raise RuntimeError(f"{name}: tried to construct a storage from a sequence "
                           f"({type(data).__name__}), but one of the items was of type "
                           f"{type(wrong).__name__} instead of int")
    return np.asarray(data, np.int64).astype(np.uint8)
