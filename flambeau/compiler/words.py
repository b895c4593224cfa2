"""Where CPython's objects have what native checks compare: one word of memory each.

Every place is tried on the object at hand before it is relied on; 0 or None says that there is
none, and the checks then ask Python.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Sequence
from types import FunctionType, MemberDescriptorType, ModuleType
from typing import Any

__all__ = ["class_word", "dict_word", "function_words", "slot_words",
           "version_word", "word"]

HEAD = object.__basicsize__
# The class's flag that its objects' dicts are found right before them, and how far.
_MANAGED, _BEFORE = 1 << 4, 24
# A function's code, defaults and keyword defaults; a dict's version; a class's version.
_FUNCTION = (HEAD + 32, HEAD + 40, HEAD + 48)
_DICT_VERSION = HEAD + 8
_CLASS_VERSION = HEAD + 368


def word(address: int) -> int:
    """The word there."""
    return ctypes.c_int64.from_address(address).value


def class_word(owner: Any) -> int:
    """Where an object has its class."""
    return id(owner) + HEAD - 8


def dict_word(owner: Any, held: dict[str, Any]) -> int:
    """Where an object has the dict ``held`` of its attributes."""
    kind = type(owner)
    if kind.__flags__ & _MANAGED:
        at = id(owner) - _BEFORE
    elif kind.__dictoffset__ > 0:
        at = id(owner) + kind.__dictoffset__
    else:
        return 0
    return at if word(at) == id(held) else 0


def function_words(owner: Any, held: Sequence[Any]) -> list[int] | None:
    """Where a function has its code, defaults and keyword defaults, which are ``held``."""
    if type(owner) is not FunctionType:
        return None
    found = [id(owner) + offset for offset in _FUNCTION]
    right = [word(at) == (0 if x is None else id(x)) for at, x in zip(found, held)]
    return found if all(right) and len(held) == len(found) else None


def slot_offset(descriptor: Any) -> int:
    """How far behind an object's address the slot of a descriptor is; 0 where that is not told."""
    if not _is_known() or type(descriptor) is not MemberDescriptorType:
        return 0
    # PyMemberDescrObject: head, type, name, qualified name, then a PyMemberDef
    member = word(id(descriptor) + HEAD + 24)
    return word(member + 16) if member else 0


def slot_words(owner: Any, names: Sequence[str], held: Sequence[Any]) -> list[int] | None:
    """Where an object has the slots of these names, which hold ``held``."""
    offsets = [slot_offset(type(owner).__dict__.get(name)) for name in names]
    if not all([0 < offset < 256 for offset in offsets]):
        return None
    found = [id(owner) + offset for offset in offsets]
    return found if all([word(at) == id(x) for at, x in zip(found, held)]) else None


def version_word(owner: Any) -> int:
    """Where a class, module or dict has a number that changes with everything set in it."""
    if isinstance(owner, type):
        at = id(owner) + _CLASS_VERSION if _classes_have_versions() else 0
    elif isinstance(owner, dict):
        at = id(owner) + _DICT_VERSION if _dicts_have_versions() else 0
    elif isinstance(owner, ModuleType):
        return version_word(owner.__dict__)
    else:
        return 0
    return at if at and word(at) else 0


def _is_known() -> bool:
    """Whether objects are CPython's, on a machine of 64 bits."""
    return sys.implementation.name == "cpython" and ctypes.sizeof(ctypes.c_void_p) == 8


@functools.cache
def _classes_have_versions() -> bool:
    """Whether a class's version is where it is looked for; its bases' changes count, too."""
    if not _is_known():
        return False

    class Base:
        x = 0

    class Probe(Base):
        pass

    at, seen = id(Probe) + _CLASS_VERSION, []
    for kind in (None, Base, Probe):
        if kind is not None:
            kind.x = 1
        for _ in range(2):
            getattr(Probe, "x")  # noqa: B009
            seen.append(word(at))
    return (0 not in seen and seen[::2] == seen[1::2] and len(set(seen)) == 3
            and word(id(int) + _CLASS_VERSION) not in seen)


@functools.cache
def _dicts_have_versions() -> bool:
    """Whether a dict has a version: up to Python 3.13."""
    if not _is_known() or sys.version_info >= (3, 14):
        return False
    probe: dict[str, Any] = {"x": 0}
    at, seen = id(probe) + _DICT_VERSION, []
    for value in (0.5, 1.5, 2.5):
        probe["x"] = value
        seen.append(word(at))
        probe.get("x")
        seen.append(word(at))
    return 0 not in seen and seen[::2] == seen[1::2] and len(set(seen)) == 3
