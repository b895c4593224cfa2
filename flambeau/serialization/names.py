"""What objects are called in a checkpoint: PyTorch's module and name, whatever ours is."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from flambeau.base.dtypes import ALL, BY_NAME, FROM_NUMPY
from flambeau.base.dtypes import dtype as Dtype
from flambeau.base.naming import OWN, TORCH
from flambeau.core.face import FACES

__all__ = ["STORAGE_DTYPES", "find", "name_of", "storage_name"]

# Dtypes newer than storage classes: their tensors are saved over plain bytes.
UNTYPED = frozenset({"uint16", "uint32", "uint64", *[d.name for d in ALL if "float8" in d.name]})
# The dtype of each storage class that a checkpoint may name.
STORAGE_DTYPES = {f"{d.title}Storage": d for d in ALL if d.name not in UNTYPED}
_PLACES = ("torch", "nn.functional", "special", "linalg", "fft")
# Ours where the module differs from PyTorch's.
_MOVED = {
    ("torch._tensor", "_rebuild_from_type_v2"): ("torch._utils", "_rebuild_from_type_v2"),
    ("torch.nn.functional", "tanh"): ("torch", "tanh"),
    ("torch.nn.functional", "sigmoid"): ("torch", "sigmoid"),
    ("torch._C._nn", "gelu"): ("torch.nn.functional", "gelu"),
    ("torch.jit._script", "RecursiveScriptModule"): ("torch.jit", "ScriptModule"),
}


def storage_name(held: Any) -> tuple[str, str]:
    """The class of a storage of a NumPy dtype: module and name."""
    found = FROM_NUMPY[held]
    if found.name in UNTYPED:
        return "torch.storage", "UntypedStorage"
    return TORCH, f"{found.title}Storage"


def name_of(thing: Any, name: str | None = None) -> tuple[str, str] | None:
    """The module and name of one of flambeau's classes, functions or dtypes; None for others."""
    if isinstance(thing, Dtype):
        return TORCH, thing.name
    module = getattr(thing, "__module__", None) or ""
    if module.split(".")[0] not in (OWN, TORCH):
        return None
    if not isinstance(thing, type):
        found = _functions().get(id(thing))
        if found is not None:
            return found
    name = name or getattr(thing, "__qualname__", None) or thing.__name__
    return module.replace(OWN, TORCH, 1) if module.startswith(OWN) else module, name


@functools.cache
def _functions() -> dict[int, tuple[str, str]]:
    """The public place of every function that the operators show."""
    found: dict[int, tuple[str, str]] = {}
    for place in _PLACES:
        module = TORCH if place == "torch" else f"{TORCH}.{place}"
        for name, function in dict(FACES.get(place, {})).items():
            found.setdefault(id(function), (module, name))
    return found


def find(module: str, name: str) -> Any:
    """The object that a checkpoint names; ImportError or AttributeError where there is none."""
    module, name = _MOVED.get((module, name), (module, name))
    if module == TORCH and name in BY_NAME:
        return BY_NAME[name]
    if module.split(".")[0] == TORCH:
        module = module.replace(TORCH, OWN, 1)
    thing: Any = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


Finder = Callable[[str, str], Any]
