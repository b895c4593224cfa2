"""Tensors that processes share: moving them into shared memory, and how they are sent."""

from __future__ import annotations

import gc
import os
import pickle
import sys
import warnings
import weakref
from typing import Any

import numpy as np

from flambeau.backends.shared_memory import Segment, is_available, segment_of, shares_memory
from flambeau.base.device import strided
from flambeau.base.dtypes import BY_NAME, FROM_NUMPY
from flambeau.core.face import public
from flambeau.core.node import LEAF
from flambeau.core.storage import address, bytes_of, root_of
from flambeau.core.tensor import Meta, Tensor, wrap
from flambeau.ops.convert import plain

__all__ = ["is_shared", "reduce_tensor", "register", "share_memory_"]

NOT_A_LEAF = (
    "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not "
    "support crossing process boundaries.  If you just want to transfer the data, call detach() "
    "on the tensor before serializing (e.g., putting it on the queue).")
HOOK_IS_LEFT = (
    "backward hook {!r} on tensor will not be serialized.  If this is expected, you can decorate "
    "the function with @torch.utils.hooks.unserializable_hook to suppress this warning")

# Segments received, by the file behind them: what comes twice is mapped once.
_RECEIVED: weakref.WeakValueDictionary[tuple[int, int], Segment] = weakref.WeakValueDictionary()


@public("Tensor")
def is_shared(self: Tensor) -> bool:
    """Whether the memory can be read and written by other processes."""
    return type(self._a) is np.ndarray and shares_memory(root_of(self))


@public("Tensor")
def share_memory_(self: Tensor) -> Tensor:
    """Move the storage into memory that other processes can share; returns the tensor.

    Processes forked later, or sent the tensor by ``torch.multiprocessing``, see each other's
    changes. Tensors of the same storage move along; NumPy arrays over the old memory do not.

    >>> import flambeau as torch
    >>> torch.zeros(2).share_memory_().is_shared()
    True
    """
    _check_storage(self)
    if not is_shared(self):
        register(type(self))
        _move(self)
    return self


def _check_storage(t: Tensor) -> None:
    if getattr(t, "layout", strided) is not strided:
        raise NotImplementedError("Cannot access storage of SparseTensorImpl")
    plain(t, "share_memory_()")


def _move(t: Tensor) -> None:
    """Give the storage of ``t`` a segment of its own."""
    holders = _holders(t)
    root = root_of(t)
    old = bytes_of(root)
    low = address(old) if old.size else address(root)
    memory = Segment.create(max(old.size, 1)).array()
    memory[:old.size] = old

    def moved(a: np.ndarray) -> np.ndarray:
        start = address(a) - low if a.size else 0
        return np.ndarray(a.shape, a.dtype, memory, start, a.strides)

    new = moved(root)
    for holder in holders:
        a, meta = holder._a, holder._x
        holder._a = new if a is root else moved(a)
        if meta is not None and meta.root is not None:
            meta.root = new


def _holders(t: Tensor) -> list[Tensor]:
    """The tensors that share the storage of ``t``: whoever knows its array, and ``t`` itself."""
    found = {id(t): t}
    if _references(t) <= _references(wrap(np.empty(1))):
        return [t]
    root = root_of(t)
    pending: list[Any] = [root]
    while pending:
        for holder in gc.get_referrers(pending.pop()):
            if isinstance(holder, Tensor):
                if root_of(holder) is root:
                    found[id(holder)] = holder
            elif isinstance(holder, Meta):
                pending.append(holder)
    return list(found.values())


def _references(t: Tensor) -> int:
    """How often the storage's array is referred to, as seen from here: few know it but ``t``."""
    return sys.getrefcount(root_of(t))


def register(kind: type = Tensor) -> None:
    """Have ``multiprocessing`` send tensors of this type in shared memory."""
    # Programs of one process need not pay for the import.
    from multiprocessing.reduction import ForkingPickler

    if is_available():
        ForkingPickler.register(kind, reduce_tensor)


def reduce_tensor(t: Tensor) -> Any:
    """How ``multiprocessing`` sends a tensor: its memory's descriptor, and where in it it lies."""
    # Only where processes talk to each other.
    from multiprocessing.reduction import DupFd  # type: ignore[attr-defined]

    if t._node is not None and t._node is not LEAF:
        raise RuntimeError(NOT_A_LEAF)
    for hook in (t._x.hooks or {}).values() if t._x is not None else ():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(HOOK_IS_LEFT.format(hook), stacklevel=2)
    if getattr(t, "layout", strided) is not strided:
        # Its parts are tensors, which are sent in shared memory.
        return t.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    plain(t, "pickle")
    segment = segment_of(root_of(t))
    if segment is None and not root_of(t).size:
        return rebuild_empty, (type(t), FROM_NUMPY[t._a.dtype].name, t._a.shape, t._a.strides,
                               t.requires_grad)
    if segment is None:
        _move(t)
        segment = segment_of(root_of(t))
        assert segment is not None
    a = t._a
    start = address(a) - address(segment.array()) if a.size else 0
    _RECEIVED[_key(segment.fd)] = segment
    return rebuild_tensor, (type(t), DupFd(segment.fd), len(segment), FROM_NUMPY[a.dtype].name,
                            a.shape, a.strides, start, t.requires_grad)


def rebuild_tensor(kind: type, handle: Any, size: int, name: str, shape: tuple, strides: tuple,
                   start: int, requires_grad: bool) -> Tensor:
    """The tensor that ``reduce_tensor`` described, over the same memory."""
    fd = handle.detach()
    key = _key(fd)
    segment = _RECEIVED.get(key)
    if segment is None:
        segment = _RECEIVED[key] = Segment.attach(fd, size)
    else:
        os.close(fd)
    memory = segment.array()
    t = _tensor(kind, np.ndarray(shape, BY_NAME[name].np, memory, start, strides), requires_grad)
    if t._a.nbytes != size:
        t._meta().root = memory
    return t


def rebuild_empty(kind: type, name: str, shape: tuple, strides: tuple,
                  requires_grad: bool) -> Tensor:
    """A tensor without elements: there is no memory to share."""
    nothing = np.empty(0, np.uint8)
    return _tensor(kind, np.ndarray(shape, BY_NAME[name].np, nothing, 0, strides), requires_grad)


def _tensor(kind: type, a: np.ndarray, requires_grad: bool) -> Tensor:
    t: Tensor = object.__new__(kind)
    t._a = a
    t._node = LEAF if requires_grad else None
    t._v = None
    t._x = None
    return t


def _key(fd: int) -> tuple[int, int]:
    facts = os.fstat(fd)
    return facts.st_dev, facts.st_ino


if "multiprocessing.reduction" in sys.modules:
    # The program has chosen to talk between processes before it imported this.
    register()
