"""The state of the program that a step can have read: a walk over objects, as a table of checks.

The walk starts at the globals, closures and arguments of the code that ran and follows the
attributes whose names that code mentions. What it finds is one table: dicts, lists and attributes
with what they held. Later the table says whether anything changed.
"""

from __future__ import annotations

import functools
import gc
import math
import operator
import re
import threading
import types
import weakref
from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from enum import Enum
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from flambeau.compiler.observer import Observer, analysed, nested_codes
from flambeau.core.node import LEAF
from flambeau.core.tensor import Tensor

__all__ = ["ATOMS", "MISSING", "Entry", "State", "same_value", "state_of"]

MISSING = object()
LIMIT = 50_000
# The flag of classes that cannot be changed.
IMMUTABLE = 1 << 8
_is = operator.is_

_TUPLE_FIELD = type(vars(namedtuple("_Pair", "first"))["first"])
ATOMS = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range, slice,
          Enum, np.generic, np.dtype, np.ufunc, CodeType, re.Pattern, type(NotImplemented),
          types.GenericAlias, types.UnionType, types.GetSetDescriptorType,
          types.MemberDescriptorType, types.WrapperDescriptorType, types.MethodDescriptorType,
          types.ClassMethodDescriptorType, types.MethodWrapperType, _TUPLE_FIELD,
          type(threading.Lock()), type(threading.RLock()))
# What `__slots__` may name that holds no attribute of its own.
_NO_SLOTS = ("__dict__", "__weakref__")
_NUMBERS = (bool, int, float, complex, str, bytes)
_LIBRARIES = frozenset(("flambeau", "torch", "numpy", "ml_dtypes", "scipy", "llvmlite"))
_KERNEL = re.compile(r"(flambeau|torch)\.(base|backends|core|ops|autograd|func|compiler|interop)\b")
# What of a function decides what it does; its cells are looked at one by one.
_OF_FUNCTION = ("__code__", "__defaults__", "__kwdefaults__")
# Names of classes that Python looks up without code that mentions them, and some that say nothing.
_IMPLICIT = re.compile(r"__(?!module__|doc__|dict__|weakref__|annotations__|qualname__|slots__"
                       r"|firstlineno__|static_attributes__|parameters__|orig_bases__).*__")


class Entry:
    """One check: what ``owner`` holds is still, in this order, the objects ``held``.

    Kinds: "items", of a dict those under ``key`` (a tuple of keys; ``size`` is how many the dict
    has, where a further one could hide something); "dict" and "list", all of it; "set"; "cell";
    "slot", the attributes ``key``; "object", its class and the dict of its attributes; "context",
    the value of a context variable.
    """

    __slots__ = ("held", "key", "kind", "of", "owner", "path", "read", "size")

    def __init__(self, kind: str, owner: Any, key: tuple, path: str, size: int = -1,
                 of: Any = None) -> None:
        self.kind = kind
        self.owner = owner
        self.key = key
        self.path = path
        self.size = size
        # The class, module or table of a library that this is a part of.
        self.of = of
        self.read = _READ[kind]
        self.held = tuple(self.read(owner, key))

    def holds(self) -> bool:
        """Whether the very same objects are there."""
        now, held = self.read(self.owner, self.key), self.held
        if len(now) != len(held) or not all(map(_is, now, held)):
            return False
        return self.size < 0 or len(self.owner) == self.size

    def changes(self) -> list[tuple[int, Any, Any]]:
        """Per difference: its number, what was there, what is there; -1 for all of it."""
        now, held = self.read(self.owner, self.key), self.held
        if len(now) != len(held) or self.size >= 0 and len(self.owner) != self.size:
            return [(-1, held, (*now, len(self.owner)))]
        return [(i, old, new) for i, (old, new) in enumerate(zip(held, now)) if old is not new]

    def place(self, i: int) -> str:
        """How the program would write what has number ``i``."""
        if i < 0 or self.kind in ("cell", "context"):
            return self.path
        if self.kind == "object":
            return f"{self.path}.{('__class__', '__dict__')[i]}"
        if self.kind in ("items", "slot"):
            name = self.key[i]
            return f"{self.path}.{name}" if self.path else str(name)
        if self.kind == "dict":
            at, is_value = divmod(i, 2)
            return f"{self.path}[{_told_key(self.held[2 * at])}]" if is_value else (
                f"a key of {self.path}")
        return f"{self.path}[{i}]"


