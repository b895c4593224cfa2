"""Output arrays: aligned for vectors, and large buffers kept, since fresh pages are slow.

The C library gives freed memory of some size back to the system at once, and the first touch of a
new page costs more than a simple kernel does. `empty` keeps buffers of 128 KB and more when the
last view of them dies, up to a bound that FLAMBEAU_BUFFER_CACHE sets in megabytes (0: off).
"""

import functools
import os
import sys
import threading
from typing import Any

import numpy as np

from flambeau.base import config

# what is smaller the C library's heap serves well (glibc maps pages from here on)
THRESHOLD = 1 << 17
DEFAULT_LIMIT = 1 << 30
ALIGNMENT = 64
# NumPy's own memory starts 16 bytes into a cache line: that matters from about this size
ALIGN_FROM = 1 << 16
# sizes of buffers between one power of two and the next
STEPS = 8


class _Buffer:
    """Memory of one of the sizes that are kept, and where its first 64-byte boundary lies."""

    __slots__ = ("raw", "address", "size")

    def __init__(self, size: int) -> None:
        self.raw = np.empty(size + ALIGNMENT, np.uint8)
        start: int = self.raw.__array_interface__["data"][0]
        self.address = start + -start % ALIGNMENT
        self.size = size


class BufferCache:
    """Buffers that nobody views, oldest first, up to `limit` bytes in all.

    They come in STEPS sizes between powers of two; a request gets one of the next size.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._kept: dict[int, _Buffer] = {}
        self._sizes: dict[int, dict[int, _Buffer]] = {}
        self._bytes = 0

    def take(self, size: int) -> _Buffer:
        """Return a buffer of at least `size` bytes."""
        size = rounded(size)
        with self._lock:
            fits = self._sizes.get(size)
            if fits:
                # the one given last is likeliest still in the processor's caches
                number, buffer = fits.popitem()
                del self._kept[number]
                self._bytes -= size
                return buffer
        return _Buffer(size)

    def give(self, buffer: _Buffer) -> None:
        """Keep a buffer; without waiting, as this may run inside `take` or another thread's."""
        if not self._lock.acquire(False):
            return
        released = []
        size = buffer.size
        try:
            if size <= self.limit:
                number = id(buffer)
                self._kept[number] = buffer
                fits = self._sizes.get(size)
                if fits is None:
                    fits = self._sizes[size] = {}
                fits[number] = buffer
                self._bytes += size
                while self._bytes > self.limit:
                    released.append(self._drop_oldest())
        finally:
            self._lock.release()

    def clear(self) -> None:
        """Free every buffer kept."""
        with self._lock:
            released = self._kept
            self._kept, self._sizes, self._bytes = {}, {}, 0
        released.clear()

    def held_bytes(self) -> int:
        """Return how much memory is kept for later."""
        return self._bytes

    def after_fork(self) -> None:
        """In a child the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()
        self._kept, self._sizes, self._bytes = {}, {}, 0

    def _drop_oldest(self) -> _Buffer:
        buffer = self._kept.pop(next(iter(self._kept)))
        del self._sizes[buffer.size][id(buffer)]
        self._bytes -= buffer.size
        return buffer


def rounded(size: int) -> int:
    """The size of the buffer that serves a request for so many bytes.

    >>> rounded(1_100_000) == (1 << 20) * 9 // 8
    True
    """
    step = (1 << (size.bit_length() - 1)) // STEPS or 1
    return -(-size // step) * step


class _Owner:
    """What every view of a buffer holds on to; the buffer goes back when it dies."""

    __slots__ = ("_cache", "_buffer", "__array_interface__")

    def __init__(self, cache: BufferCache, buffer: _Buffer, size: int) -> None:
        self._cache = cache
        self._buffer = buffer
        self.__array_interface__: dict[str, Any] = {
            "version": 3, "typestr": "|u1", "shape": (size,), "data": (buffer.address, False)}

    def __del__(self) -> None:
        self._cache.give(self._buffer)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialised C-contiguous array, as `np.empty`.

    From 64 KB on it starts on a 64-byte boundary; from 128 KB on its memory may be a dead array's.

    >>> import numpy as np
    >>> empty((2, 3), np.dtype(np.float32)).shape
    (2, 3)
    """
    size = dtype.itemsize
    for length in shape:
        size *= length
    if size < ALIGN_FROM or dtype.hasobject:
        return np.empty(shape, dtype)
    if size < THRESHOLD or _cache.limit == 0:
        raw = np.empty(size + ALIGNMENT, np.uint8)
        return np.ndarray(shape, dtype, raw, -raw.__array_interface__["data"][0] % ALIGNMENT)
    return np.ndarray(shape, dtype, np.asarray(_Owner(_cache, _cache.take(size), size)))


def is_owner(array: np.ndarray) -> bool:
    """Whether an array has its memory to itself: it is no view, or the only one of a buffer."""
    base = array.base
    if base is None:
        return True
    # one reference is the array's, two are made here
    alone = type(base) is np.ndarray and sys.getrefcount(base) == 3
    return alone and base.nbytes - array.nbytes <= ALIGNMENT


def empty_cache() -> None:
    """Free the buffers kept for later."""
    _cache.clear()


def give_back() -> None:
    """Free the buffers kept for later, and have the C library return what is free to the system.

    It keeps freed memory below what is in use; only glibc can be told to return that.
    """
    _cache.clear()
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Any:
    import ctypes  # many programs never need it

    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def cached_bytes() -> int:
    """Return the size of the buffers kept for later."""
    return _cache.held_bytes()


_cache = BufferCache(config.buffer_cache(DEFAULT_LIMIT))
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_cache.after_fork)
