"""Shared memory between a worker and its loader, used again once a batch is no longer needed.

The worker owns the segments. A batch that the loader receives is a lease of some of them: when its
last array dies the loader says so, and the worker fills the same memory again. Fresh pages, which
both processes would have to fault in, are so needed only for the first batches.
"""

from __future__ import annotations

import math
import os
import threading
from collections import deque
from itertools import count
from typing import Any

import numpy as np

from flambeau.backends.shared_memory import Segment, is_available

__all__ = ["Incoming", "Outgoing", "SHARE_FROM"]

# Below this size (in bytes) it is faster to send the bytes themselves.
SHARE_FROM = 1 << 15
ALIGNMENT = 64
# Idle segments that a worker keeps at most.
MOST_IDLE = 8
# A segment serves requests down to this part of its size.
LEAST_FILL = 0.25
# New segments that can go along with one message.
MOST_UNSENT = 200
# How many leases a loader holds per worker before it copies batches out: each takes a descriptor.
MOST_LEASES = 64


class _Held:
    """A segment of a worker: who uses it, arrays here and leases there."""

    __slots__ = ("fresh", "memory", "number", "owner", "segment", "users")

    def __init__(self, owner: Outgoing, number: int, size: int) -> None:
        self.owner = owner
        self.number = number
        self.segment = Segment.create(size)
        self.memory = self.segment.array()
        self.fresh = True
        self.users = 0


class _Use:
    """What the arrays over a segment hold on to, in the worker."""

    __slots__ = ("__array_interface__", "held")
    shares_memory = True

    def __init__(self, held: _Held) -> None:
        held.users += 1
        self.held = held
        self.__array_interface__ = held.memory.__array_interface__

    def __del__(self) -> None:
        self.held.owner.give_back(self.held)


class Outgoing:
    """A worker's segments."""

    def __init__(self) -> None:
        self.enabled = is_available()
        self.unsent = 0
        self.dropped: list[int] = []
        self._idle: list[_Held] = []
        self._lock = threading.Lock()
        self._leased: dict[int, _Held] = {}
        self._numbers = count()

    def empty(self, shape: tuple[int, ...], held: np.dtype) -> np.ndarray | None:
        """An uninitialised array that needs no copy to be sent; None where it is too small."""
        size = math.prod(shape) * held.itemsize
        if size < SHARE_FROM or not self.enabled or held.hasobject or self.unsent >= MOST_UNSENT:
            return None
        memory = np.asarray(_Use(self.take(size)))
        return memory[:size].view(held).reshape(shape)

    def take(self, size: int) -> _Held:
        """An idle segment of at least ``size`` bytes, or a new one."""
        with self._lock:
            fits = [h for h in self._idle if size <= h.memory.size <= size / LEAST_FILL]
            if fits:
                best = min(fits, key=lambda h: h.memory.size)
                self._idle.remove(best)
                return best
            if len(self._idle) >= MOST_IDLE:
                self._drop(self._idle.pop(0))
        held = _Held(self, next(self._numbers), _rounded(size))
        self.unsent += 1
        return held

    def sent(self, held: _Held) -> None:
        """The loader knows ``held`` from here on, and needs its descriptor no more."""
        held.fresh = False
        held.segment.close_fd()
        self.unsent -= 1

    def lease(self, held: _Held) -> None:
        """Note that the loader will read ``held``, until it gives it back."""
        held.users += 1
        self._leased[held.number] = held

    def give_back(self, held: _Held) -> None:
        """One user less; without the lock, since this runs wherever an array dies."""
        held.users -= 1
        if not held.users:
            self._idle.append(held)

    def returned(self, numbers: list[int], forgotten: list[int]) -> None:
        """The loader has given back these leases; the forgotten ones somebody else may read."""
        for number in numbers:
            held = self._leased.get(number)
            if held is not None:
                self.give_back(held)
        for number in forgotten:
            # Its users never become none, so nothing is written to it any more.
            held = self._leased.pop(number, None)
            if held is not None:
                self._drop(held)

    def _drop(self, held: _Held) -> None:
        self._leased.pop(held.number, None)
        if held.fresh:
            self.unsent -= 1
        else:
            self.dropped.append(held.number)

    @staticmethod
    def find(a: Any) -> tuple[_Held, int] | None:
        """The segment that ``a`` lies in and at which byte; None for other memory."""
        base = a
        while isinstance(base, (np.ndarray, memoryview)):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        if not isinstance(base, _Use):
            return None
        start = a.__array_interface__["data"][0] - base.__array_interface__["data"][0]
        return base.held, start


def _rounded(size: int) -> int:
    """``size`` up to one of four steps per power of two: batches of like sizes share segments."""
    step = max(4096, 1 << max(0, size.bit_length() - 3))
    return -(-size // step) * step


class _Forks:
    """How often this process has forked: a child may read whatever was leased before."""

    count = 0

    @classmethod
    def note(cls) -> None:
        """One fork more."""
        cls.count += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_Forks.note)


class _Lease:
    """What the arrays of a received batch hold on to, in the loader's process."""

    __slots__ = ("__array_interface__", "_forks", "_incoming", "_memory", "_number")
    shares_memory = True

    def __init__(self, incoming: Incoming, number: int) -> None:
        self._incoming = incoming
        self._number = number
        self._memory = incoming.memory[number]
        self._forks = _Forks.count
        self.__array_interface__ = self._memory.__array_interface__
        incoming.live += 1

    def __del__(self) -> None:
        incoming = self._incoming
        incoming.live -= 1
        same = self._forks == _Forks.count
        (incoming.returned if same else incoming.forgotten).append(self._number)


class Incoming:
    """A worker's segments as its loader sees them."""

    def __init__(self) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.returned: deque[int] = deque()
        self.forgotten: deque[int] = deque()
        self.live = 0

    def attach(self, number: int, size: int, fd: int) -> None:
        """Map the worker's new segment ``number``."""
        segment = Segment.attach(fd, size)
        segment.close_fd()
        self.memory[number] = segment.array()

    def lease(self, number: int) -> np.ndarray:
        """The bytes of a segment, which go back to the worker when no array needs them."""
        memory = np.asarray(_Lease(self, number))
        return memory.copy() if self.live > MOST_LEASES else memory

    def drop(self, numbers: list[int]) -> None:
        """The worker will not use these segments any more."""
        for number in numbers:
            self.memory.pop(number, None)

    def take_returned(self) -> tuple[list[int], list[int]]:
        """The leases that have ended since last asked: to be used again, and not to be."""
        # Item by item: an array may die in another thread meanwhile.
        returned, forgotten = ([ended.popleft() for _ in range(len(ended))]
                               for ended in (self.returned, self.forgotten))
        return returned, forgotten
