"""``load``: a checkpoint file back to objects."""

from __future__ import annotations

import io
import os
import pickle
import sys
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numpy as np

from flambeau.core.storage import UntypedStorage
from flambeau.serialization import legacy
from flambeau.serialization.allowed import allowed_names
from flambeau.serialization.archive import FAILED, Archive, is_zip
from flambeau.serialization.locations import Restore, restorer
from flambeau.serialization.names import find
from flambeau.serialization.safe_unpickler import SafeUnpickler
from flambeau.storage import TypedStorage

__all__ = ["Storages", "dtype_of", "load", "unpickler"]

ONLY_WEIGHTS = (
    "Weights only load failed. This file can still be loaded, to do so you have two options, "
    "do those steps only if you trust the source of the checkpoint.\n"
    "\t(1) load(..., weights_only=False) makes everything that the file asks for, which can run "
    "any code.\n"
    "\t(2) With weights_only=True the file may hold tensors, containers and numbers, and what "
    "add_safe_globals allows. This one asks for more:\n"
    "\tWeightsUnpickler error: {error}")
NOT_SEEKABLE = (
    ". You can only torch.load from a file that is seekable. Please pre-load the data into a "
    "buffer like io.BytesIO and try to load from it instead.")
MMAP_FORMAT = (
    "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization="
    "True), please torch.save your checkpoint with this option in order to use mmap.")
TORCHSCRIPT = (
    "this file holds a TorchScript program (torch.jit.save), not a checkpoint. Load it where it "
    "was made, and save its state_dict() with torch.save.")


def load(f: Any, map_location: Any = None, pickle_module: Any = None, *,
         weights_only: bool | None = None, mmap: bool | None = None, **pickle_load_args: Any
         ) -> Any:
    """Load what ``save`` (or PyTorch) saved, from a path or a seekable binary file.

    By default only tensors, containers, numbers and what ``add_safe_globals`` allows are made, and
    nothing is run; ``weights_only=False`` makes everything, and can run any code in the file.
    ``map_location`` says where storages go (a device, its name, a dict or a function of storage
    and location). ``mmap`` reads a file's storages when they are first touched; writing to them
    changes memory only. Raises RuntimeError for a damaged file, UnpicklingError for a refused one.
    """
    if pickle_module is not None and weights_only:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    safe = pickle_module is None if weights_only is None else weights_only
    encoding = pickle_load_args.pop("encoding", "utf-8")
    make = unpickler(safe, encoding, pickle_module or pickle, pickle_load_args)
    restore = restorer(map_location)
    if mmap and not isinstance(f, (str, os.PathLike)):
        raise ValueError("f must be a file path in order to use the mmap argument")
    if not isinstance(f, (str, os.PathLike)):
        _require_seekable(f)
        return _load(f, restore, make, safe)
    with open(f, "rb") as file:
        if not mmap:
            return _load(file, restore, make, safe)
        if not is_zip(file):
            raise RuntimeError(MMAP_FORMAT)
    return _from_archive(Archive(os.fspath(f), mapped=True), restore, make, safe)


def _require_seekable(f: Any) -> None:
    for name in ("seek", "tell", "read"):
        if not hasattr(f, name):
            raise AttributeError(f"'{type(f).__name__}' object has no attribute '{name}'"
                                 + NOT_SEEKABLE)
    try:
        f.seek(f.tell())
    except io.UnsupportedOperation as error:
        raise type(error)(f"{error}{NOT_SEEKABLE}") from None


Make = Callable[[bytes, Callable[[tuple], Any]], tuple[Any, int]]


def _load(file: Any, restore: Restore, make: Make, safe: bool) -> Any:
    if is_zip(file):
        return _from_archive(Archive(file), restore, make, safe)
    return _said(safe, lambda: legacy.load(file, restore, make))


def _from_archive(archive: Archive, restore: Restore, make: Make, safe: bool) -> Any:
    if "constants.pkl" in archive or "data.pkl" not in archive:
        if "constants.pkl" in archive:
            raise RuntimeError(TORCHSCRIPT)
        raise RuntimeError(f"{FAILED}file not found in it: {archive.root}/data.pkl")
    storages = Storages(archive, restore)
    content = archive.read("data.pkl")
    return _said(safe, lambda: make(content, storages.load)[0])


def _said(safe: bool, run: Callable[[], Any]) -> Any:
    """``run()``; what it refuses, with what a user can do about it."""
    try:
        return run()
    except UnpicklingError as error:
        if not safe:
            raise
        raise UnpicklingError(ONLY_WEIGHTS.format(error=error)) from None
    except RecursionError:
        raise UnpicklingError("the pickle is nested too deeply") from None


def unpickler(safe: bool, encoding: str, module: Any, settings: dict[str, Any]) -> Make:
    """The function of a pickle and ``load_storage`` that gives an object, and where it ended."""
    def read_safely(content: bytes, load_storage: Callable[[tuple], Any]) -> tuple[Any, int]:
        reader = SafeUnpickler(content, load_storage, allowed_names(), encoding)
        return reader.load(), reader.at

    def read(content: bytes, load_storage: Callable[[tuple], Any]) -> tuple[Any, int]:
        class Unpickler(module.Unpickler):  # type: ignore[misc]
            def find_class(self, module: str, name: str) -> Any:
                if module.split(".")[0] in ("torch", "flambeau"):
                    return find(module, name)
                return super().find_class(module, name)

            def persistent_load(self, parts: tuple) -> Any:
                return load_storage(parts)

        file = io.BytesIO(content)
        found = Unpickler(file, encoding=encoding, **settings).load()
        return found, file.tell()

    return read_safely if safe else read


def dtype_of(kind: Any) -> Any:
    """The dtype of the elements of a storage's class; None for plain bytes."""
    return getattr(kind, "_fixed", None) or getattr(kind, "dtype", None)


class Storages:
    """The storages of an archive, each read when it is first asked for."""

    def __init__(self, archive: Archive, restore: Restore) -> None:
        self.archive = archive
        self.restore = restore
        self.found: dict[str, UntypedStorage] = {}
        order = archive.read("byteorder").decode() if "byteorder" in archive else sys.byteorder
        if order not in ("little", "big"):
            raise RuntimeError(f"{FAILED}unknown byte order {order!r}")
        self.swap = order != sys.byteorder

    def load(self, parts: tuple) -> Any:
        """The storage of a persistent id: its class, key, location and number of elements."""
        if len(parts) < 5 or type(parts[2]) is not str or type(parts[3]) is not str:
            raise UnpicklingError("a storage is named by its class, key, location and size")
        held = dtype_of(parts[1])
        storage = self.found.get(parts[2])
        if storage is None:
            storage = self.found[parts[2]] = self._read(parts[2], held, parts[3], parts[4])
        return storage if held is None else TypedStorage.of(storage, held)

    def _read(self, key: str, held: Any, location: str, count: Any) -> UntypedStorage:
        memory = self.archive.array(f"data/{key}")
        itemsize = 1 if held is None else held.itemsize
        if type(count) is not int or count * itemsize > memory.size:
            raise RuntimeError(f"{FAILED}storage {key} should hold {count} elements of {itemsize} "
                               f"bytes, and holds {memory.size} bytes")
        if self.swap and itemsize > 1:
            memory = _swapped(memory, held)
        return self.restore(UntypedStorage.of(memory), location)


def _swapped(memory: np.ndarray, held: Any) -> np.ndarray:
    unit = held.itemsize // 2 if held.is_complex else held.itemsize
    return memory.view(f"u{unit}").byteswap().view(np.uint8)