def _told_key(key: Any) -> str:
    """A key of a dict as text: tensors are not printed."""
    return repr(key) if isinstance(key, (*_NUMBERS, tuple)) else f"<{type(key).__name__}>"


def _cell(owner: Any, key: tuple) -> tuple:
    try:
        return (owner.cell_contents,)
    except ValueError:
        return (MISSING,)


def _pairs(owner: dict, key: tuple) -> list:
    return [x for pair in dict.items(owner) for x in pair]


_READ: dict[str, Callable[[Any, tuple], Sequence]] = {
    "items": lambda owner, key: [owner.get(name, MISSING) for name in key],
    "cell": _cell,
    "slot": lambda owner, key: [getattr(owner, name, MISSING) for name in key],
    "list": lambda owner, key: owner,
    "dict": _pairs,
    "set": lambda owner, key: sorted(owner, key=id),
    "object": lambda owner, key: (type(owner), own_dict(owner)),
    "context": lambda owner, key: (owner.get(MISSING),),
}


def same_value(a: Any, b: Any) -> bool:
    """Whether code that got ``b`` would do as with ``a``: the same object, or an equal constant."""
    if a is b:
        return True
    kind = type(a)
    if kind is not type(b):
        return False
    if kind is float:
        return a == b and math.copysign(1, a) == math.copysign(1, b) or a != a and b != b
    if kind is complex:
        return same_value(a.real, b.real) and same_value(a.imag, b.imag)
    if kind is tuple:
        return len(a) == len(b) and all(map(same_value, a, b))
    if kind is MethodType:
        return a.__self__ is b.__self__ and a.__func__ is b.__func__
    if isinstance(a, (np.generic, np.dtype)):
        return bool(a == b)
    return kind in _NUMBERS and a == b or kind in (range, slice) and a == b


def own_dict(value: Any) -> dict[str, Any] | None:
    """The dict that holds an object's attributes, also where its class shows another one."""
    for base in type(value).__mro__:
        found = base.__dict__.get("__dict__")
        if isinstance(found, types.GetSetDescriptorType):
            return found.__get__(value)
    held = getattr(value, "__dict__", None)
    return held if isinstance(held, dict) else None


