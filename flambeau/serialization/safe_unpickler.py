"""Reading a pickle without running it: an interpreter of the few opcodes that checkpoints need.

What a GLOBAL may name is a fixed table and what the program allowed by `add_safe_globals`; REDUCE
calls only functions of that table, NEWOBJ and BUILD touch only its classes. Nothing is imported.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

from flambeau.base.device import device
from flambeau.base.dtypes import ALL
from flambeau.base.shapes import Size
from flambeau.core.tensor import Tensor
from flambeau.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)
from flambeau.serialization import rebuild
from flambeau.serialization.names import STORAGE_DTYPES, name_of

__all__ = ["NamedStorage", "SafeUnpickler", "spelled"]

MARK = object()
BLOCKED = frozenset({"sys", "os", "posix", "nt"})
NOT_ALLOWED = (
    "Unsupported global: GLOBAL {name} was not an allowed global by default. Please use "
    "`torch.serialization.add_safe_globals([{short}])` or the "
    "`torch.serialization.safe_globals([{short}])` context manager to allowlist this global if you "
    "trust this class/function.")
# What an opcode raises where the one before it left something unfit.
DAMAGE = (LookupError, struct.error, ValueError, OverflowError, TypeError, AttributeError)


class NamedStorage:
    """The class of a storage that a pickle names; ``dtype`` is None for plain bytes."""

    def __init__(self, name: str, held: Any) -> None:
        self.name, self.dtype = name, held


def _text_as_bytes(text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or encoding not in ("latin1", "utf-8", "ascii"):
        raise UnpicklingError("_codecs.encode is called with something else than a text")
    return text.encode(encoding)


def _byte_array(*args: Any) -> bytearray:
    if any(type(a) not in (bytes, str) for a in args):
        raise UnpicklingError("bytearray is called with something else than bytes")
    return bytearray(*args)


def _table() -> dict[str, Any]:
    found: dict[str, Any] = {
        "collections.OrderedDict": OrderedDict, "collections.Counter": Counter,
        "_codecs.encode": _text_as_bytes, "torch.Size": Size, "torch.Tensor": Tensor,
        "torch.device": device, "torch.nn.parameter.Parameter": Parameter,
        "torch.nn.parameter.Buffer": Buffer,
        "torch.nn.parameter.UninitializedParameter": UninitializedParameter,
        "torch.nn.parameter.UninitializedBuffer": UninitializedBuffer,
        "torch.serialization._get_layout": rebuild._get_layout,
        "torch._tensor._rebuild_from_type_v2": rebuild.REBUILD["_rebuild_from_type_v2"],
        "torch.storage.UntypedStorage": NamedStorage("UntypedStorage", None)}
    for module in ("__builtin__", "builtins"):
        found |= {f"{module}.set": set, f"{module}.complex": complex,
                  f"{module}.bytearray": _byte_array}
    found |= {f"torch._utils.{name}": f for name, f in rebuild.REBUILD.items()}
    found |= {f"torch.{d.name}": d for d in ALL}
    for name, held in STORAGE_DTYPES.items():
        found[f"torch.{name}"] = NamedStorage(name, held)
    return found


TABLE = _table()
_CALLABLE = frozenset(id(f) for f in TABLE.values() if callable(f) and f is not Tensor)


def spelled(thing: Any) -> str:
    """The name by which a class or function appears in a pickle."""
    named = name_of(thing)
    if named is not None:
        return ".".join(named)
    return f"{thing.__module__}.{getattr(thing, '__qualname__', thing.__name__)}"


class SafeUnpickler:
    """Reads one pickle; ``load_storage(parts)`` gives the storage that a persistent id means.

    ``allowed`` has further classes and functions by name. Raises UnpicklingError for everything
    that is not allowed, and for a pickle that is damaged.
    """

    def __init__(self, content: bytes, load_storage: Callable[[tuple], Any],
                 allowed: dict[str, Any], encoding: str = "utf-8") -> None:
        self.content = content
        self.at = 0
        self.load_storage = load_storage
        self.allowed = allowed
        self.encoding = encoding
        self.stack: list[Any] = []
        self.marks: list[list] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """The object. Where the content goes on behind it, ``at`` is the place."""
        try:
            while True:
                code = self._take(1)[0]
                if code == 0x2E:  # STOP
                    return self._pop()
                step = STEPS.get(code)
                if step is None:
                    raise UnpicklingError(f"Unsupported operand {code}")
                step(self)
        except DAMAGE as error:
            raise UnpicklingError(f"the pickle is damaged ({type(error).__name__}: {error})"
                                  ) from None

    def _take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self.content):
            raise EOFError("Ran out of input")
        part = self.content[self.at:end]
        self.at = end
        return part

    def _line(self) -> str:
        end = self.content.find(b"\n", self.at, self.at + 4096)
        if end < 0:
            raise UnpicklingError("pickle data was truncated")
        line = self.content[self.at:end]
        self.at = end + 1
        return line.decode("utf-8")

    def _number(self, form: str) -> int:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _push(self, thing: Any) -> None:
        self.stack.append(thing)

    def _pop(self) -> Any:
        return self.stack.pop()

    def _mark(self) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    # Names, calls and states: what decides that nothing is run.

    def _global(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full in TABLE:
            self._push(TABLE[full])
        elif module.split(".")[0] in BLOCKED:
            raise UnpicklingError(f"Trying to load unsupported GLOBAL {full} whose module {module} "
                                  "is blocked.")
        elif full in self.allowed:
            self._push(self.allowed[full])
        else:
            short = name if module == "__main__" else full
            raise UnpicklingError(NOT_ALLOWED.format(name=full, short=short))

    def _is_allowed(self, thing: Any) -> bool:
        return any(thing is a for a in self.allowed.values())

    def _reduce(self) -> None:
        args, function = self._pop(), self.stack[-1]
        if type(args) is not tuple:
            raise UnpicklingError("a call without a tuple of arguments")
        if id(function) not in _CALLABLE and not self._is_allowed(function):
            raise UnpicklingError("Trying to call reduce for unrecognized function "
                                  f"{getattr(function, '__name__', type(function).__name__)}")
        self.stack[-1] = self._called(function, args)

    def _called(self, function: Any, args: tuple) -> Any:
        if function is rebuild.REBUILD["_rebuild_from_type_v2"]:
            self._check_type(args)
        try:
            return function(*args)
        except (TypeError, AttributeError, ValueError) as error:
            raise UnpicklingError(f"{getattr(function, '__name__', function)} is called with "
                                  f"unfit arguments: {error}") from None

    def _check_type(self, args: tuple) -> None:
        """What rebuilds a subclass calls its first argument and makes the second."""
        inner, kind = (*args, None, None)[:2]
        known = inner in rebuild.REBUILD.values() or self._is_allowed(inner)
        if not known or not (kind in (Tensor, Parameter, Buffer) or self._is_allowed(kind)):
            raise UnpicklingError("a tensor's type or the function that rebuilds it is not allowed")

    def _new_object(self) -> None:
        args, kind = self._pop(), self._pop()
        if type(args) is not tuple:
            raise UnpicklingError("an object without a tuple of arguments")
        if kind is Parameter:
            self._push(Parameter(*args))
        elif kind in (OrderedDict, Counter, set) and not args:
            self._push(kind())
        elif isinstance(kind, type) and self._is_allowed(kind):
            self._push(kind.__new__(kind, *args))
        else:
            raise UnpicklingError("Trying to create new object for unallowed class "
                                  f"{getattr(kind, '__name__', type(kind).__name__)}")

    def _build(self) -> None:
        state, thing = self._pop(), self.stack[-1]
        kind = type(thing)
        if kind in (OrderedDict, Counter):
            if type(state) is not dict:
                raise UnpicklingError("the state of an OrderedDict is a dict")
            thing.__dict__.update(state)
        elif isinstance(thing, Tensor) and kind in (Tensor, Parameter, Buffer):
            rebuild._with_state(thing, self._attributes(state))
        elif self._is_allowed(kind):
            _set_state(thing, state)
        else:
            raise UnpicklingError("Can only build Tensor, Parameter, OrderedDict or types "
                                  f"allowlisted via `add_safe_globals`, but got {kind}")

    def _attributes(self, state: Any) -> dict:
        """A tensor's own attributes; none that flambeau itself keeps there."""
        if type(state) is not dict or any(
                type(k) is not str or hasattr(Tensor, k) for k in state):
            raise UnpicklingError("the state of a tensor is a dict of attributes of its own")
        return state

    def _persistent(self) -> None:
        parts = self._pop()
        if type(parts) is not tuple or not parts or parts[0] != "storage":
            raise UnpicklingError("persistent_load id must be a tuple that starts with 'storage'")
        self._push(self.load_storage(parts))

    # Containers and the memo.

    def _append(self, items: list) -> None:
        if type(self.stack[-1]) is not list:
            raise UnpicklingError(f"Can only append to lists, but got {type(self.stack[-1])}")
        self.stack[-1].extend(items)

    def _set_items(self, items: list) -> None:
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, Counter) and not (
                isinstance(target, dict) and self._is_allowed(type(target))):
            raise UnpicklingError(f"Can only set items of dicts, but got {type(target)}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            try:
                target[key] = value
            except TypeError as error:
                raise UnpicklingError(f"a key of a dict: {error}") from None

    def _add_items(self, items: list) -> None:
        if type(self.stack[-1]) is not set:
            raise UnpicklingError(f"Can only add to sets, but got {type(self.stack[-1])}")
        self.stack[-1].update(items)

    def _text(self, count: int) -> str:
        return str(self._take(count), "utf-8", "surrogatepass")

    def _string(self, count: int) -> Any:
        raw = self._take(count)
        return raw if self.encoding == "bytes" else raw.decode(self.encoding)

    def _protocol(self) -> None:
        version = self._take(1)[0]
        if version > 5:
            raise UnpicklingError(f"unsupported pickle protocol: {version}")

    def _put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise UnpicklingError("STACK_GLOBAL requires str")
        self._global(module, name)

    def _pop_or_mark(self) -> None:
        if self.stack:
            self._pop()
        else:
            self._since_mark()


def _set_state(thing: Any, state: Any) -> None:
    if hasattr(type(thing), "__setstate__"):
        thing.__setstate__(state)
        return
    slots = None
    if type(state) is tuple and len(state) == 2:
        state, slots = state
    if state:
        thing.__dict__.update(state)
    for name, value in (slots or {}).items():
        setattr(thing, name, value)


Step = Callable[[SafeUnpickler], object]
STEPS: dict[int, Step] = {
    ord("("): lambda u: u._mark(),
    ord("0"): lambda u: u._pop_or_mark(),
    ord("1"): lambda u: u._since_mark(),
    ord("2"): lambda u: u._push(u.stack[-1]),
    ord("N"): lambda u: u._push(None),
    0x88: lambda u: u._push(True),
    0x89: lambda u: u._push(False),
    ord("J"): lambda u: u._push(u._number("<i")),
    ord("K"): lambda u: u._push(u._number("<B")),
    ord("M"): lambda u: u._push(u._number("<H")),
    0x8A: lambda u: u._push(int.from_bytes(u._take(u._number("<B")), "little", signed=True)),
    ord("G"): lambda u: u._push(u._number(">d")),
    ord("X"): lambda u: u._push(u._text(u._number("<I"))),
    0x8C: lambda u: u._push(u._text(u._number("<B"))),
    0x8D: lambda u: u._push(u._text(u._number("<Q"))),
    ord("U"): lambda u: u._push(u._string(u._number("<B"))),
    ord("T"): lambda u: u._push(u._string(u._number("<i"))),
    ord("C"): lambda u: u._push(u._take(u._number("<B"))),
    ord("B"): lambda u: u._push(u._take(u._number("<I"))),
    0x8E: lambda u: u._push(u._take(u._number("<Q"))),
    ord("}"): lambda u: u._push({}),
    ord("]"): lambda u: u._push([]),
    ord(")"): lambda u: u._push(()),
    0x8F: lambda u: u._push(set()),
    ord("t"): lambda u: u._push(tuple(u._since_mark())),
    0x85: lambda u: u._push((u._pop(),)),
    0x86: lambda u: u._push((u._pop(), u._pop())[::-1]),
    0x87: lambda u: u._push((u._pop(), u._pop(), u._pop())[::-1]),
    0x91: lambda u: u._push(frozenset(u._since_mark())),
    ord("a"): lambda u: u._append([u._pop()]),
    ord("e"): lambda u: u._append(u._since_mark()),
    ord("s"): lambda u: u._set_items([u._pop(), u._pop()][::-1]),
    ord("u"): lambda u: u._set_items(u._since_mark()),
    0x90: lambda u: u._add_items(u._since_mark()),
    ord("q"): lambda u: u._put(u._number("<B")),
    ord("r"): lambda u: u._put(u._number("<I")),
    0x94: lambda u: u._put(len(u.memo)),
    ord("h"): lambda u: u._push(u.memo[u._number("<B")]),
    ord("j"): lambda u: u._push(u.memo[u._number("<I")]),
    ord("c"): lambda u: u._global(u._line(), u._line()),
    0x93: lambda u: u._stack_global(),
    ord("R"): lambda u: u._reduce(),
    0x81: lambda u: u._new_object(),
    ord("b"): lambda u: u._build(),
    ord("Q"): lambda u: u._persistent(),
    0x80: lambda u: u._protocol(),
    0x95: lambda u: u._take(8),
}
