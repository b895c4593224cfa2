"""Output arrays: aligned for vectors, and large buffers kept, since fresh pages are slow.

Above 32 MB the C library maps new pages at every allocation, and the first touch of each costs more
than a simple kernel does. `empty` keeps buffers of that size when the last view of them dies, up to
a bound that FLAMBEAU_BUFFER_CACHE sets in megabytes (0 turns it off).
"""

import os
import threading
from typing import Any

import numpy as np

# glibc's largest threshold for mapping an allocation
THRESHOLD = 32 << 20
DEFAULT_LIMIT = 1 << 30
ALIGNMENT = 64
# NumPy's own memory starts 16 bytes into a cache line: that matters from about this size
ALIGN_FROM = 1 << 16
# a kept buffer serves requests down to this part of its size
LEAST_FILL = 0.75


class BufferCache:
    """Buffers that nobody views, oldest first, up to `limit` bytes in all."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._kept: list[np.ndarray] = []
        self._bytes = 0

    def take(self, size: int) -> np.ndarray:
        """Return a byte array of at least `size` bytes, on a 64-byte boundary."""
        with self._lock:
            fits = [k for k in self._kept if size <= k.nbytes <= size / LEAST_FILL]
            if fits:
                best = min(fits, key=len)
                self._drop(best)
                return best
        return _aligned(size)

    def give(self, raw: np.ndarray) -> None:
        """Keep a buffer; without waiting, as this may run inside `take` or another thread's."""
        if not self._lock.acquire(blocking=False):
            return
        released = []
        try:
            if raw.nbytes <= self.limit:
                self._kept.append(raw)
                self._bytes += raw.nbytes
                while self._bytes > self.limit:
                    released.append(self._kept[0])
                    self._drop(self._kept[0])
        finally:
            self._lock.release()

    def clear(self) -> None:
        """Free every buffer kept."""
        with self._lock:
            released, self._kept = self._kept, []
            self._bytes = 0
        released.clear()

    def held_bytes(self) -> int:
        """Return how much memory is kept for later."""
        return self._bytes

    def after_fork(self) -> None:
        """In a child the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()
        self._kept = []
        self._bytes = 0

    def _drop(self, raw: np.ndarray) -> None:
        """Forget a buffer; by identity, since arrays compare item by item."""
        self._kept = [kept for kept in self._kept if kept is not raw]
        self._bytes -= raw.nbytes


class _Owner:
    """What every view of a buffer holds on to; the buffer goes back when it dies."""

    __slots__ = ("_cache", "_raw", "__array_interface__")

    def __init__(self, cache: BufferCache, raw: np.ndarray, size: int) -> None:
        self._cache = cache
        self._raw = raw
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "typestr": "|u1",
            "shape": (size,),
            "data": (raw.__array_interface__["data"][0], False),
        }

    def __del__(self) -> None:
        self._cache.give(self._raw)


def empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an uninitialised C-contiguous array, as `np.empty`.

    From 64 KB on it starts on a 64-byte boundary; from 32 MB on its memory may be a dead array's.

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
        return _aligned(size).view(dtype).reshape(shape)
    owner = _Owner(_cache, _cache.take(size), size)
    return np.asarray(owner).view(dtype).reshape(shape)


def empty_cache() -> None:
    """Free the buffers kept for later."""
    _cache.clear()


def cached_bytes() -> int:
    """Return the size of the buffers kept for later."""
    return _cache.held_bytes()


def _aligned(size: int) -> np.ndarray:
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT
    return raw[start : start + size]


def _limit_from_environment() -> int:
    chosen = os.environ.get("FLAMBEAU_BUFFER_CACHE", "").strip()
    if not chosen:
        return DEFAULT_LIMIT
    try:
        return max(0, int(float(chosen) * (1 << 20)))
    except ValueError:
        raise ValueError(
            f"FLAMBEAU_BUFFER_CACHE is a number of megabytes, not {chosen!r}"
        ) from None


_cache = BufferCache(_limit_from_environment())
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_cache.after_fork)
