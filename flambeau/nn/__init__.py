"""Neural networks: parameters, functions and modules."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.nn import functional, init, modules, parameter
from flambeau.nn.modules import *  # noqa: F403
from flambeau.nn.parameter import (
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)
from flambeau.ops.linear_loss import LinearCrossEntropyOptions

# Loaded when first asked for.
_LATER = {"DataParallel": "parallel", "attention": "attention", "parallel": "parallel",
          "utils": "utils"}

__all__ = ["Buffer", "LinearCrossEntropyOptions", "Parameter", "UninitializedBuffer",
           "UninitializedParameter", "factory_kwargs", "functional", "init", "modules",
           "parameter", *_LATER, *modules.__all__]


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """What the arguments of a module's ``__init__`` say of device, dtype and memory format.

    They may stand in ``kwargs`` itself or in its ``"factory_kwargs"``; TypeError for others.

    >>> factory_kwargs({"dtype": None})
    {'dtype': None}
    """
    if kwargs is None:
        return {}
    simple = {"device", "dtype", "memory_format"}
    expected = simple | {"factory_kwargs"}
    if not kwargs.keys() <= expected:
        raise TypeError(f"unexpected kwargs {kwargs.keys() - expected}")
    found = dict(kwargs.get("factory_kwargs", {}))
    for key in simple:
        if key in kwargs:
            if key in found:
                raise TypeError(f"{key} specified twice, in **kwargs and in factory_kwargs")
            found[key] = kwargs[key]
    return found


def __getattr__(name: str) -> Any:
    if name in _LATER:
        try:
            module = import_module(f"{__name__}.{_LATER[name]}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{_LATER[name]}":
                raise
        else:
            return module if name == _LATER[name] else getattr(module, name)
    raise missing_attribute(__name__, name, globals())
