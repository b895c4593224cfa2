"""``torch.jit`` as training programs use it: scripted and traced functions run as they are.

Python is not compiled to TorchScript here, and no such files are written or read; for speed there
is ``torch.compile``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, NoReturn

from flambeau.base.missing import missing_attribute
from flambeau.base.pytree import tree_leaves
from flambeau.core.tensor import Tensor
from flambeau.nn import Module
from flambeau.nn.modules.module import Module as _Module

__all__ = ["Attribute", "Final", "Future", "ScriptModule", "annotate", "export", "fork", "freeze",
           "ignore", "is_scripting", "is_tracing", "optimize_for_inference",
           "script", "script_if_tracing", "script_method", "trace", "trace_module", "unused",
           "wait"]

DEPRECATED = ("`torch.jit.{name}` is deprecated. Please switch to `torch.compile` or "
              "`torch.export`.")


def _warn(name: str) -> None:
    warnings.warn(DEPRECATED.format(name=name), DeprecationWarning, stacklevel=3)


class ScriptModule(Module):
    """A module whose class was written for TorchScript; it is a module like any other."""


class Attribute(NamedTuple):
    """A value with the type that TorchScript should see."""

    value: Any
    type: Any


def script(obj: Any, optimize: None = None, _frames_up: int = 0, _rcb: Any = None,
           example_inputs: Any = None) -> Any:
    """The function, class or module itself, which runs as it is.

    >>> import warnings
    >>> import flambeau as torch
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     torch.jit.script(torch.relu)(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    _warn("script")
    return obj


def trace(func: Any, example_inputs: Any = None, optimize: Any = None, check_trace: bool = True,
          check_inputs: Any = None, check_tolerance: float = 1e-5, strict: bool = True,
          _force_outplace: bool = False, _module_class: Any = None, _compilation_unit: Any = None,
          example_kwarg_inputs: Mapping[str, Any] | None = None, _store_inputs: bool = True) -> Any:
    """The function or module itself, once it has run on the example inputs.

    Raises what it raises on them, and RuntimeError where it gives no tensors.
    """
    _warn("trace")
    if example_kwarg_inputs is not None:
        found = func(**example_kwarg_inputs)
    elif isinstance(example_inputs, (tuple, list)):
        found = func(*example_inputs)
    else:
        found = func(example_inputs)
    if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(found)):
        raise RuntimeError("Type of traced function's result is no tensor: "
                           f"{type(found).__name__}")
    return func


def trace_module(mod: Module, inputs: Mapping[str, Any], *args: Any, **options: Any) -> Module:
    """The module itself, once its methods have run on their example inputs."""
    _warn("trace_module")
    for name, given in inputs.items():
        method = mod if name == "forward" else getattr(mod, name)
        method(*(given if isinstance(given, (tuple, list)) else (given,)))
    return mod


def freeze(mod: Module, preserved_attrs: Sequence[str] | None = None,
           optimize_numerics: bool = True) -> Module:
    """The module itself, which must be in evaluation mode."""
    if not isinstance(mod, _Module):
        raise RuntimeError("Freezing expects a ScriptModule as input. Please use torch.jit.script "
                           "or torch.jit.trace to script your 'nn.Module'.")
    if mod.training:
        raise RuntimeError("Freezing is currently only implemented for modules in eval mode. "
                           "Please call .eval() on your module before freezing.")
    return mod


def optimize_for_inference(mod: Module, other_methods: Sequence[str] | None = None) -> Module:
    """The module itself, in evaluation mode."""
    return freeze(mod.eval())


def _same(function: Callable) -> Callable:
    return function


def script_method(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def export(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def unused(fn: Callable) -> Callable:
    """The method itself."""
    return fn


def script_if_tracing(fn: Callable) -> Callable:
    """The function itself."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function itself; with arguments, the decorator that gives it."""
    return drop if callable(drop) else _same


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value."""
    return the_value


def is_scripting() -> bool:
    """False: Python runs."""
    return False


def is_tracing() -> bool:
    """False: Python runs."""
    return False


class Future:
    """The result of ``fork``, which has run already."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def wait(self) -> Any:
        """The result."""
        return self._value

    value = wait

    def done(self) -> bool:
        """True."""
        return True


def fork(func: Callable, *args: Any, **kwargs: Any) -> Future:
    """Run the function, now, as PyTorch does outside of TorchScript."""
    return Future(func(*args, **kwargs))


def wait(future: Future) -> Any:
    """The result of ``fork``."""
    return future.wait()


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
