"""Watching which Python code a traced step runs, and which of it the trace cannot stand for.

Attribute names and globals that the code mentions say what of the program's state it can have
read; calls of C functions that are not known to be pure, and instructions that change objects,
are noted.
"""

from __future__ import annotations

import builtins
import dis
import functools
import gc
import os
import sys
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from types import BuiltinFunctionType, CodeType, FrameType, GeneratorType
from typing import Any, NamedTuple

import numpy as np

from flambeau.base.errors import call_site, place_in

__all__ = ["LIBRARY", "PROGRAM", "STANDARD", "Code", "Observer", "analysed", "kind_of",
           "nested_codes"]

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = os.path.dirname(os.path.realpath(os.__file__)) + os.sep
# Layers whose own objects are no state of the program.
_KERNEL = tuple([_PACKAGE + name + os.sep for name in (
    "base", "backends", "core", "ops", "autograd", "func", "compiler", "interop")])

# The file name of what is written for a program.
GENERATED = "<compiled step>"
_PACKAGES = os.path.dirname(os.path.dirname(os.path.realpath(np.__file__)))
_NUMERIC = tuple([os.path.join(_PACKAGES, name) + os.sep
                  for name in ("numpy", "ml_dtypes", "llvmlite", "scipy")])

# Files of the kernel that code ran of.
_QUIET: set[str] = set()

# The code that finds and runs modules.
_IMPORT = "<frozen importlib._bootstrap>"

# Flambeau's layers below nn; the rest of it; the standard library and NumPy; everything else.
KERNEL, LIBRARY, STANDARD, PROGRAM = "kernel", "library", "standard", "program"

_STORES = frozenset(("STORE_ATTR", "DELETE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE",
                     "STORE_GLOBAL", "DELETE_GLOBAL"))
