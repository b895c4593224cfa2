"""The ZIP archive of a checkpoint: entries stored as they are, on 64-byte boundaries.

The layout is that of PyTorch 2: one root folder with ``data.pkl``, ``byteorder``, ``version`` and
a few more small entries, and the memory of every storage as ``data/KEY``.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import sys
import zipfile
import zlib
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

__all__ = ["ALIGNMENT", "Archive", "is_zip", "write_archive"]

ALIGNMENT = 64
# From here on an entry's local header has the 20 bytes that ZIP64 adds.
LARGE = 1 << 30
_HEADER = 30
FAILED = "PytorchStreamReader failed reading zip archive: "
UNREADABLE = (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, zlib.error, OSError)


def is_zip(file: IO[bytes]) -> bool:
    """Whether a file starts as a ZIP archive does; its position is kept."""
    at = file.tell()
    head = file.read(4)
    file.seek(at)
    return head == b"PK\x03\x04"


def write_archive(file: IO[bytes], root: str, pickled: bytes,
                  storages: Mapping[str, np.ndarray]) -> None:
    """Write a checkpoint: its pickle, and the bytes of its storages by key."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        digest = hashlib.sha1(pickled)
        entries: list[tuple[str, Any]] = [
            ("data.pkl", pickled), (".format_version", b"1"),
            (".storage_alignment", str(ALIGNMENT).encode()), ("byteorder", sys.byteorder.encode())]
        entries += [(f"data/{key}", memory) for key, memory in storages.items()]
        for name, content in entries:
            digest.update(f"{name} {_write(archive, f'{root}/{name}', content)}".encode())
        _write(archive, f"{root}/version", b"3\n")
        number = int.from_bytes(digest.digest()) % 10**40
        _write(archive, f"{root}/.data/serialization_id", b"%040d" % number)


def _write(archive: zipfile.ZipFile, name: str, content: bytes | np.ndarray) -> int:
    """Write one entry, its bytes on a boundary; returns their checksum."""
    held = content if isinstance(content, bytes) else content.data
    view = memoryview(held).cast("B") if len(content) else b""
    info = zipfile.ZipInfo(name)  # of 1980: the same content makes the same file
    large = len(view) >= LARGE
    assert archive.fp is not None
    start = archive.fp.tell() + _HEADER + len(name.encode()) + 4 + (20 if large else 0)
    padding = -start % ALIGNMENT
    info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    info.file_size = len(view)
    with archive.open(info, "w", force_zip64=large) as entry:
        entry.write(view)
    info.extra = b""  # the directory needs no padding
    return info.CRC


class Archive:
    """A checkpoint's archive, opened for reading.

    ``file`` is a binary file, or with ``mapped`` a path whose storages are then read when they are
    first touched. Raises RuntimeError where it is no such archive, or is damaged.
    """

    def __init__(self, file: Any, mapped: bool = False) -> None:
        self.map: mmap.mmap | None = None
        self._start = 0
        if mapped:
            with open(file, "rb") as opened:
                if not os.fstat(opened.fileno()).st_size:
                    raise RuntimeError(FAILED + "the file is empty")
                self.map = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
            file = io.BufferedReader(_Mapped(self.map))
        try:
            self.zip = zipfile.ZipFile(file)
        except UNREADABLE as error:
            raise RuntimeError(f"{FAILED}failed finding central directory ({error}). The file is "
                               "truncated or damaged, or not a checkpoint.") from None
        names = self.zip.namelist()
        if not names:
            raise RuntimeError(f"{FAILED}the archive is empty")
        self.root = names[0].split("/")[0]
        self.names = {name.removeprefix(f"{self.root}/") for name in names}

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def size(self, name: str) -> int:
        """The bytes that an entry holds."""
        return self._info(name).file_size

    def _info(self, name: str) -> zipfile.ZipInfo:
        try:
            return self.zip.getinfo(f"{self.root}/{name}")
        except KeyError:
            raise RuntimeError(f"{FAILED}file not found in it: {self.root}/{name}") from None

    def read(self, name: str) -> bytes:
        """The content of a small entry."""
        info = self._info(name)
        try:
            return self.zip.read(info)
        except UNREADABLE as error:
            raise self._damaged(name, error) from None

    def array(self, name: str) -> np.ndarray:
        """The content of an entry as bytes, in memory of its own or, where mapped, the file's."""
        info = self._info(name)
        if self.map is not None and info.compress_type == zipfile.ZIP_STORED:
            return np.frombuffer(self.map, np.uint8, info.file_size, self._payload(name, info))
        out = np.empty(_believable(info, name), np.uint8)
        entry: Any
        try:
            with self.zip.open(info) as entry:
                view, at = out.data, 0
                while at < len(view) and (count := entry.readinto(view[at:])):
                    at += count
                if at < len(view) or entry.read(1):
                    raise EOFError(f"it holds {at} bytes of {len(view)}")
        except UNREADABLE as error:
            raise self._damaged(name, error) from None
        return out

    def _payload(self, name: str, info: zipfile.ZipInfo) -> int:
        """Where the content of a stored entry begins; the local header says it."""
        assert self.map is not None
        head = self.map[info.header_offset:info.header_offset + _HEADER]
        if len(head) < _HEADER or head[:4] != b"PK\x03\x04":
            raise self._damaged(name, "it has no local header")
        lengths = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        start = info.header_offset + _HEADER + lengths
        if start + info.file_size > len(self.map):
            raise self._damaged(name, "it reaches beyond the end of the file")
        return start

    def _damaged(self, name: str, why: object) -> RuntimeError:
        return RuntimeError(f"{FAILED}{self.root}/{name} cannot be read ({why}). The file is "
                            "truncated or damaged.")


def _believable(info: zipfile.ZipInfo, name: str) -> int:
    """The size of an entry; stored ones cannot be larger than what the file has for them."""
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise RuntimeError(f"{FAILED}the sizes of {name} contradict each other")
    if info.file_size > 1100 * info.compress_size + 1024:
        raise RuntimeError(f"{FAILED}{name} would unpack to {info.file_size} bytes")
    return info.file_size


class _Mapped(io.RawIOBase):
    """A memory map as a file of its own position."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory, self.at = memory, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self.at, len(self.memory))[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self.at = base + offset
        return self.at

    def tell(self) -> int:
        return self.at

    def readinto(self, buffer: Any) -> int:
        part = self.memory[self.at:self.at + len(buffer)]
        buffer[:len(part)] = part
        self.at += len(part)
        return len(part)
