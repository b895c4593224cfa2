"""What the arguments of ``module.to`` ask for."""

from __future__ import annotations

from typing import Any

from flambeau.base import naming
from flambeau.base.device import device as devices
from flambeau.base.device import memory_format as memory_formats
from flambeau.base.dtypes import bool_, complex128, float64, int64
from flambeau.base.dtypes import dtype as dtypes
from flambeau.core.tensor import Tensor

__all__ = ["parse_to"]

SIGNATURES = (
    " * ({p}.device device = None, {p}.dtype dtype = None, bool non_blocking = False, "
    "bool copy = False, *, {p}.memory_format memory_format = None)\n"
    " * ({p}.dtype dtype, bool non_blocking = False, bool copy = False, *, "
    "{p}.memory_format memory_format = None)\n"
    " * (Tensor tensor, bool non_blocking = False, bool copy = False, *, "
    "{p}.memory_format memory_format = None)\n")
FORMS = (("device", "dtype", "non_blocking", "copy"), ("dtype", "non_blocking", "copy"),
         ("tensor", "non_blocking", "copy"))
TYPES: dict[str, tuple] = {
    "device": (devices, str, int, type(None)), "dtype": (dtypes, type(None)),
    "non_blocking": (bool,), "copy": (bool,), "tensor": (Tensor,),
    "memory_format": (memory_formats, type(None))}
# Python's types name the dtypes that hold them.
PYTHON_TYPES = {float: float64, complex: complex128, int: int64, bool: bool_}


def parse_to(*args: Any, **kwargs: Any) -> tuple[devices | None, dtypes | None, bool, Any]:
    """Device, dtype, non_blocking and memory format from the arguments of ``to``.

    None stands for what is not said. TypeError where no form fits, RuntimeError for ``copy``.
    """
    types = [PYTHON_TYPES.get(a, a) if isinstance(a, type) else a for a in args]
    for form in FORMS:
        named = _bound(form, types, kwargs)
        if named is not None:
            break
    else:
        given = [_type_name(a) for a in args] + [f"{k}={_type_name(v)}, "
                                                 for k, v in kwargs.items()]
        raise TypeError("to() received an invalid combination of arguments - got "
                        f"({', '.join(given)}), but expected one of:\n"
                        + SIGNATURES.format(p=naming.prefix()))
    if named.get("copy"):
        raise RuntimeError(".to() does not accept copy argument")
    if "tensor" in named:
        place, dtype = named["tensor"].device, named["tensor"].dtype
    else:
        place, dtype = named.get("device"), named.get("dtype")
        place = place if place is None or isinstance(place, devices) else devices(place)
    return place, dtype, named.get("non_blocking", False), named.get("memory_format")


def _bound(form: tuple[str, ...], args: list, kwargs: dict) -> dict[str, Any] | None:
    """The arguments by name, if they fit this form."""
    if len(args) > len(form) or any(name in kwargs for name in form[:len(args)]):
        return None
    named = {**dict(zip(form, args)), **kwargs}
    if form[0] not in named and form[0] != "device":
        return None
    if form[0] == "dtype" and named["dtype"] is None:
        return None
    fits = all(name in (*form, "memory_format") and isinstance(value, TYPES[name])
               and not (name == "device" and isinstance(value, bool))
               for name, value in named.items())
    return named if fits else None


def _type_name(value: Any) -> str:
    kind = type(value)
    own = kind.__module__.split(".")[0] in (naming.OWN, naming.TORCH) and kind is not Tensor
    return f"{naming.prefix()}.{kind.__name__}" if own else kind.__name__
