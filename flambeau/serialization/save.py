"""``save``: objects, with the tensors in them, to a checkpoint file."""

from __future__ import annotations

import io
import os
import pickle
from typing import Any

from flambeau.serialization.archive import write_archive
from flambeau.serialization.atomic import writing
from flambeau.serialization.pickler import Pickler

__all__ = ["save"]


def save(obj: Any, f: Any, pickle_module: Any = pickle, pickle_protocol: int = 2,
         _use_new_zipfile_serialization: bool = True,
         _disable_byteorder_record: bool = False) -> None:
    """Save an object to ``f``, a path or a binary file, in the format that PyTorch reads.

    Tensors that share memory still do when loaded. A file at a path has its old content or the
    new one, never a part, whatever happens meanwhile. Raises RuntimeError where the folder does
    not exist, or two tensors see one memory as different dtypes; PicklingError for what cannot be
    pickled.

    >>> import io
    >>> import flambeau as torch
    >>> file = io.BytesIO()
    >>> torch.save({"w": torch.ones(2)}, file)
    >>> _ = file.seek(0)
    >>> torch.load(file)
    {'w': tensor([1., 1.])}
    """
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("flambeau writes the ZIP format only, which PyTorch reads since "
                                  "1.6; leave out _use_new_zipfile_serialization=False")
    if getattr(pickle_module, "__name__", "") not in ("pickle", "_pickle", "cloudpickle", "dill"):
        raise TypeError("pickle_module is the module pickle or one that works as it does")
    path = os.fspath(f) if isinstance(f, (str, os.PathLike)) else None
    if path is None and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a "
                             "'write' attribute")
    pickled = io.BytesIO()
    pickler = Pickler(pickled, pickle_protocol)
    # All that can fail for what the object is, before anything is written.
    pickler.dump(obj)
    if path is None:
        write_archive(f, "archive", pickled.getvalue(), pickler.storages)
        return
    path = os.fsdecode(path)
    root = os.path.splitext(os.path.basename(path))[0] or "archive"
    with writing(path) as file:
        write_archive(file, root, pickled.getvalue(), pickler.storages)
