"""``compile``: a function that runs as one program where nothing it depends on has changed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

from flambeau.compiler import stance
from flambeau.compiler.parts import parts_of
from flambeau.compiler.results import FAILED, MISSED
from flambeau.compiler.unit import LIMIT, Unit
from flambeau.core.face import show

__all__ = ["InvalidBackend", "compile", "unit_of"]

MODES = ("default", "lite", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")
# What may be asked for; how programs are made does not depend on it.
OPTIONS = ("debug", "epilogue_fusion", "fallback_random", "guard_filter_fn", "max_autotune",
           "shape_padding", "trace.enabled", "trace.graph_diagram", "triton.cudagraphs")
BACKENDS = ("inductor",)
# Backends that stand for running a function as it is.
EAGER = ("eager", "aot_eager", "aot_eager_decomp_partition")


class InvalidBackend(RuntimeError):
    """There is no backend of the name asked for."""


def compile(model: Callable | None = None, *, fullgraph: bool = False,
            dynamic: bool | None = None, backend: str | Callable | None = None,
            mode: str | None = None, options: dict[str, Any] | None = None,
            name: str | None = None, disable: bool = False, recompile_limit: int | None = None,
            isolate_recompiles: bool = False, shapes_spec: Any = None) -> Any:
    """``model``, a function or module, as one that runs compiled; a decorator without ``model``.

    A call is traced where nothing compiled before fits it, and gives what the function itself
    gives. Later calls run the trace as native code: forward, ``backward()``, ``step()`` of an
    optimizer, in-place changes, random numbers. Every call checks what the trace depends on
    (arguments, parameters, attributes, globals, grad mode ...); where something has changed a new
    trace is made, up to ``recompile_limit`` (8) of them. Statements that no trace can stand for
    (a value is read or printed, code must run every time, a branch depends on data) run in Python
    at every call, and what is before, between and after them is compiled, with one warning;
    ``compiler.explain`` tells which. With ``fullgraph`` that is a RuntimeError.

    ``backend`` is "inductor" or, to leave the function as it is, "eager" or "aot_eager"; ``mode``
    and ``options`` are checked and change nothing, nor do ``dynamic`` (each shape has a program
    of its own), ``isolate_recompiles`` and ``shapes_spec``.

    >>> import flambeau as torch
    >>> @torch.compile
    ... def f(x):
    ...     return torch.sin(x) + torch.cos(x)
    >>> f(torch.zeros(2))
    tensor([1., 1.])
    """
    settings = {"fullgraph": fullgraph, "dynamic": dynamic, "backend": backend, "mode": mode,
                "options": options, "name": name, "disable": disable,
                "recompile_limit": recompile_limit, "isolate_recompiles": isolate_recompiles,
                "shapes_spec": shapes_spec}
    if model is None:
        return functools.partial(compile, **settings)
    _check(mode, options)
    if not callable(model):
        raise AssertionError(f"A callable function is expected, but {type(model)} is provided.")
    run_plain = disable or _is_eager(backend)
    if hasattr(model, "named_parameters") and hasattr(model, "forward"):
        # a later layer has the class that wraps modules
        optimized = import_module("flambeau.nn.optimized_module").OptimizedModule
        unit = None if run_plain else Unit(model, fullgraph, recompile_limit or LIMIT,
                                           parted=parts_of)
        return model if disable else optimized(model, _wrapped(model, unit))
    if run_plain:
        return model
    return _wrapped(model, Unit(model, fullgraph, recompile_limit or LIMIT, name, parts_of))


def _check(mode: str | None, options: dict[str, Any] | None) -> None:
    if mode is not None and options is not None:
        raise RuntimeError("Either mode or options can be specified, but both can't be specified "
                           "at the same time.")
    if mode is not None and mode not in MODES:
        raise RuntimeError(f"Unrecognized mode={mode}, should be one of: {', '.join(MODES)}")
    for key in options or ():
        if key.replace("-", "_") not in OPTIONS:
            raise RuntimeError(f"Unexpected optimization option {key}, known options are "
                               f"{list(OPTIONS)}")


def _is_eager(backend: str | Callable | None) -> bool:
    chosen = stance.default_backend() if backend is None else backend
    if callable(chosen):
        raise InvalidBackend("a backend that is a function takes an fx.GraphModule, which "
                             "flambeau does not make: leave backend out")
    if chosen in EAGER:
        return True
    if chosen not in BACKENDS:
        raise InvalidBackend(f"Invalid backend: {chosen!r}, see `torch.compiler.list_backends()` "
                             "for available backends.")
    return False


def _wrapped(function: Callable, unit: Unit | None) -> Callable:
    if unit is None:
        return function

    def compiled(*args: Any, **kwargs: Any) -> Any:
        if not kwargs and len(args) == unit.count:
            result = unit.fast(*args)
            if result is not MISSED and result is not FAILED:
                return result
        return unit(args, kwargs)

    if hasattr(function, "__name__"):
        functools.update_wrapper(compiled, function)
    compiled._unit = unit  # type: ignore[attr-defined]
    compiled._torchdynamo_orig_callable = function  # type: ignore[attr-defined]
    return compiled


def unit_of(function: Any) -> Unit | None:
    """The unit behind what ``compile`` returned; None for anything else."""
    found = getattr(function, "_unit", None)
    if found is None:
        found = getattr(getattr(function, "_compiled_call", None), "_unit", None)
    return found


show(compile, "compile", "torch")
