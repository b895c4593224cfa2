"""What is said of arguments that do not fit a function, in PyTorch's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flambeau.core.tensor import Tensor

__all__ = ["argument_error"]

_MISSING = r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)"
_PREFIXED = ("linalg", "fft", "special")


def argument_error(function: Callable, places: Sequence[str], error: Exception,
                   args: Sequence[Any], kwargs: Mapping[str, Any]) -> TypeError | None:
    """The error to raise for ``error``, where it came of arguments that do not fit; else None.

    An AttributeError comes of something in a tensor's place; a TypeError of a call that
    ``function`` does not take, where no frame of its own was reached.
    """
    prefix = f"{places[0]}_" if places and places[0] in _PREFIXED else ""
    name = f"{prefix}{function.__name__}()"
    if isinstance(error, AttributeError):
        return _not_a_tensor(function, name, args, kwargs) if error.name == "_a" else None
    if error.__traceback__ is None or error.__traceback__.tb_next is not None:
        return None
    missing = re.search(_MISSING, str(error))
    if missing is None:
        text = str(error)
        return TypeError(prefix + text) if text.startswith(f"{function.__name__}()") else None
    names = re.findall("'([^']*)'", missing[1])
    ending = "s" if len(names) == 1 else ""
    return TypeError(f"{name} missing {len(names)} required positional argument{ending}: "
                     + ", ".join(f'"{n}"' for n in names))


def _not_a_tensor(function: Callable, name: str, args: Sequence[Any],
                  kwargs: Mapping[str, Any]) -> TypeError | None:
    code = function.__code__
    given = dict(zip(code.co_varnames[:code.co_argcount], args)) | dict(kwargs)
    for at, parameter in enumerate(code.co_varnames[:code.co_argcount]):
        meant = function.__annotations__.get(parameter)
        value = given.get(parameter)
        if meant not in ("Tensor", "Tensor | None") or isinstance(value, Tensor):
            continue
        if value is not None or meant == "Tensor" and parameter in given:
            where = "" if parameter in kwargs else f" (position {at + 1})"
            return TypeError(f"{name}: argument '{parameter}'{where} must be Tensor, not "
                             f"{type(value).__name__}")
    return None
