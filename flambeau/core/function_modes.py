"""Modes that are asked about every function and method of tensors: ``TorchFunctionMode``.

While one is on, in any thread, the methods of Tensor run code that asks first; before and after
that they cost what they always cost.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Self

from flambeau.core import overrides
from flambeau.core.exchange import Exchange
from flambeau.core.modes import FUNCTION_MODES, MODES, pause
from flambeau.core.overrides import OPERATORS, STATE, Accessor, answer
from flambeau.core.tensor import Tensor

__all__ = ["BaseTorchFunctionMode", "TorchFunctionMode", "methods_as_they_are", "mode_at",
           "pop_mode", "pop_mode_temporarily", "push_mode"]

# Methods that no mode is asked about.
_UNASKED = frozenset("""
__new__ __init__ __init_subclass__ __torch_function__ __class__ __getattr__ __getattribute__
__setattr__ __delattr__ __hash__ as_subclass
""".split())
_lock = threading.Lock()
_exchanged: list[Exchange] = []


class TorchFunctionMode:
    """In ``with Mode():`` its ``__torch_function__`` is called in place of functions of tensors.

    It is given the function (or method, or the ``__get__`` or ``__set__`` of a property), the
    classes of arguments that override functions, and the arguments. What it calls itself goes to
    the mode around it, or runs. One object may be entered several times.

    >>> import flambeau as torch
    >>> class Loud(torch.overrides.TorchFunctionMode):
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         print(func.__name__)
    ...         return func(*args, **(kwargs or {}))
    >>> with Loud():
    ...     x = torch.ones(2) + 1
    ones
    add
    """

    inner: TorchFunctionMode

    def __init__(self) -> None:
        pass

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        raise NotImplementedError

    def __enter__(self) -> Self:
        push_mode(self)
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        pop_mode()

    @classmethod
    def push(cls, *args: Any, **kwargs: Any) -> Self:
        """The older spelling of ``Mode()``."""
        warnings.warn("`Mode.push()` is no longer necessary and can be replaced with just `with "
                      "Mode()`", stacklevel=2)
        return cls(*args, **kwargs)


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that changes nothing."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        return func(*args, **(kwargs or {}))


def push_mode(mode: Any) -> None:
    """Ask ``mode`` first from now on, in this thread."""
    if MODES.tracer is not None:
        MODES.tracer.breaks_at("call", name=type(mode).__name__)
    with _lock:
        FUNCTION_MODES.append(mode)
        if len(FUNCTION_MODES) == 1:
            pause(True)
            _let_methods_ask()
    STATE.modes.append(mode)


def pop_mode() -> Any:
    """The mode asked first, which is asked no more."""
    if not STATE.modes:
        raise AssertionError("no torch function mode is on")
    mode = STATE.modes.pop()
    with _lock:
        at = next(i for i, other in enumerate(FUNCTION_MODES) if other is mode)
        del FUNCTION_MODES[at]
        if not FUNCTION_MODES:
            _let_methods_be()
            pause(False)
    return mode


@contextmanager
def pop_mode_temporarily() -> Iterator[Any]:
    """The mode asked first, which is not asked inside the block."""
    mode = pop_mode()
    try:
        yield mode
    finally:
        push_mode(mode)


def mode_at(place: int) -> Any:
    """The mode at a place of this thread's stack, the outermost first."""
    return STATE.modes[place]


# Methods that ask


def _let_methods_ask() -> None:
    if not _exchanged:
        overrides.install_functions()
        _exchange_all()
        return
    for exchange in _exchanged:
        exchange.redo()


def _let_methods_be() -> None:
    # What something else has exchanged meanwhile stays as it is, and asks nobody.
    for exchange in _exchanged:
        if exchange.is_outermost():
            exchange.undo()


@contextmanager
def methods_as_they_are() -> Iterator[None]:
    """Inside the block methods ask nobody: their code may be exchanged for good."""
    with _lock:
        _let_methods_be()
        try:
            yield
        finally:
            if FUNCTION_MODES:
                _let_methods_ask()


def _exchange_all() -> None:
    for name in list(Tensor.__dict__):
        if name in _UNASKED or name.startswith("_") and not name.startswith("__"):
            continue
        getattr(Tensor, name)  # whose module is imported when it is first asked for
        value = Tensor.__dict__[name]
        if isinstance(value, property):
            for access, function in (("__get__", value.fget), ("__set__", value.fset),
                                     ("__delete__", value.fdel)):
                if isinstance(function, FunctionType):
                    _exchanged.append(Exchange(function, _asks_of_property(name, access), True))
        elif isinstance(value, FunctionType) and not any(
                e.function is value for e in _exchanged):
            _exchanged.append(Exchange(value, _asks_of_method(name, value), True))


def _asks_of_method(name: str, function: FunctionType) -> Callable[[Callable], Callable]:
    """What makes of a method one that asks modes first."""
    if getattr(Tensor, function.__name__, None) is not function:
        function.__name__ = name  # as a mode is told it
    shown = OPERATORS.get(name, name)

    def replace(original: Callable) -> Callable:
        def ask(*args: Any, **kwargs: Any) -> Any:
            relevant = STATE.relevant((*args, *kwargs.values()))
            if not relevant and not STATE.asks_modes:
                return original(*args, **kwargs)
            return answer(name, shown, args, kwargs, relevant)

        return overrides.iterate if name == "__iter__" else ask

    return replace


def _asks_of_property(name: str, access: str) -> Callable[[Callable], Callable]:
    accessor = Accessor(name, access)

    def replace(original: Callable) -> Callable:
        def ask(t: Any, *args: Any) -> Any:
            if not STATE.asks_modes:
                return original(t, *args)
            result = overrides.handle(accessor, (t, *args), {}, (t,))
            if result is NotImplemented:
                raise overrides.refusal(f"Tensor.{name}.{access}", (t,))
            return result

        return ask

    return replace
