"""Classes that override functions of tensors: ``__torch_function__`` and what it is given.

Nothing here runs before a program derives a class from Tensor; then methods of that class, and
the public functions, ask first whether an argument overrides them, or a mode that is on.
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
from flambeau.base.device import device
from flambeau.base.dtypes import dtype
from flambeau.base.shapes import Size
from flambeau.core.face import FACES, tell_home
from flambeau.core.tensor import Tensor

__all__ = ["BESIDE", "OPERATORS", "STATE", "Accessor", "all_disabled", "answer", "asking",
           "convert", "default_torch_function", "disabled", "handle", "install",
           "install_functions", "iterate", "overriding", "refusal", "same_function"]

# The method that Python's operator stands for, where PyTorch passes another than the operator's.
OPERATORS = {
    "__add__": "add", "__radd__": "add", "__iadd__": "add_", "__sub__": "sub", "__isub__": "sub_",
    "__mul__": "mul", "__rmul__": "mul", "__imul__": "mul_", "__truediv__": "div",
    "__itruediv__": "div_", "__ifloordiv__": "floor_divide_", "__mod__": "remainder",
    "__imod__": "remainder_", "__pow__": "pow", "__ipow__": "pow_", "__matmul__": "matmul",
    "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge",
    "__neg__": "neg", "__abs__": "abs", "__pos__": "positive", "__rand__": "bitwise_and"}
_BINARY = frozenset((*OPERATORS, "__rsub__", "__rtruediv__", "__floordiv__", "__rfloordiv__",
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
_LOADED = ("autograd", "nn", "nn.init", "linalg", "special", "fft")
_PUBLIC = ("", "nn.functional", "linalg", "fft", "special", "sparse", "masked")


# Public functions that are on no face.
BESIDE = {"nn.init": ("uniform_", "normal_", "constant_", "kaiming_uniform_"),
           "autograd": ("grad",)}
# Functions that are asked about by no mode.
_UNSEEN = frozenset("""
autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache from_numpy frombuffer
from_file get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype get_rng_state
initial_seed is_anomaly_check_nan_enabled is_anomaly_enabled is_autocast_cache_enabled
is_autocast_cpu_enabled is_autocast_enabled is_grad_enabled is_inference_mode_enabled is_storage
is_tensor manual_seed seed set_anomaly_enabled set_autocast_cache_enabled set_autocast_cpu_dtype
set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype
set_default_tensor_type set_rng_state compile save load fork typename
""".split())


# Types of arguments that override nothing, nor hold what does; parameters come to them.
_PLAIN: set[type] = {Tensor, int, float, bool, complex, str, type(None), dtype, device, Size}


class _State(threading.local):
    """What of overriding is on in this thread."""

    # how many blocks keep classes, and modes as well, from being asked
    disabled = 0
    muted = 0

    def __init__(self) -> None:
        # modes that are on, the innermost last
        self.modes: list[Any] = []

    @property
    def asks_modes(self) -> bool:
        """Whether there is a mode to be asked."""
        return bool(self.modes) and not self.muted

    def relevant(self, values: Sequence[Any]) -> list[Any]:
        """The arguments whose classes are to be asked."""
        return [] if self.disabled else overriding(values)


STATE = _State()
_wrapped: dict[int, Callable] = {}
_installed: list[bool] = []


class disabled:
    """Functions run without asking the classes of arguments in this block."""

    def __enter__(self) -> None:
        STATE.disabled += 1

    def __exit__(self, *exc: object) -> None:
        STATE.disabled -= 1


class all_disabled(disabled):
    """Functions run without asking classes or modes in this block."""

    def __enter__(self) -> None:
        STATE.muted += 1
        super().__enter__()

    def __exit__(self, *exc: object) -> None:
        STATE.muted -= 1
        super().__exit__()


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
    """Whether a class is flambeau's, which may go by the name of torch."""
    return getattr(kind, "__module__", "").partition(".")[0] in ("flambeau", naming.prefix())


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
    """What the mode that is on, or the first override that answers, returns for a call.

    NotImplemented where none answers.
    """
    types = tuple([type(x) for x in relevant])
    if STATE.asks_modes:
        result = _ask_mode(func, types, tuple(args), kwargs)
        if result is not NotImplemented:
            return result
    for kind in types:
        result = _override_of(kind)(func, types, tuple(args), kwargs)
        if result is not NotImplemented:
            return result
    return NotImplemented


