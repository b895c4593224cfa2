"""Classes that override functions of tensors: ``__torch_function__`` and what it is given.

Nothing here runs before a program derives a class from Tensor; then methods of that class, and
the public functions, ask first whether an argument overrides them.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from flambeau.base import naming
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor

__all__ = ["convert", "default_torch_function", "handle", "install", "overriding"]

# The method that Python's operator stands for, where PyTorch passes another than the operator's.
_OPERATORS = {
    "__add__": "add", "__radd__": "add", "__iadd__": "add_", "__sub__": "sub", "__isub__": "sub_",
    "__mul__": "mul", "__rmul__": "mul", "__imul__": "mul_", "__truediv__": "div",
    "__itruediv__": "div_", "__ifloordiv__": "floor_divide_", "__mod__": "remainder",
    "__imod__": "remainder_", "__pow__": "pow", "__ipow__": "pow_", "__matmul__": "matmul",
    "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge",
    "__neg__": "neg", "__abs__": "abs", "__pos__": "positive", "__rand__": "bitwise_and"}
_BINARY = frozenset((*_OPERATORS, "__rsub__", "__rtruediv__", "__floordiv__", "__rfloordiv__",
                     "__rmod__", "__rpow__", "__rmatmul__", "__eq__", "__and__", "__or__",
                     "__xor__", "__lshift__", "__rshift__")) - {"__neg__", "__abs__", "__pos__"}
# What a class keeps from Tensor as it is.
_KEPT = frozenset("""
__new__ __init__ __init_subclass__ __torch_function__ __class__ __dict__ __doc__ __getattr__
__getattribute__ __setattr__ __delattr__ __hash__ __module__ __slots__ __weakref__ __annotations__
__array_priority__ __static_attributes__ __firstlineno__ __deepcopy__ as_subclass _make_subclass
__reduce_ex__ requires_grad_
""".split())
# Properties whose value stays a plain tensor.
_UNCONVERTED = frozenset(("grad", "_base", "_grad"))
# The modules of public functions that must be there to be changed.
_LOADED = ("nn", "linalg", "special", "fft")
_PUBLIC = ("", "nn.functional", "linalg", "fft", "special", "sparse", "masked")


class _State(threading.local):
    disabled = 0


STATE = _State()
_wrapped: dict[int, Callable] = {}
_installed: list[bool] = []


class disabled:
    """Functions run without asking for overrides in this block."""

    def __enter__(self) -> None:
        STATE.disabled += 1

    def __exit__(self, *exc: object) -> None:
        STATE.disabled -= 1


def _override_of(kind: type) -> Any:
    """The class's ``__torch_function__``; None where it has none, or asks for none to run."""
    if kind is Tensor or _is_own(kind):
        return None
    found = getattr(kind, "__torch_function__", None)
    own = getattr(found, "__func__", found) is not _DEFAULT
    if found is None or not own and _is_parameter(kind):
        return None
    return found


def _is_parameter(kind: type) -> bool:
    return any(base.__name__ in ("Parameter", "Buffer") and _is_own(base) for base in kind.__mro__)


def _is_own(kind: type) -> bool:
    """Whether a class is flambeau's."""
    return getattr(kind, "__module__", "").startswith("flambeau.")


