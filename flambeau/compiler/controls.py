"""``torch.compiler``: what programs say to the compiler about their functions."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.base.pytree import tree_map
from flambeau.compiler.entry import BACKENDS
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor
from flambeau.ops.create import from_numpy

__all__ = ["allow_in_graph", "assume_constant_result", "cudagraph_mark_step_begin", "disable",
           "is_compiling", "is_dynamo_compiling", "is_exporting", "list_backends",
           "nested_compile_region", "substitute_in_graph", "wrap_numpy"]


def is_compiling() -> bool:
    """Whether the running code is being traced for compilation.

    >>> import flambeau as torch
    >>> torch.compiler.is_compiling()
    False
    """
    return MODES.tracer is not None


def is_dynamo_compiling() -> bool:
    """As ``is_compiling``."""
    return is_compiling()


def is_exporting() -> bool:
    """Whether a program is being exported: never."""
    return False


def list_backends(exclude_tags: tuple[str, ...] = ("debug", "experimental")) -> list[str]:
    """The backends that ``compile`` takes.

    >>> import flambeau as torch
    >>> torch.compiler.list_backends()
    ['inductor']
    """
    return sorted([*BACKENDS, *(() if exclude_tags else ("aot_eager", "eager"))])


def disable(fn: Callable | None = None, recursive: bool = True, *,
            reason: str | None = None) -> Any:
    """``fn`` as a function that is never compiled; a decorator without ``fn``.

    A step that calls it is not one program any more: it runs in parts, with a warning.
    """
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)
    if not callable(fn):
        raise AssertionError("fn must be callable")
    inner = getattr(fn, "_torchdynamo_orig_callable", fn)

    @functools.wraps(inner)
    def plain(*args: Any, **kwargs: Any) -> Any:
        if MODES.tracer is not None:
            MODES.tracer.breaks_at("disabled", name=getattr(inner, "__name__", repr(inner)))
        return inner(*args, **kwargs)

    plain._torchdynamo_disable = True  # type: ignore[attr-defined]
    return plain


def allow_in_graph(fn: Any) -> Any:
    """``fn`` (or each of a list of functions): what it does is traced anyway."""
    if isinstance(fn, (list, tuple)):
        return [allow_in_graph(f) for f in fn]
    if not callable(fn):
        raise AssertionError("allow_in_graph expects a callable")
    return fn


def assume_constant_result(fn: Callable) -> Callable:
    """``fn`` as a function whose result a trace takes as it is, whatever it depended on."""

    @functools.wraps(fn)
    def constant(*args: Any, **kwargs: Any) -> Any:
        tracer = MODES.tracer
        if tracer is None:
            return fn(*args, **kwargs)
        with tracer.unwatched():
            return fn(*args, **kwargs)

    return constant


def substitute_in_graph(original_fn: Callable, *, can_constant_fold_through: bool = False,
                        skip_signature_check: bool = False) -> Callable[[Callable], Callable]:
    """A decorator for what PyTorch traces in the place of ``original_fn``.

    Here Python itself runs while tracing, so ``original_fn`` needs no stand-in.
    """
    return lambda function: function


def nested_compile_region(fn: Callable | None = None, **options: Any) -> Any:
    """``fn``: repeated regions are compiled as they come."""
    return (lambda function: function) if fn is None else fn


def cudagraph_mark_step_begin() -> None:
    """Mark a new step for CUDA graphs, of which there are none."""


def wrap_numpy(fn: Callable) -> Callable:
    """``fn``, a function of NumPy arrays, as one of tensors.

    >>> import flambeau as torch
    >>> torch.compiler.wrap_numpy(lambda a: a + 1)(torch.ones(2))
    tensor([2., 2.])
    """

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        arrays = tree_map(lambda x: x.numpy() if isinstance(x, Tensor) else x, (args, kwargs))
        found = fn(*arrays[0], **arrays[1])
        return tree_map(lambda a: from_numpy(a) if hasattr(a, "__array_interface__") else a, found)

    return wrapped