def _ask_mode(func: Callable, types: tuple, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What the innermost mode returns; what it calls is for the modes around it."""
    modes = STATE.modes
    mode = modes.pop()
    try:
        return mode.__torch_function__(func, types, args, kwargs or None)
    finally:
        modes.append(mode)


def refusal(name: str, relevant: Sequence[Any]) -> TypeError:
    """The error where no override answered."""
    asked = [f"mode object {x}" for x in STATE.modes[-1:] if STATE.asks_modes]
    asked += [f"tensor subclass {type(x)}" for x in relevant]
    kinds = "\n".join([f"  - {x}" for x in asked])
    return TypeError(f"Multiple dispatch failed for '{name}'; all __torch_function__ handlers "
                     f"returned NotImplemented:\n\n{kinds}\n\nFor more information, try "
                     "re-running with TORCH_LOGS=not_implemented")


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

    seen = func.__name__ not in _UNSEEN
    state, all_plain = STATE, _PLAIN.issuperset

    @functools.wraps(func)
    def ask(*args: Any, **kwargs: Any) -> Any:
        if not state.modes:
            listed = args and type(args[0]) in (list, tuple)
            if all_plain(map(type, (*args[0], *args[1:]) if listed else args)) and (
                    not kwargs or all_plain(map(type, kwargs.values()))):
                return func(*args, **kwargs)
        moded = seen and STATE.modes and not STATE.muted
        if STATE.disabled and not moded:
            return func(*args, **kwargs)
        relevant = STATE.relevant((*args, *kwargs.values()) if kwargs else args)
        if not relevant and not moded:
            return func(*args, **kwargs)
        result = handle(ask, args, kwargs, relevant)
        if result is NotImplemented:
            raise refusal(f"{naming.prefix()}.{func.__name__}", relevant)
        return result

    if not hasattr(func, "__wrapped__"):
        del ask.__wrapped__  # which says that a function takes out=
    _wrapped[id(func)] = _wrapped[id(ask)] = ask
    return ask


def same_function(one: Any, other: Any) -> bool:
    """Whether two names stand for one public function, taken before and after it came to ask."""
    return _wrapped.get(id(one), one) is _wrapped.get(id(other), other)


def _asking_method(name: str) -> Callable:
    shown = OPERATORS.get(name, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        own = getattr(Tensor, name)
        if STATE.disabled:
            return own(self, *args, **kwargs)
        given = (self, *args)
        relevant = overriding((*given, *kwargs.values()))
        if not relevant:
            return own(self, *args, **kwargs)
        return answer(name, shown, given, kwargs, relevant)

    method.__name__ = method.__qualname__ = name
    return method


def answer(name: str, shown: str, args: tuple, kwargs: dict[str, Any],
           relevant: Sequence[Any]) -> Any:
    """What modes and overrides make of the method ``name`` of Tensor, told them as ``shown``."""
    result = handle(getattr(Tensor, shown), args, kwargs, relevant)
    if result is NotImplemented and name not in _BINARY:
        raise refusal(f"{naming.prefix()}.Tensor.{shown}", relevant)
    return result


def iterate(self: Any) -> Iterator:
    return iter(self.unbind(0)) if self.dim() else Tensor.__iter__(self)


class Accessor:
    """``Tensor.name.__get__`` (or ``__set__``, ``__delete__``), as an override sees it."""

    def __init__(self, name: str, access: str = "__get__") -> None:
        self.name = name
        self.__name__ = access
        self.unconverted = name in _UNCONVERTED

    @property
    def __self__(self) -> property:
        return Tensor.__dict__[self.name]  # type: ignore[no-any-return]

    def _own(self) -> Callable:
        return getattr(self.__self__, self.__name__)  # type: ignore[no-any-return]

    def __call__(self, t: Any, *args: Any) -> Any:
        return self._own()(t, *args) if self.__name__ != "__get__" else self._own()(t, type(t))

    def __eq__(self, other: object) -> bool:
        return other == self._own() if not isinstance(other, Accessor) else (
            (self.name, self.__name__) == (other.name, other.__name__))

    def __hash__(self) -> int:
        return hash(self._own())


def _asking_property(name: str) -> property:
    getter = Accessor(name)

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
            setattr(cls, name, iterate)
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
    parameters = sys.modules["flambeau.nn.parameter"]
    _PLAIN.update((parameters.Parameter, parameters.Buffer))
    for place in _PUBLIC:
        face: Any = FACES.get(place or "torch", {})
        module = sys.modules.get(f"flambeau.{place}" if place else "flambeau")
        for name in _operators(face):
            value = face[name]
            if callable(value) and not isinstance(value, type):
                # what is pickled is looked for where it shows
                tell_home(asking(value), name, place or "torch")
                if module is not None:
                    vars(module).setdefault(name, value)
    for place, names in BESIDE.items():
        for name in names:
            asking(getattr(sys.modules[f"flambeau.{place}"], name))
    for name, module in list(sys.modules.items()):
        if name == "flambeau" or name.removeprefix("flambeau.") in (*_PUBLIC, "autograd") or (
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
