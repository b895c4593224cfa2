"""For libraries of functions that classes with ``__torch_function__`` may override."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from flambeau.base import naming
from flambeau.base.missing import missing_attribute
from flambeau.core import overrides as core
from flambeau.core.face import FACES
from flambeau.core.function_modes import (
    BaseTorchFunctionMode,
    TorchFunctionMode,
    pop_mode,
    pop_mode_temporarily,
    push_mode,
)
from flambeau.core.tensor import Tensor

__all__ = ["BaseTorchFunctionMode", "TorchFunctionMode", "handle_torch_function",
           "has_torch_function", "is_tensor_like", "is_tensor_method_or_property", "resolve_name",
           "wrap_torch_function"]

core.install_functions()


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether one of the arguments overrides functions.

    >>> import flambeau as torch
    >>> torch.overrides.has_torch_function((torch.ones(1), 2))
    False
    """
    return core.STATE.asks_modes or bool(core.STATE.relevant(tuple(relevant_args)))


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args: Any,
                          **kwargs: Any) -> Any:
    """What the overrides of the arguments make of ``public_api(*args, **kwargs)``.

    TypeError where every override returns NotImplemented.
    """
    relevant = core.STATE.relevant(tuple(relevant_args))
    result = core.handle(public_api, args, kwargs, relevant)
    if result is NotImplemented:
        raise core.refusal(f"{public_api.__module__}.{public_api.__name__}", relevant)
    return result


def wrap_torch_function(dispatcher: Callable) -> Callable:
    """Decorate a function so that what ``dispatcher(*args, **kwargs)`` gives may override it."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            relevant = tuple(dispatcher(*args, **kwargs))
            if has_torch_function(relevant):
                return handle_torch_function(wrapped, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return wrapped

    return decorate


def is_tensor_like(inp: Any) -> bool:
    """Whether ``inp`` is a tensor or has ``__torch_function__``."""
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether ``func``, as an override is given it, is a method or property of Tensor."""
    if isinstance(func, core.Accessor) or func.__name__ == "__get__":
        return True
    return getattr(Tensor, func.__name__, None) is func


def resolve_name(f: Any) -> str | None:
    """The dotted name of a public function or method; None of others.

    >>> import flambeau as torch
    >>> torch.overrides.resolve_name(torch.Tensor.add).rpartition(".")[2]
    'add'
    """
    name = getattr(f, "__name__", None)
    if isinstance(f, core.Accessor):
        return f"{naming.prefix()}.Tensor.{f.name}.{f.__name__}"
    if name is None:
        return None
    if getattr(Tensor, name, None) is f:
        return f"{naming.prefix()}.Tensor.{name}"
    for place, face in FACES.items():
        shown = dict.get(face, name)
        if shown is not None and (shown is f or core._wrapped.get(id(shown)) is f):
            return ".".join([naming.prefix(), *([] if place == "torch" else [place]), name])
    for place, names in core.BESIDE.items():
        if name in names and f.__module__.endswith(place):
            return f"{naming.prefix()}.{place}.{name}" if place == "nn.init" else None
    return None


def _get_current_function_mode() -> Any:
    """The mode that is asked first; None where none is on."""
    return core.STATE.modes[-1] if core.STATE.modes else None


def _get_current_function_mode_stack() -> list[Any]:
    """The modes that are on, the outermost first."""
    return list(core.STATE.modes)


_push_mode, _pop_mode = push_mode, pop_mode
_pop_mode_temporarily = pop_mode_temporarily


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
