"""Pickling with storages put aside: what ``data.pkl`` of a checkpoint holds."""

from __future__ import annotations

import io
import pickle
import types
from collections import OrderedDict
from typing import Any

import numpy as np

from flambeau.base.device import strided
from flambeau.base.dtypes import dtype as Dtype
from flambeau.core.storage import UntypedStorage, bytes_of, root_of, start_of
from flambeau.core.tensor import Tensor
from flambeau.nn.parameter import Parameter
from flambeau.serialization import rebuild
from flambeau.serialization.names import UNTYPED, name_of, storage_name
from flambeau.storage import TypedStorage

__all__ = ["Pickler"]

ATTRIBUTE_ERROR = ("cannot pickle {kind} '{name}': it lives inside a function, so that no program "
                   "could find it again. Define it at the top level of a module.")


class Memory:
    """A storage as it is put aside: an array, and the dtype that its elements count as."""

    def __init__(self, root: np.ndarray, held: np.dtype) -> None:
        self.root, self.held = root, held


_Python: Any = pickle._Pickler  # type: ignore[attr-defined]


class Pickler(_Python):
    """Pickles objects under PyTorch's names; ``storages`` gathers their memory by key.

    A storage that several tensors share is kept once. The pickler in Python is used because only
    that one lets a class be written under another name than its own.
    """

    dispatch = _Python.dispatch.copy()

    def __init__(self, file: io.BytesIO, protocol: int = 2) -> None:
        super().__init__(file, protocol)
        self.storages: dict[str, np.ndarray] = {}
        self._keys: dict[int, str] = {}
        self._dtypes: dict[int, np.dtype] = {}
        self._alive: list[Any] = []

    def reducer_override(self, thing: Any) -> Any:
        """Tensors as calls that rebuild them; everything else as usual."""
        if isinstance(thing, Tensor):
            return self._tensor(thing)
        return thing.name if isinstance(thing, Dtype) else NotImplemented

    def save_global(self, thing: Any, name: str | None = None) -> None:
        """Name a class or function; flambeau's by the name that PyTorch has for it."""
        named = name_of(thing, name)
        if named is None:
            super().save_global(thing, name)
            return
        if "<locals>" in named[1]:
            raise pickle.PicklingError(ATTRIBUTE_ERROR.format(kind=type(thing).__name__,
                                                              name=named[1]))
        self._write_global(*named, thing)

    dispatch[types.FunctionType] = save_global

    def save_type(self, thing: type) -> Any:
        """As ``save_global``, but for the types of None, NotImplemented and ``...``."""
        if thing in (type(None), type(NotImplemented), type(...)):
            return super().save_type(thing)
        return self.save_global(thing)

    dispatch[type] = save_type

    def _write_global(self, module: str, name: str, thing: Any) -> None:
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(thing)

    def persistent_id(self, thing: Any) -> Any:
        """What stands for a storage: its class, key, location and number of elements."""
        if isinstance(thing, TypedStorage):
            thing = Memory(thing._untyped._root, thing.dtype.np)
        elif isinstance(thing, UntypedStorage):
            thing = Memory(thing._root, np.dtype(np.uint8))
            return self._entry(thing, _Named("torch.storage", "UntypedStorage"))
        if not isinstance(thing, Memory):
            return None
        return self._entry(thing, _Named(*storage_name(thing.held)))

    def _entry(self, memory: Memory, kind: _Named) -> tuple:
        root = memory.root
        key = self._keys.get(id(root))
        if key is None:
            key = self._keys[id(root)] = str(len(self._keys))
            self._alive.append(root)
            self._dtypes[id(root)] = memory.held
            self.storages[key] = bytes_of(root)
        elif self._dtypes[id(root)] != memory.held:
            raise RuntimeError("Cannot save multiple tensors or storages that view the same data "
                               "as different types")
        untyped = kind.name == "UntypedStorage"
        count = self.storages[key].size // (1 if untyped else memory.held.itemsize)
        return ("storage", kind, key, "cpu", count)

    def save(self, thing: Any, save_persistent_id: bool = True) -> Any:
        """As the base class; stands for names that have no object behind them."""
        if type(thing) is _Named:
            found = self.memo.get(id(_named(thing)))
            if found is not None:
                return self.write(self.get(found[0]))
            return self._write_global(thing.module, thing.name, _named(thing))
        if isinstance(thing, dict) and type(thing) is not dict and name_of(type(thing)):
            thing = self._plain_dict(thing)
        return super().save(thing, save_persistent_id)

    def _plain_dict(self, thing: dict) -> dict:
        """A dict of flambeau's own that pickles as a dict, as one."""
        reduced = thing.__reduce_ex__(self.proto)
        if reduced[0] is not dict:
            return thing
        self._alive.append(plain := dict(thing))
        return plain

    def _tensor(self, t: Tensor) -> tuple:
        if t.layout is not strided:
            return rebuild.reduce_sparse(t)
        if type(t._a) is not np.ndarray:
            raise RuntimeError("a tensor inside a function transform cannot be saved")
        state = {k: v for k, v in t.__dict__.items() if k != "_is_param"}
        if isinstance(t, Parameter):
            hooks: OrderedDict = OrderedDict()
            if state:
                return rebuild.REBUILD["_rebuild_parameter_with_state"], (
                    t.data, t.requires_grad, hooks, state)
            return rebuild.REBUILD["_rebuild_parameter"], (t.data, t.requires_grad, hooks)
        name, args = _parts(t)
        if type(t) is Tensor and not state:
            return rebuild.REBUILD[name], args
        return rebuild.REBUILD["_rebuild_from_type_v2"], (
            rebuild.REBUILD[name], type(t), args, state)


class _Named:
    """A class that is only written by its name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


_NAMES: dict[tuple[str, str], _Named] = {}


def _named(thing: _Named) -> _Named:
    """The one object of this name, which the memo knows it by."""
    return _NAMES.setdefault((thing.module, thing.name), thing)


def _parts(t: Tensor) -> tuple[str, tuple]:
    """The function that rebuilds a plain tensor, and its arguments."""
    a = t._a
    size, stride = tuple(a.shape), tuple(t.stride())
    shared: tuple = (Memory(root_of(t), a.dtype), start_of(t), size, stride, t.requires_grad,
                     OrderedDict())
    if t.dtype.name in UNTYPED:
        return "_rebuild_tensor_v3", (*shared, t.dtype)
    return "_rebuild_tensor_v2", shared
