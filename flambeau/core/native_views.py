"""Views made by generated code, which takes the place of functions of `core.dispatch`."""

from __future__ import annotations

import ctypes
import sys
import weakref
from collections.abc import Callable
from typing import Any

from flambeau.backends.llvm import calls
from flambeau.backends.llvm.object_text import FUNCTIONS
from flambeau.backends.llvm.view_makers_text import EXPORTS, makers_text
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, Output, next_sequence
from flambeau.core.op import OPS
from flambeau.core.tensor import META_SLOTS, TENSOR_SLOTS, Meta, Tensor

__all__ = ["linked", "view_makers"]

_PLACES = {"A": "_a", "NODE": "_node", "V": "_v", "X": "_x"}
_OUTPUT = {"OUTPUT": "node", "NR": "nr"}
_NAMES = ("anomaly", "custom_view", "differentiable", "dtype", "grad", "inference",
          "made_without_grad", "multi_view", "next", "no_grad", "node_name", "out_version",
          "outputs", "saved", "seq", "shape", "versions", "view_plan")
# PyType_GetSlot's number of what makes an instance
_TP_NEW = 65
# What generated code refers to must live as long as it.
_held: list[Any] = []


def view_makers(in_python: dict[str, Callable], forget_dead: Callable) -> dict[str, Callable]:
    """What takes the place of these functions, and calls them where a case is not plain.

    Empty where this interpreter's objects are not known well enough. ``forget_dead`` is called
    with a long list of a version counter and of views.
    """
    objects = {"expand": OPS["expand"], "view": OPS["view"],
               **{f"{name}_in_python": in_python[name] for name in EXPORTS}}
    return linked(makers_text, EXPORTS, FUNCTIONS, objects, forget_dead)


def linked(text: Callable[[dict[str, int], tuple[str, ...]], str], exports: tuple[str, ...],
           functions: tuple[str, ...], more: dict[str, Any], forget_dead: Callable
           ) -> dict[str, Callable]:
    """Functions of the module ``text(places, names of objects)``, which is built on `view_text`.

    ``functions`` are those of Python's own that it calls, ``more`` objects that it refers to.
    Empty where this interpreter's objects are not known well enough.
    """
    places = _places()
    array_functions = None if places is None else calls.array_functions()
    if places is None or array_functions is None:
        return {}
    sequence = next_sequence.__self__  # type: ignore[attr-defined]
    objects = {"Meta": Meta, "Output": Output, "Tensor": Tensor, "false": False,
               "forget_dead": forget_dead, "int": int, "leaf": LEAF, "list": list, "modes": MODES,
               "no_items": (), "sequence": sequence, "true": True, "tuple_type": tuple,
               "weak_reference": weakref.ref, **more,
               **{name: sys.intern(name) for name in _NAMES}}
    _held.append(objects)
    addresses = {name: id(value) for name, value in objects.items()}
    addresses.update(array_functions, object_new=_maker(object), tuple_new=_maker(tuple))
    try:
        names = ("ndarray", "none", *objects)
        found = calls.direct_entries(text(places, names), exports, functions, addresses)
    except (RuntimeError, AttributeError):
        return {}  # LLVM or Python lacks something here, and nothing needs this code
    return dict(zip(exports, found))


def _places() -> dict[str, int] | None:
    tensor = {place: TENSOR_SLOTS[name] for place, name in _PLACES.items()}
    facts = {name.upper(): slot for name, slot in META_SLOTS.items()}
    output = {place: Output.__dict__[name] for place, name in _OUTPUT.items()}
    found: dict[str, int] = {}
    for slots in (tensor, facts, output):
        offsets = calls.slot_offsets(slots)
        if offsets is None:
            return None
        found.update(offsets)
    return found if _dead_references_hold_none() else None


def _dead_references_hold_none() -> bool:
    """Whether a weak reference starts with what it refers to, and with None after its death."""
    probe = object.__new__(Tensor)
    reference = weakref.ref(probe)
    at = id(reference) + calls.HEAD
    alive = ctypes.c_int64.from_address(at).value == id(probe)
    del probe
    return alive and ctypes.c_int64.from_address(at).value == id(None)


def _maker(kind: type) -> int:
    """The address of ``kind.__new__``."""
    get = ctypes.pythonapi["PyType_GetSlot"]
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_int)
    return get(kind, _TP_NEW)
