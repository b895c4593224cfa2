"""Checkpoints in the format before PyTorch 1.6: pickles in a row, then the storages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

from flambeau.core.storage import UntypedStorage
from flambeau.serialization.locations import Restore
from flambeau.storage import TypedStorage

__all__ = ["MAGIC", "load"]

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def load(file: Any, restore: Restore,
         make: Callable[[bytes, Callable[[tuple], Any]], tuple[Any, int]]) -> Any:
    """Read the object; ``make`` reads one pickle at the head of bytes and says where it ended."""
    content = file.read()
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[257:262] == b"ustar":
        raise RuntimeError("this file is no checkpoint of PyTorch that can be read here (HDF5, or "
                           "the tar format of PyTorch before 0.2)")
    reader = _Reader(content, make)
    magic = reader.next()
    if magic != MAGIC:
        raise UnpicklingError("this file is no checkpoint: it does not begin as one does")
    if reader.next() != PROTOCOL:
        raise RuntimeError("Invalid protocol version of a checkpoint")
    system = reader.next()
    little = system.get("little_endian", True) if isinstance(system, dict) else True
    storages = _Storages(content, little, restore)
    found = reader.next(storages.announce)
    storages.fill(reader.next(), reader.at)
    return found


class _Reader:
    """Pickles one after the other."""

    def __init__(self, content: bytes, make: Callable) -> None:
        self.content, self.make, self.at = content, make, 0

    def next(self, load_storage: Callable[[tuple], Any] | None = None) -> Any:
        """The next object."""
        found, length = self.make(self.content[self.at:], load_storage or _no_storage)
        self.at += length
        return found


def _no_storage(parts: tuple) -> Any:
    raise UnpicklingError("a storage where there can be none")


class _Storages:
    """The storages that the object names: made empty, filled from what follows it."""

    def __init__(self, content: bytes, little: bool, restore: Restore) -> None:
        self.content = content
        self.swap = little != (sys.byteorder == "little")
        self.restore = restore
        self.memory: dict[str, tuple[np.ndarray, int]] = {}
        self.placed: dict[str, UntypedStorage] = {}

    def announce(self, parts: tuple) -> Any:
        """The storage of a persistent id: class, key, location, count, and a view's place."""
        if len(parts) < 5 or type(parts[2]) is not str:
            raise UnpicklingError("a storage is named by its class, key, location and size")
        _, kind, key, location, count, *view = parts
        held = getattr(kind, "_fixed", None) or getattr(kind, "dtype", None)
        itemsize = 1 if held is None else held.itemsize
        if type(count) is not int or not 0 <= count * itemsize <= len(self.content):
            raise RuntimeError(f"storage {key} should hold {count} elements: more than the file")
        if key not in self.placed:
            memory = np.zeros(count * itemsize, np.uint8)
            unit = itemsize // 2 if held is not None and held.is_complex else itemsize
            self.memory[key] = memory, unit
            self.placed[key] = self.restore(UntypedStorage.of(memory), location)
        storage = self.placed[key]
        if view and view[0] is not None:
            _, offset, size = view[0]
            part = storage._root[offset * itemsize:(offset + size) * itemsize]
            storage = UntypedStorage.of(part)
        return storage if held is None else TypedStorage.of(storage, held)

    def fill(self, keys: Any, at: int) -> None:
        """Read the storages, in the order of ``keys``, from place ``at``."""
        for key in keys:
            if key not in self.memory:
                raise RuntimeError(f"the file has a storage {key!r} that nothing uses")
            memory, unit = self.memory[key]
            count = int.from_bytes(self.content[at:at + 8], "little" if not self.swap else "big")
            at += 8
            part = self.content[at:at + memory.size]
            if len(part) < memory.size or count > memory.size:
                raise RuntimeError(f"unexpected end of the file in storage {key!r}: it is "
                                   "truncated or damaged")
            memory[:] = np.frombuffer(part, np.uint8)
            if self.swap and unit > 1:
                memory[:] = memory.view(f"u{unit}").byteswap().view(np.uint8)
            at += memory.size
