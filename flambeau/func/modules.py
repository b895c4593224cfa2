"""Modules as functions of their parameters and buffers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from flambeau.core.dispatch import apply
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor

__all__ = ["functional_call", "stack_module_state"]


def functional_call(module: Any, parameter_and_buffer_dicts: Any, args: Any = None,
                    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:
    """``module(*args, **kwargs)`` with the tensors of a dict for its parameters and buffers.

    ``parameter_and_buffer_dicts`` is a dict by name, or several of them; names that are absent
    keep the module's own tensors, unless ``strict``. With ``tie_weights`` a tensor that the
    module has under several names is replaced under all of them.
    """
    given = _merged(parameter_and_buffer_dicts)
    names = dict([*module.named_parameters(remove_duplicate=False),
                  *module.named_buffers(remove_duplicate=False)])
    if tie_weights:
        given = _tied(names, given)
    if strict:
        _check_names(module, names, given)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _replaced(module, {n: t for n, t in given.items() if n in names}):
        return module(*args, **(kwargs or {}))


def _merged(dicts: Any) -> dict:
    if isinstance(dicts, dict):
        return dicts
    if not isinstance(dicts, (list, tuple)) or not all(isinstance(d, dict) for d in dicts):
        what = type(dicts) if not isinstance(dicts, (list, tuple)) else f"{type(dicts)} of others"
        raise ValueError("Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of "
                         f"dicts, but got {what}")
    merged: dict = {}
    for d in dicts:
        for name, value in d.items():
            if name in merged:
                raise ValueError(f"{name} appears in multiple dictionaries; behavior of "
                                 "functional call is ambiguous")
            merged[name] = value
    return merged


def _tied(names: dict, given: dict) -> dict:
    by_tensor: dict[int, list[str]] = {}
    for name, t in names.items():
        by_tensor.setdefault(id(t), []).append(name)
    full = dict(given)
    for group in by_tensor.values():
        found = [n for n in group if n in given]
        if len({id(given[n]) for n in found}) > 1:
            raise ValueError(f"functional_call got multiple values for keys {sorted(found)}, which "
                             "are tied. Consider using tie_weights=False")
        for n in group:
            if found:
                full[n] = given[found[0]]
    return full


def _check_names(module: Any, names: dict, given: dict) -> None:
    lines = [f"Error(s) in reparametrizing for {type(module).__name__}:"]
    for title, keys in (("Unexpected", given.keys() - names.keys()),
                        ("Missing", names.keys() - given.keys())):
        if keys:
            lines.append(f"{title} key(s): {', '.join(repr(k) for k in sorted(keys))}.")
    if len(lines) > 1:
        raise RuntimeError("\n\t".join(lines))


@contextlib.contextmanager
def _replaced(module: Any, tensors: dict[str, Tensor]) -> Iterator[None]:
    places = []
    for name, t in tensors.items():
        path, _, last = name.rpartition(".")
        owner = module.get_submodule(path)
        held = owner._parameters if last in owner._parameters else owner._buffers
        places.append((held, last, held[last]))
        held[last] = t
    try:
        yield
    finally:
        for held, last, before in reversed(places):
            held[last] = before


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the buffers of modules of one class, stacked along dimension 0."""
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same "
                           "training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    params = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return ({k: _stacked([p[k] for p in params], True) for k in params[0]},
            {k: _stacked([b[k] for b in buffers], False) for k in buffers[0]})


def _stacked(tensors: Sequence[Tensor], leaves: bool) -> Tensor:
    if leaves and len({t.requires_grad for t in tensors}) > 1:
        raise RuntimeError("Expected parameters from different models to have the same "
                           "requires_grad.")
    parts = [(t.detach() if leaves else t).unsqueeze(0) for t in tensors]
    found = apply(OPS["cat"], parts, {"dim": 0})
    return found.requires_grad_() if leaves and tensors[0].requires_grad else found
