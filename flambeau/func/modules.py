"""Modules as functions of their parameters and buffers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from flambeau.core.dispatch import apply
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor

__all__ = ["functional_call", "stack_module_state"]


_MISSING: Any = object()


def functional_call(module: Any, parameter_and_buffer_dicts: Any, args: Any = None,
                    kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True,
                    strict: bool = False) -> Any:
    """``module(*args, **kwargs)`` with the tensors of a dict for its parameters and buffers.

    ``parameter_and_buffer_dicts`` is a dict by name, or several of them; names that are absent
    keep the module's own tensors, unless ``strict``. With ``tie_weights`` a tensor that the
    module has under several names is replaced under all of them. A tensor that the call puts in
    another's place is in the dict afterwards; the module is as it was.

    >>> import flambeau as torch
    >>> net = torch.nn.Linear(2, 1, bias=False)
    >>> torch.func.functional_call(net, {"weight": torch.ones(1, 2)}, torch.ones(2))
    tensor([2.])
    """
    given = _merged(parameter_and_buffer_dicts)
    whole = _tied(module, given) if tie_weights else given
    if strict:
        _check_names(module, whole)
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _replaced(module, whole, given):
        return module(*args, **(kwargs or {}))


def _merged(dicts: Any) -> dict:
    if isinstance(dicts, dict):
        return dicts
    if not isinstance(dicts, Sequence):
        raise ValueError("Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of "
                         f"dicts, but got {type(dicts)}")
    if not all(isinstance(d, dict) for d in dicts):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    merged: dict = {}
    repeated: list[str] = []
    for d in dicts:
        repeated += [name for name in d if name in merged and name not in repeated]
        merged.update(d)
    if repeated:
        raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional "
                         "call is ambiguous")
    return merged


def _names(module: Any) -> dict[str, Any]:
    return dict([*module.named_parameters(remove_duplicate=False),
                 *module.named_buffers(remove_duplicate=False)])


def _tied(module: Any, given: dict) -> dict:
    by_tensor: dict[int, list[str]] = {}
    for name, t in _names(module).items():
        by_tensor.setdefault(id(t), []).append(name)
    full = dict(given)
    for group in by_tensor.values():
        found = [n for n in group if n in given]
        if len({id(given[n]) for n in found}) > 1:
            raise ValueError(f"functional_call got multiple values for keys {sorted(group)}, which "
                             "are tied. Consider using tie_weights=False")
        for n in group:
            if found:
                full[n] = given[found[0]]
    return full


def _check_names(module: Any, given: dict) -> None:
    names = _names(module)
    lines = [f"Error(s) in reparametrizing for {module._get_name()}:"]
    for title, keys in (("Unexpected", given.keys() - names.keys()),
                        ("Missing", names.keys() - given.keys())):
        if keys:
            lines.append(f"{title} key(s): {', '.join(repr(k) for k in sorted(keys))}.")
    if len(lines) > 1:
        raise RuntimeError("\n\t".join(lines))


@contextlib.contextmanager
def _replaced(module: Any, whole: dict[str, Any], given: dict[str, Any]) -> Iterator[None]:
    before: dict[str, Any] = {}
    try:
        for name, t in whole.items():
            before[name] = _swap(module, name, t)
        yield
    finally:
        after = {name: _swap(module, name, t) for name, t in reversed(before.items())}
        given.update({name: t for name, t in after.items() if name in given})


def _swap(module: Any, name: str, t: Any) -> Any:
    """Put a tensor (or nothing) in the place of a name, and return what was there."""
    path, _, last = name.rpartition(".")
    owner = _module_at(module, path)
    if t is not _MISSING and t is not None and not isinstance(t, Tensor):
        raise TypeError(f"{t} is not an instance of torch.Tensor")
    if last == "":
        raise KeyError('tensor name can\'t be empty string ""')
    held = next((m for m in (owner._parameters, owner._buffers) if last in m), None)
    if held is not None:
        found = held[last]
        if t is _MISSING:
            del held[last]
        else:
            held[last] = t
        return found
    found = getattr(owner, last, _MISSING)
    if found is not _MISSING and found is not None and not isinstance(found, Tensor):
        raise TypeError(f"attribute `{last}`: {found} is not an instance of torch.Tensor")
    if t is not _MISSING:
        setattr(owner, last, t)
    elif found is not _MISSING:
        delattr(owner, last)
    return found


def _module_at(module: Any, path: str) -> Any:
    done: list[str] = []
    for name in path.split(".") if path else ():
        done.append(name)
        if not hasattr(module, name):
            raise AttributeError(f"{module._get_name()} has no attribute `{name}`")
        module = getattr(module, name)
        if not hasattr(module, "_parameters"):
            raise TypeError(f"submodule `{'.'.join(done)}`: {module} is not an instance of "
                            "torch.nn.Module")
    return module


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
    return ({k: _stacked([p[k] for p in params], k) for k in params[0]},
            {k: _stacked([b[k] for b in buffers], k) for k in buffers[0]})


def _stacked(tensors: Sequence[Tensor], name: str) -> Tensor:
    if len({t.requires_grad for t in tensors}) > 1:
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    found = apply(OPS["stack"], [t.detach() for t in tensors], {"dim": 0})
    return found.requires_grad_() if tensors[0].requires_grad else found
