"""Tensors whose memory is a file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from flambeau.base.dtypes import dtype, get_default_dtype
from flambeau.core.face import public
from flambeau.core.storage import UntypedStorage
from flambeau.core.tensor import Tensor
from flambeau.ops.construct import finish_new

__all__ = ["from_file", "mapped"]


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


@public("torch")
def from_file(filename: str, shared: bool | None = None, size: int = 0, *,
              dtype: dtype | None = None, layout: Any = None, device: Any = None,
              requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A 1-D tensor of ``size`` elements over the memory of a file.

    With ``shared`` changes are written to the file, which is made or made longer where needed;
    without, they stay in this tensor, and the file must be long enough.
    """
    if not isinstance(filename, str):
        raise TypeError("from_file(): argument 'filename' (position 1) must be str, not "
                        f"{type(filename).__name__}")
    held = (dtype or get_default_dtype()).np
    return finish_new(mapped(filename, bool(shared), size, held), device, requires_grad)


def _storage_from_file(cls: type, filename: str, shared: bool = False,
                       size: int = 0) -> UntypedStorage:
    """``size`` bytes over the memory of a file; see ``torch.from_file``."""
    found = UntypedStorage.of(mapped(filename, shared, size, np.dtype(np.uint8)))
    found.filename = filename
    return found


UntypedStorage.from_file = classmethod(_storage_from_file)  # type: ignore[attr-defined]
