"""What stands in the place of a tensor's array and gradient while a step is traced."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.compiler.stand_ins import Traced
from flambeau.core.dispatch import watch_slots
from flambeau.core.tensor import TENSOR_SLOTS, Meta, Tensor, new_tensor

if TYPE_CHECKING:
    from flambeau.compiler.tracer import Tracer

__all__ = ["WATCH", "get_array", "get_grad", "plain_tensor", "set_array", "set_grad"]

ndarray = np.ndarray
SLOT = TENSOR_SLOTS["_a"]
get_array, set_array = SLOT.__get__, SLOT.__set__
GRAD = Meta.__dict__["grad"]
get_grad, set_grad = GRAD.__get__, GRAD.__set__


class _Here(threading.local):
    """The trace that this thread runs."""

    tracer: Tracer | None = None


_HERE = _Here()


class _Watch:
    """What stands in the place of `Tensor._a` and `Meta.grad` while a step is traced."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def install(self, tracer: Tracer) -> None:
        _HERE.tracer = tracer
        watch_slots(True)
        Tensor._a = property(_read_array, _write_array)  # type: ignore[assignment]
        Meta.grad = property(_read_grad, _write_grad)  # type: ignore[assignment]

    def remove(self) -> None:
        _HERE.tracer = None
        Tensor._a = SLOT
        Meta.grad = GRAD
        watch_slots(False)


WATCH = _Watch()


def _read_array(t: Tensor) -> Any:
    a = get_array(t)
    tracer = _HERE.tracer
    if tracer is None:
        return a.array if type(a) is Traced else a
    if type(a) is ndarray and not tracer.paused:
        return tracer.capture(t, a)
    return a


def _write_array(t: Tensor, a: Any) -> None:
    tracer = _HERE.tracer
    if tracer is not None and not tracer.paused:
        if type(a) is ndarray:
            a = tracer.constant(a)
        tracer.made.append(weakref.ref(t))
    set_array(t, a)


def _read_grad(meta: Meta) -> Any:
    found = get_grad(meta)
    tracer = _HERE.tracer
    if tracer is not None:
        tracer.grads.setdefault(id(meta), (meta, found))
    return found


def _write_grad(meta: Meta, value: Any) -> None:
    try:
        get_grad(meta)
    except AttributeError:
        pass  # it is being made
    else:
        _read_grad(meta)
    set_grad(meta, value)


def plain_tensor(array: ndarray) -> Tensor:
    """A tensor over a real array, whatever is being traced."""
    t = new_tensor(Tensor)
    set_array(t, array)
    t._node = t._v = t._x = None
    return t
