"""The memory behind tensors: where it starts, how long it is, and reading it anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flambeau.base.device import CPU, device
from flambeau.core.tensor import Tensor

__all__ = ["UntypedStorage", "address", "bytes_of", "restrided", "root_of", "start_of"]


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
    first = root[(slice(0, 1),) * root.ndim].reshape(1).view(np.uint8)
    low, high = np.lib.array_utils.byte_bounds(root)
    return np.lib.stride_tricks.as_strided(first, (high - low,), (1,),
                                           writeable=root.flags.writeable)


def start_of(t: Tensor) -> int:
    """How many elements of its storage lie before the first of ``t``."""
    if not t._a.size:
        return 0
    return (address(t._a) - address(root_of(t))) // t._a.itemsize


def restrided(memory: np.ndarray, held: np.dtype, size: Sequence[int], stride: Sequence[int],
              start: int) -> np.ndarray:
    """The array of this size and these strides (in elements) over ``memory``, which are bytes."""
    n = held.itemsize
    if any(m == 0 for m in size):
        return np.empty(tuple(size), held)
    first = memory[start * n:start * n + n].view(held)
    return np.lib.stride_tricks.as_strided(first, tuple(size), tuple([s * n for s in stride]),
                                           writeable=memory.flags.writeable)


class UntypedStorage:
    """The bytes that a tensor and its views share.

    >>> import flambeau as torch
    >>> torch.zeros(3).untyped_storage().nbytes()
    12
    """

    def __init__(self, root: np.ndarray) -> None:
        self._root = root

    def nbytes(self) -> int:
        """The length in bytes."""
        return bytes_of(self._root).size

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return address(self._root) if self._root.size else 0

    @property
    def device(self) -> device:
        """Where the memory is."""
        return CPU

    def tolist(self) -> list[int]:
        """The bytes as integers."""
        return bytes_of(self._root).tolist()

    def __getitem__(self, at: int) -> int:
        return int(bytes_of(self._root)[at])
