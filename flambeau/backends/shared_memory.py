"""Memory that processes share: segments without a name, freed when the last process lets go.

A segment is a file that no folder lists, so that nothing is left behind, however a process ends.
Other processes get it by inheriting it over a fork, or by being sent its file descriptor.
"""

from __future__ import annotations

import contextlib
import mmap
import os

import numpy as np

__all__ = ["Segment", "is_available", "segment_of", "shares_memory"]


def is_available() -> bool:
    """Whether this platform can share memory by file descriptors."""
    return os.name == "posix"


class Segment(mmap.mmap):
    """A mapping of ``len(segment)`` bytes; ``fd`` is its descriptor, or -1 once closed.

    Arrays over it keep it mapped.
    """

    fd = -1

    @classmethod
    def create(cls, size: int) -> Segment:
        """New memory of ``size`` (at least 1) bytes, all zero."""
        if not is_available():
            raise NotImplementedError("sharing memory between processes takes file descriptors, "
                                      "which this platform does not pass on")
        fd = _anonymous_file()
        try:
            os.ftruncate(fd, size)
        except OSError:
            os.close(fd)
            raise
        return cls.attach(fd, size)

    @classmethod
    def attach(cls, fd: int, size: int) -> Segment:
        """The memory behind ``fd``, which the segment owns from here on."""
        try:
            segment = cls(fd, size)
        except BaseException:
            os.close(fd)
            raise
        segment.fd = fd
        return segment

    def array(self) -> np.ndarray:
        """All of it as bytes, shape (len(self),), uint8."""
        return np.frombuffer(self, np.uint8)

    def close_fd(self) -> None:
        """Give up the descriptor; the memory stays mapped."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def __del__(self) -> None:
        self.close_fd()


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("flambeau")
    # An unlinked file: elsewhere there is no memory without a name. Linux need not import this.
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _owner(a: np.ndarray) -> object:
    """What the memory of ``a`` belongs to, behind views and buffers."""
    base: object = a.base
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base


def segment_of(a: np.ndarray) -> Segment | None:
    """The segment whose memory ``a`` is a view of; None where it is the process's own."""
    owner = _owner(a)
    return owner if isinstance(owner, Segment) else None


def shares_memory(a: np.ndarray) -> bool:
    """Whether other processes may see the memory of ``a``: its owner says so."""
    owner = _owner(a)
    return isinstance(owner, Segment) or getattr(owner, "shares_memory", False)