def _leaves(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if type(value) in (list, tuple):
            yield from _leaves(value)
        else:
            yield value


def overriding(values: Sequence[Any]) -> list[Any]:
    """The arguments whose classes override functions, subclasses before their bases."""
    found: list[Any] = []
    for value in _leaves(values):
        kind = type(value)
        if kind is Tensor or any(type(f) is kind for f in found) or _override_of(kind) is None:
            continue
        at = next((k for k, f in enumerate(found) if issubclass(kind, type(f))), len(found))
        found.insert(at, value)
    return found


def handle(func: Callable, args: Sequence[Any], kwargs: dict[str, Any],
           relevant: Sequence[Any]) -> Any:
    """What the first override that answers returns for ``func(*args, **kwargs)``.

    NotImplemented where none answers.
    """
    types = tuple([type(x) for x in relevant])
    for kind in types:
        result = _override_of(kind)(func, types, tuple(args), kwargs)
        if result is not NotImplemented:
            return result
    return NotImplemented


def refusal(name: str, relevant: Sequence[Any]) -> TypeError:
    """The error where no override answered."""
    kinds = "\n".join([f"  - tensor subclass {type(x)}" for x in relevant])
    return TypeError(f"Multiple dispatch failed for '{name}'; all __torch_function__ handlers "
                     f"returned NotImplemented:\n\n{kinds}")


def convert(result: Any, cls: type) -> Any:
    """A result with its plain tensors as tensors of ``cls``."""
    if isinstance(result, Tensor):
        return result if cls is Tensor or isinstance(result, cls) else result.as_subclass(cls)
    if isinstance(result, (tuple, list)):
        if any(isinstance(x, (Tensor, tuple, list)) for x in result):
            return type(result)([convert(x, cls) for x in result])
    return result


def default_torch_function(cls: type, func: Callable, types: Sequence[type], args: tuple = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
    """Run ``func`` as on plain tensors, and make its results tensors of this class."""
    if not all(issubclass(cls, kind) for kind in types):
        return NotImplemented
    with disabled():
        result = func(*args, **(kwargs or {}))
        if getattr(func, "unconverted", False):
            return result
        return convert(result, cls)


_DEFAULT = Tensor.__dict__["__torch_function__"].__func__


# Functions and methods that ask


def asking(func: Callable) -> Callable:
    """A public function that asks its arguments first."""
    found = _wrapped.get(id(func))
    if found is not None:
        return found

    @functools.wraps(func)
    def ask(*args: Any, **kwargs: Any) -> Any:
        if STATE.disabled:
            return func(*args, **kwargs)
        relevant = overriding((*args, *kwargs.values()) if kwargs else args)
        if not relevant:
            return func(*args, **kwargs)
        result = handle(ask, args, kwargs, relevant)
        if result is NotImplemented:
            raise refusal(f"{naming.prefix()}.{func.__name__}", relevant)
        return result

    if not hasattr(func, "__wrapped__"):
        del ask.__wrapped__  # which says that a function takes out=
    _wrapped[id(func)] = _wrapped[id(ask)] = ask
    return ask


def _asking_method(name: str) -> Callable:
    shown = _OPERATORS.get(name, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = getattr(Tensor, name)
        if STATE.disabled:
            return own(self, *args, **kwargs)
        given = (self, *args)
        relevant = overriding((*given, *kwargs.values()))
        if not relevant:
            return own(self, *args, **kwargs)
        result = handle(getattr(Tensor, shown), given, kwargs, relevant)
        if result is NotImplemented and name not in _BINARY:
            raise refusal(f"{naming.prefix()}.Tensor.{shown}", relevant)
        return result

    method.__name__ = method.__qualname__ = name
    return method


def _iterate(self: Any) -> Iterator:
    return iter(self.unbind(0)) if self.dim() else Tensor.__iter__(self)


class _Getter:
    """``Tensor.name.__get__``, as an override sees the reading of a property."""

    __name__ = "__get__"

    def __init__(self, name: str) -> None:
        self.name = name
        self.unconverted = name in _UNCONVERTED

    def __call__(self, t: Any, owner: Any = None) -> Any:
        return Tensor.__dict__[self.name].__get__(t, type(t))


def _asking_property(name: str) -> property:
    getter = _Getter(name)

    def read(self: Any) -> Any:
        if STATE.disabled or _override_of(type(self)) is None:
            return getter(self)
        return handle(getter, (self,), {}, (self,))

    own = Tensor.__dict__[name]
    return property(read, own.fset, own.fdel, own.__doc__)


def install(cls: type) -> None:
    """Let the methods of ``cls``, a class derived from Tensor, and public functions ask."""
    if _override_of(cls) is None or any("_asks" in base.__dict__ for base in cls.__mro__[1:]):
        return
    own = {name for base in cls.__mro__ for name in base.__dict__ if base not in Tensor.__mro__}
    for name, value in list(Tensor.__dict__.items()):
        private = name.startswith("_") and not name.startswith("__")
        fixed = isinstance(value, (staticmethod, classmethod))
        if private or fixed or name in _KEPT or name in own:
            continue
        if isinstance(value, property):
            setattr(cls, name, _asking_property(name))
        elif name == "__iter__":
            setattr(cls, name, _iterate)
        elif callable(value) or hasattr(value, "__get__"):
            if isinstance(value, FunctionType) and f"__{value.__name__}__" == name:
                value.__name__ = name  # as an override is told it
            setattr(cls, name, _asking_method(name))
    cls._asks = True  # type: ignore[attr-defined]
    install_functions()


def install_functions() -> None:
    """Let the public functions ask, in every module of flambeau that has them by now."""
    if _installed:
        return
    _installed.append(True)
    for name in _LOADED:
        import_module(f"flambeau.{name}")
    for place in _PUBLIC:
        face: Any = FACES.get(place or "torch", {})
        module = sys.modules.get(f"flambeau.{place}" if place else "flambeau")
        for name in _operators(face):
            value = face[name]
            if callable(value) and not isinstance(value, type):
                asking(value)
                if module is not None:
                    vars(module).setdefault(name, value)
    for name, module in list(sys.modules.items()):
        if name == "flambeau" or name.removeprefix("flambeau.") in _PUBLIC or (
                name.startswith("flambeau.nn.")):
            _replace_in(module)


def _operators(face: Any) -> list[str]:
    """What a face shows by now, and what operators' files, imported later, show there."""
    later = [n for n, module in getattr(face, "later", {}).items()
             if module.startswith("flambeau.ops.")]
    return [*face, *[n for n in later if n not in face]]


def _replace_in(module: ModuleType) -> None:
    for name, value in list(vars(module).items()):
        found = _wrapped.get(id(value))
        if found is not None and found is not value:
            setattr(module, name, found)