class State:
    """The table of a walk, the tensors it met (with where), and why it may be incomplete."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.tensors: dict[int, tuple[Tensor, str]] = {}
        self.objects: dict[int, Any] = {}
        self.gaps: list[str] = []

    def forget(self) -> None:
        """Let go of what no check needs."""
        self.objects = {}
        self.tensors = {}

    def differences(self, other: State) -> list[tuple[str, Any, Any]]:
        """What a later walk found changed: where, what was there, what is there."""
        later = {(e.kind, id(e.owner)): e for e in other.entries}
        found: list[tuple[str, Any, Any]] = []
        for e in self.entries:
            new = later.get((e.kind, id(e.owner)))
            if new is None or new.key != e.key or len(new.held) != len(e.held):
                new = e
                changes = e.changes()
            else:
                changes = [(i, a, b) for i, (a, b) in enumerate(zip(e.held, new.held))]
            found += [(e.place(i), a, b) for i, a, b in changes if not same_value(a, b)]
        return found


def state_of(observer: Observer, function: Any, arguments: Iterable[Any]) -> State:
    """Walk from a function, its arguments, and the code that the observer saw."""
    walk = _Walk(observer)
    walk.visit(function, getattr(function, "__name__", "step"))
    walk.visit(Tensor, "Tensor")
    for at, value in enumerate(arguments):
        walk.visit(value, f"argument {at}")
    for code, scope in observer.codes.items():
        walk.visit_globals(code, scope)
    walk.visit_libraries()
    walk.run()
    walk.check_closures()
    return walk.state


class _Walk:
    def __init__(self, observer: Observer) -> None:
        self.observer = observer
        self.names = observer.names
        self.mentioned = _mentioned(observer)
        self.state = State()
        self.matched: set[CodeType] = set()
        self.waiting: deque[tuple[Any, str]] = deque()
        self.noted: set[tuple] = set()
        self.classes: set[int] = set()

    def visit(self, value: Any, path: str) -> None:
        """Look at ``value`` when its turn comes."""
        if isinstance(value, ATOMS) or id(value) in self.state.objects:
            return
        self.state.objects[id(value)] = value
        self.waiting.append((value, path))

    def run(self) -> None:
        """Look at everything that waits."""
        while self.waiting:
            if len(self.state.objects) > LIMIT:
                self.state.gaps.append("too many objects")
                return
            value, path = self.waiting.popleft()
            self._look(value, path)

    def note(self, kind: str, owner: Any, path: str, key: tuple = (), size: int = -1,
             of: Any = None) -> None:
        """Add an entry, and visit what it holds."""
        if (kind, id(owner), key) in self.noted:
            return
        self.noted.add((kind, id(owner), key))
        entry = Entry(kind, owner, key, path, size, of)
        self.state.entries.append(entry)
        for i, held in enumerate(entry.held):
            if not isinstance(held, ATOMS) and held is not MISSING and kind != "object" and (
                    of is None or isinstance(held, (ModuleType, type)) and of is not owner):
                self.visit(held, entry.place(i))

    def visit_globals(self, code: CodeType, scope: dict[str, Any]) -> None:
        """The globals that a code object loads."""
        names = analysed(code).globals
        if names:
            self.note("items", scope, "", names)
        if "random" in code.co_names:
            if any([getattr(scope.get(n), "__name__", "") == "numpy" for n in names]):
                self.state.gaps.append("NumPy's random numbers")

    def visit_libraries(self) -> None:
        """The globals that code of flambeau loads, and the tables among them, as a whole."""
        loaded: dict[int, tuple[dict[str, Any], dict[str, None]]] = {}
        for code, scope in self.observer.libraries.items():
            loaded.setdefault(id(scope), (scope, {}))[1].update(
                dict.fromkeys([n for n in analysed(code).globals if n in scope]))
        for scope, names in loaded.values():
            self.note("items", scope, "", tuple(names), of=scope)
            for name in names:
                held = scope[name]
                if isinstance(held, ModuleType):
                    self.visit(held, name)
                elif isinstance(held, (dict, list)):
                    self.note("dict" if isinstance(held, dict) else "list", held, name, of=held)

    def check_closures(self) -> None:
        """Every code object that ran must belong to a function that the walk met."""
        for code in self.observer.codes:
            if code.co_freevars and code not in self.matched:
                self.state.gaps.append(f"the closure of {code.co_qualname}"
                                       if hasattr(code, "co_qualname") else code.co_name)

    def _look(self, value: Any, path: str) -> None:
        kind = type(value)
        if isinstance(value, Tensor):
            self.state.tensors[id(value)] = (value, path)
            self._attributes(value, path)
            self.visit(kind, kind.__name__)
            if value._node is LEAF:
                # Made here where there are none yet, so that hooks added later show.
                self.note("slot", value._meta(), path, ("hooks", "post_hooks"))
        elif isinstance(value, dict):
            self.note("dict", value, path)
            self._instance(value, path)
        elif isinstance(value, (list, deque)):
            self.note("list", value, path)
            self._instance(value, path)
        elif isinstance(value, (tuple, frozenset)):
            for at, x in enumerate(value):
                self.visit(x, f"{path}[{at}]")
        elif isinstance(value, set):
            self.note("set", value, path)
        elif kind in _LOOK:
            _LOOK[kind](self, value, path)
        elif isinstance(value, type):
            self._class(value, path)
        elif isinstance(value, np.ndarray):
            self.state.gaps.append(f"the NumPy array {path}")
        elif _KERNEL.match(kind.__module__ or "") or isinstance(value, BaseException):
            return
        else:
            self._object(value, path)

    def _object(self, value: Any, path: str) -> None:
        kind = type(value)
        if own_dict(value) is not None or any(["__slots__" in b.__dict__ for b in kind.__mro__]):
            self._instance(value, path)
        elif isinstance(value, BuiltinFunctionType):
            if not isinstance(value.__self__, ModuleType):
                self.visit(value.__self__, path)
        elif kind.__module__ not in ("typing", "_typing", "_abc", "ctypes", "_ctypes"):
            self.state.gaps.append(f"{path}, a {kind.__name__}")

    def _instance(self, value: Any, path: str) -> None:
        """An object's attributes, those of its slots, and its class."""
        kind = type(value)
        if kind in (dict, list, deque, OrderedDict, defaultdict):
            return
        self.note("object", value, path)
        self._attributes(value, path)
        for base in kind.__mro__:
            slots = base.__dict__.get("__slots__", ())
            names = tuple([n for n in ((slots,) if isinstance(slots, str) else slots)
                           if n not in _NO_SLOTS and self._follows(n)])
            if names:
                self.note("slot", value, path, names)
        self.visit(kind, kind.__name__)

    def _attributes(self, value: Any, path: str) -> None:
        held = own_dict(value)
        if held or held is not None and not isinstance(value, (Tensor, FunctionType)):
            names = tuple([n for n in held if self._follows(n)])
            self.note("items", held, path, names, len(held))

    def _follows(self, name: Any) -> bool:
        return self.names is None or name in self.names

    def _class(self, value: type, path: str) -> None:
        for base in value.__mro__[:-1]:
            if id(base) in self.classes:
                continue
            self.classes.add(id(base))
            if _is_library(base.__module__):
                self._library(base, base.__dict__, base.__name__)
            else:
                names = tuple([n for n in base.__dict__
                               if self._follows(n) or _IMPLICIT.fullmatch(n)])
                self.note("items", base.__dict__, base.__name__, names, len(base.__dict__))

    def _module(self, value: ModuleType, path: str) -> None:
        root = value.__name__.partition(".")[0]
        if root in _LIBRARIES:
            self._library(value, value.__dict__, path)
        else:
            own = root not in _STANDARD_NAMES
            names = tuple([n for n in value.__dict__
                           if n in self.mentioned or own and self._follows(n)])
            self.note("items", value.__dict__, path, names)

    def _library(self, value: Any, held: Any, path: str) -> None:
        """A class or module that only a program that patches it changes."""
        if isinstance(value, type) and value.__flags__ & IMMUTABLE:
            return
        # Where names are looked up dynamically, one that is not there may come.
        names = tuple([n for n in self.mentioned if n in held or self.names is None])
        if names:
            self.note("items", held, path, names, of=value)

    def _function(self, value: FunctionType, path: str) -> None:
        own = set(nested_codes(value.__code__))
        self.matched |= own
        if value.__dict__:
            self._attributes(value, path)
        if own.isdisjoint(self.observer.codes):
            return
        self.note("slot", value, path, _OF_FUNCTION)
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or ()):
            self.note("cell", cell, name)

    def _method(self, value: MethodType, path: str) -> None:
        self.visit(value.__func__, path)
        self.visit(value.__self__, f"{path}.__self__")

    def _partial(self, value: Any, path: str) -> None:
        self.visit(value.func, f"{path}.func")
        self.visit(value.args, f"{path}.args")
        self.visit(value.keywords, f"{path}.keywords")

    def _wrapped(self, value: Any, path: str) -> None:
        self.visit(value.__func__, path)

    def _property(self, value: property, path: str) -> None:
        for part in (value.fget, value.fset):
            self.visit(part, path)

    def _context(self, value: Any, path: str) -> None:
        self.note("context", value, path)

    def _proxy(self, value: types.MappingProxyType, path: str) -> None:
        for held in gc.get_referents(value):
            self.visit(held, path)

    def _ref(self, value: Any, path: str) -> None:
        self.visit(value(), path)


_LOOK: dict[type, Callable[[_Walk, Any, str], None]] = {
    ModuleType: _Walk._module,
    FunctionType: _Walk._function,
    MethodType: _Walk._method,
    functools.partial: _Walk._partial,
    staticmethod: _Walk._wrapped,
    classmethod: _Walk._wrapped,
    property: _Walk._property,
    weakref.ref: _Walk._ref,
    weakref.KeyedRef: _Walk._ref,
    types.MappingProxyType: _Walk._proxy,
    ContextVar: _Walk._context,
}


def _mentioned(observer: Observer) -> frozenset[str]:
    """The names that code can have looked up in a module or class of a library."""
    found: set[str] = {"forward", "__call__", "__torch_function__"}
    for code in (*observer.codes, *observer.libraries):
        names = analysed(code)
        found |= names.names
        if observer.names is None:
            found |= names.strings
    return frozenset(found)


def _is_library(module: str | None) -> bool:
    root = (module or "").partition(".")[0]
    return root in _LIBRARIES or root in _STANDARD_NAMES


def _standard_names() -> frozenset[str]:
    import sys  # the list is a large one
    return frozenset(sys.stdlib_module_names) - {"__main__"}


_STANDARD_NAMES = _standard_names()