_LOOKED_AT = {op: name for name, op in dis.opmap.items()
              if name in _STORES or name in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_DEREF")}
_DYNAMIC = frozenset(("getattr", "hasattr", "vars", "dir", "globals", "locals", "eval", "exec",
                      "attrgetter", "methodcaller", "__dict__", "__getattribute__", "__slots__",
                      "copy", "deepcopy"))
_SETTERS = frozenset(("setattr", "delattr", "__setattr__", "__delattr__", "__dict__", "exec"))

# C functions whose result depends on their arguments alone.
_PURE_BUILTINS = frozenset(
    "abs all any ascii bin callable chr divmod format getattr hasattr hash hex id isinstance "
    "issubclass iter len max min next oct ord pow repr round sorted sum vars dir globals locals "
    "setattr delattr __build_class__ __import__".split())
_PURE_MODULES = frozenset(("math", "cmath", "_operator", "_functools", "_collections",
                           "itertools", "_abc", "_struct", "_typing", "_warnings", "_weakref",
                           "_contextvars"))
_PURE_TYPES: tuple[type, ...] = (
    str, bytes, bytearray, int, float, complex, tuple, list, dict, set, frozenset, range, slice,
    type, OrderedDict, defaultdict, deque, type({}.keys()), type({}.values()), type({}.items()),
    GeneratorType, type(None), property)
_CHANGES = frozenset(
    "append appendleft extend extendleft insert pop popleft popitem remove clear sort reverse "
    "update setdefault add discard move_to_end rotate __setitem__ __delitem__ __ior__ __iadd__ "
    "intersection_update difference_update symmetric_difference_update send throw".split())
# What makes any code depend on more than its arguments.
_IMPURE_MODULES = frozenset(("time", "posix", "nt", "_random", "_io", "io", "_socket", "select",
                             "_datetime", "_hashlib", "_ctypes", "_thread", "_uuid"))
_IMPURE_BUILTINS = frozenset(("print", "input", "open", "breakpoint"))


class Code(NamedTuple):
    """What a code object can read and change."""

    globals: tuple[str, ...]
    names: frozenset[str]
    strings: frozenset[str]
    dynamic: bool
    stores: bool


@functools.lru_cache(maxsize=4096)
def analysed(code: CodeType) -> Code:
    """The globals a code object loads, the names it mentions, and whether it changes objects."""
    loaded: dict[str, None] = {}
    stores = False
    for name, arg in _instructions(code):
        if name == "LOAD_GLOBAL":
            loaded[code.co_names[arg >> 1]] = None
        elif name == "LOAD_NAME":
            loaded[code.co_names[arg]] = None
        elif name != "STORE_DEREF" or _cell(code, arg) in code.co_freevars:
            stores = True
    names = frozenset(code.co_names)
    strings = frozenset([c for c in code.co_consts if isinstance(c, str) and c.isidentifier()])
    return Code(tuple(loaded), names, strings, not names.isdisjoint(_DYNAMIC),
                stores or not names.isdisjoint(_SETTERS))


def _cell(code: CodeType, number: int) -> str:
    """The variable that an instruction on cells is about."""
    return code._varname_from_oparg(number)  # type: ignore[attr-defined]


def _instructions(code: CodeType) -> Iterator[tuple[str, int]]:
    """The instructions that say what code reads and changes: name and number each.

    As `dis` has them, which takes ten times as long.
    """
    raw, more = code.co_code, 0
    for op, arg in zip(raw[::2], raw[1::2]):
        if op == dis.EXTENDED_ARG:
            more = (more | arg) << 8
            continue
        name = _LOOKED_AT.get(op)
        if name is not None:
            yield name, more | arg
        more = 0


def nested_codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those written inside it."""
    yield code
    for held in code.co_consts:
        if isinstance(held, CodeType):
            yield from nested_codes(held)


@functools.lru_cache(maxsize=4096)
def kind_of(file: str) -> str:
    """Whose code a file has: KERNEL, LIBRARY, STANDARD or PROGRAM."""
    if file.startswith(_KERNEL) or file == GENERATED:
        return KERNEL
    if file.startswith(_PACKAGE):
        return LIBRARY
    path = os.path.realpath(file)
    if file.startswith("<frozen") or path.startswith(_STANDARD) and "site-packages" not in path:
        return STANDARD
    if path.startswith(_NUMERIC):
        return STANDARD
    return PROGRAM


def _kind_by_module(module: str) -> str:
    """The kind of code that was made from text, by the module it was made for."""
    if module.startswith("namedtuple_"):
        return STANDARD
    if module.startswith("flambeau."):
        return kind_of(_PACKAGE + module.partition(".")[2].replace(".", os.sep) + ".py")
    return PROGRAM


def _caller_kind(frame: FrameType) -> str:
    """The kind of the nearest caller that is not the standard library's."""
    above = frame.f_back
    while above is not None:
        kind = kind_of(above.f_code.co_filename)
        if kind is not STANDARD:
            return kind
        above = above.f_back
    return PROGRAM


class Call(NamedTuple):
    """A call that the trace cannot stand for."""

    name: str
    site: dict[str, Any] | None
    place: tuple | None


class Observer:
    """Notes the code that runs in this thread while it is on.

    ``codes`` maps each code object of the program's own to its globals, ``libraries`` those of
    flambeau's upper layers, ``names`` are all names
    that can have been looked up in objects (None: any name), ``calls`` the calls that cannot be
    left out, with their place in the code ``body``, ``stores`` whether anything that ran can have
    changed an object.
    """

    def __init__(self, body: CodeType | None = None) -> None:
        self.body = body
        self.codes: dict[CodeType, dict[str, Any]] = {}
        self.libraries: dict[CodeType, dict[str, Any]] = {}
        self.names: set[str] | None = set()
        self.calls: list[Call] = []
        self.stores = False
        # Whether functions of math ran, which see a float's value and nothing else.
        self.maths = False
        self.seen: set[CodeType] = set()
        self.before: Any = None
        self.collects = False
        # The outermost import that goes on: what a module does when it is loaded is done once.
        self.importing: FrameType | None = None

    def __enter__(self) -> Observer:
        # What runs when garbage is collected is no part of the step.
        self.collects = gc.isenabled()
        gc.disable()
        self.before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(self.before)
        if self.collects:
            gc.enable()

    def covers(self, other: Observer) -> bool:
        """Whether nothing ran under ``other`` that did not run here."""
        if not other.codes.keys() <= self.codes.keys():
            return False
        return self.names is None or other.names is not None and other.names <= self.names

    def joined(self, codes: Iterable[CodeType], scope: dict[str, Any]) -> Observer:
        """One that has seen the same, and these code objects."""
        found = Observer()
        found.codes = {**self.codes, **dict.fromkeys(codes, scope)}
        found.libraries = self.libraries.copy()
        found.names = None if self.names is None else set(self.names)
        return found

    def _note(self, frame: FrameType, event: str, arg: Any) -> None:
        code = frame.f_code
        # most calls by far, and nothing is noted of them
        if code.co_filename in _QUIET:
            return
        if code.co_name == "_find_and_load" and code.co_filename == _IMPORT and event == "call":
            self.importing = frame
            sys.setprofile(self._wait)
            return
        kind = kind_of(code.co_filename)
        if kind is KERNEL:
            _QUIET.add(code.co_filename)
            return
        if kind is PROGRAM and code.co_filename.startswith("<"):
            kind = _kind_by_module(frame.f_globals.get("__name__") or "")
        if kind is KERNEL or kind is STANDARD and _caller_kind(frame) is KERNEL:
            return
        if code not in self.seen:
            self.seen.add(code)
            self._note_code(code, kind, frame)
        if event == "c_call":
            if getattr(arg, "__module__", None) in ("math", "cmath"):
                self.maths = True
            if kind is not LIBRARY:
                self._note_call(arg, kind, frame)

    def _wait(self, frame: FrameType, event: str, arg: Any) -> None:
        """Note nothing until the import is over."""
        if frame is self.importing and event == "return":
            self.importing = None
            sys.setprofile(self._note)

    def _note_code(self, code: CodeType, kind: str, frame: FrameType) -> None:
        found = analysed(code)
        if self.names is not None:
            self.names |= found.names
            if kind is PROGRAM and found.dynamic:
                self.names = None
            elif kind is not PROGRAM:
                self.names |= found.strings
        if kind is PROGRAM:
            self.codes[code] = frame.f_globals
        elif kind is LIBRARY:
            self.libraries[code] = frame.f_globals
        if kind is not STANDARD:
            self.stores = self.stores or found.stores

    def _note_call(self, function: Any, kind: str, frame: FrameType) -> None:
        owner = getattr(function, "__self__", None)
        name = getattr(function, "__name__", "?")
        module = getattr(function, "__module__", None) or getattr(owner, "__module__", None)
        if kind is STANDARD:
            pure = module not in _IMPURE_MODULES and not (
                module == "builtins" and name in _IMPURE_BUILTINS)
        else:
            pure = self._is_pure(function, owner, name, module)
        if not pure:
            self.calls.append(Call(name, call_site(frame), place_in(frame, self.body)))

    def _is_pure(self, function: Any, owner: Any, name: str, module: str | None) -> bool:
        if isinstance(function, BuiltinFunctionType) and owner is builtins:
            return name in _PURE_BUILTINS
        if module in _PURE_MODULES:
            return True
        if isinstance(owner, ContextVar):
            return name == "get"
        if isinstance(owner, _PURE_TYPES):
            if name in _CHANGES:
                # Not the object: what it holds must be free to go.
                self.stores = True
            return True
        return False


