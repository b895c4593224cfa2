"""The public face: where a function shows, under which names, as a method or in place."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import FunctionType
from typing import Any

import numpy as np

from flambeau.core.arguments import argument_error
from flambeau.core.inplace import is_small_plain, overwrite, put, write_out
from flambeau.core.out_dtypes import OUT_SAYS_DTYPE
from flambeau.core.tensor import Tensor
from flambeau.core.written import written

__all__ = ["FACES", "ON_SHOW", "in_place_twin", "public", "show", "show_later", "tell_home",
           "with_out"]


class Face(dict):
    """What a place shows, by name; some of it is imported when it is first read."""

    def __init__(self) -> None:
        self.later: dict[str, str] = {}

    def __missing__(self, name: str) -> Any:
        module = self.later[name]
        import_module(module)
        if name not in self:
            raise KeyError(f"{module} does not show {name}")
        return self[name]

    def whole(self) -> dict[str, Any]:
        """Itself, once everything is imported."""
        for module in set(self.later.values()):
            import_module(module)
        return self


FACES: dict[str, Face] = {"torch": Face()}
# Called with a function, its name and its place when it is shown.
ON_SHOW: list[Callable[[Callable, str, str], None]] = []

# Where a function shows that names no place.
_USUAL = ("torch", "Tensor")
_PACKAGE = __name__.partition(".")[0]
# What programs do not import.
_PRIVATE = (f"{_PACKAGE}.core", f"{_PACKAGE}.ops")
# Spellings from NumPy that PyTorch takes for its own argument names.
_SPELLINGS = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input",
              "x2": "other"}


def show(function: Any, name: str, *places: str) -> None:
    """Make ``function`` public as ``name`` in each place: "torch", "Tensor", "special", ..."""
    module = sys.modules.get(getattr(function, "__module__", ""))
    is_found = module is not None and (
        vars(module).get(getattr(function, "__qualname__", "")) is function)
    _show(function, name, places or _USUAL, is_found)


def _show(function: Any, name: str, places: Sequence[str], is_found: bool) -> None:
    """``show``; a function that pickles do not find where it says finds a home."""
    for place in places:
        if place == "Tensor":
            setattr(Tensor, name, function)
        else:
            FACES.setdefault(place, Face())[name] = function
        if not is_found:
            tell_home(function, name, place)
        for tell in ON_SHOW:
            tell(function, name, place)


def tell_home(function: Any, name: str, place: str) -> None:
    """Let a function say where it shows first; as a method only where it is nothing else."""
    if type(function) is not FunctionType:
        return
    is_method = function.__qualname__.startswith("Tensor.")
    if not function.__module__.startswith(_PRIVATE) and not is_method:
        return
    if place != "Tensor":
        function.__module__ = _PACKAGE if place == "torch" else f"{_PACKAGE}.{place}"
        function.__qualname__ = name
    elif not is_method:
        function.__module__, function.__qualname__ = _PACKAGE, f"Tensor.{name}"


class _Later:
    """A method whose module is imported when it is first asked for, and puts the method here."""

    def __init__(self, name: str, module: str) -> None:
        self.name, self.module = name, module

    def __get__(self, t: Any, owner: type) -> Any:
        import_module(self.module)
        if Tensor.__dict__.get(self.name) is self:
            raise AttributeError(f"{self.module} does not show {self.name}")
        return getattr(owner if t is None else t, self.name)


def show_later(module: str, names: str, *places: str) -> None:
    """Let ``names`` (separated by spaces) show in places, from a module imported by the first use.

    So what few programs ask for costs no time at start-up.
    """
    for name in names.split():
        for place in places:
            if place == "Tensor":
                setattr(Tensor, name, _Later(name, module))
            else:
                FACES.setdefault(place, Face()).later[name] = module


def with_out(function: Callable, apart: bool = False, places: Sequence[str] = ()) -> Callable:
    """``function`` with an ``out=`` argument, and NumPy's spellings of argument names.

    Where ``out`` is given the result (or each result of a tuple) is written into it. With
    ``apart`` it must not share memory with an input. ``places`` are where it shows, for errors.
    """
    name = function.__name__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if not kwargs:
                return function(*args)
            out = kwargs.pop("out", None)
            if apart and out is not None:
                refuse_shared(out, args)
            if not kwargs.keys().isdisjoint(_SPELLINGS):
                kwargs = {_spelling(function, k): v for k, v in kwargs.items()}
            if out is None:
                return function(*args, **kwargs)
            if not kwargs and written(getattr(call, "op", None), out, args):
                return out
            if name in OUT_SAYS_DTYPE and isinstance(out, Tensor) and kwargs.get("dtype") is None:
                kwargs["dtype"] = out.dtype
            return _write_results(name, out, function(*args, **kwargs))
        except (AttributeError, TypeError) as error:
            told = argument_error(function, places, error, args, kwargs)
            if told is None:
                raise
            raise told from None

    return call


def _spelling(function: Callable, key: str) -> str:
    code = function.__code__
    names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    return key if key in names else _SPELLINGS.get(key, key)


def _write_results(name: str, out: Any, result: Any) -> Any:
    if isinstance(result, Tensor):
        if isinstance(out, (tuple, list)) and len(out) == 1:
            out = out[0]
        return write_out(name, out, result)
    if not isinstance(out, (tuple, list)) or len(out) != len(result):
        raise TypeError(f"{name}(): argument 'out' must be tuple of Tensors, not "
                        f"{type(out).__name__}")
    written = [write_out(name, o, r) for o, r in zip(out, result)]
    return type(result)(written)


def refuse_shared(out: Any, inputs: Any) -> None:
    """Raise where an input, alone or in a sequence, shares memory with ``out``, or one of many."""
    if isinstance(out, (list, tuple)):
        for each in out:
            refuse_shared(each, inputs)
        return
    for x in inputs:
        if isinstance(x, (list, tuple)):
            refuse_shared(out, x)
        elif isinstance(x, Tensor) and (x is out or np.may_share_memory(x._a, out._a)):
            raise RuntimeError("unsupported operation: some elements of the input tensor and the "
                               "written-to tensor refer to a single memory location. Please "
                               "clone() the tensor before performing the operation.")


def public(*places: str, out: bool = False, apart: bool = False, name: str | None = None,
           inplace: bool = False, aliases: tuple[str, ...] = ()) -> Callable[[Callable], Callable]:
    """Declare a Python function public in ``places`` (``torch`` and ``Tensor`` if none given).

    ``out`` adds the ``out=`` argument (``apart``: in memory of its own); ``inplace`` adds the
    method ``name_``, which overwrites its tensor with the result.
    """

    def declare(function: Callable) -> Callable:
        shown = name or function.__name__
        # its module has it by this name
        is_found = shown == function.__qualname__
        function.__name__ = function.__qualname__ = shown
        face = with_out(function, apart, places) if out else function
        for spelled in (shown, *aliases):
            _show(face, spelled, places or _USUAL, is_found)
            if inplace:
                show(in_place_twin(face, spelled), f"{spelled}_", "Tensor")
        return face

    return declare


def in_place_twin(function: Callable, name: str) -> Callable:
    """The method that overwrites its tensor with ``function`` of it."""

    def twin(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        others = (*args, *kwargs.values()) if kwargs else args
        if is_small_plain(self, others):
            return put(self, function(self, *args, **kwargs))
        if not kwargs and written(getattr(function, "op", None), self, (self, *args)):
            return self
        return overwrite(self, lambda t: function(t, *args, **kwargs), others)

    twin.__name__ = twin.__qualname__ = f"{name}_"
    twin.__doc__ = f"In-place version of ``{name}``."
    twin.pure = function  # type: ignore[attr-defined]
    return twin
