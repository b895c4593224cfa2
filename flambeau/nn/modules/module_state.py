"""The state of modules: giving it out as a dict of tensors, and taking it in."""

from __future__ import annotations

import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from typing import Any

from numpy import ndarray

from flambeau.autograd.modes import no_grad
from flambeau.core.inplace import store
from flambeau.core.node import RemovableHandle
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.module_attributes import Attributes
from flambeau.nn.modules.module_hooks import WrappedHook
from flambeau.nn.modules.module_members import hooks_of
from flambeau.nn.parameter import Parameter, is_lazy

__all__ = ["StatefulModule"]

EXTRA_STATE = "_extra_state"
POSITIONAL = (
    "Positional args are being deprecated, use kwargs instead. Refer to https://pytorch.org/docs/"
    "main/generated/torch.nn.Module.html#torch.nn.Module.state_dict for details.")
NO_EXTRA_STATE = (
    "Reached a code path in Module.{}() that should never be called. Please file an issue at "
    "https://github.com/pytorch/pytorch/issues/new?template=bug-report.yml to report this bug.")


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """The keys that a state lacked, and those that nothing in the module goes by."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class StatefulModule(Attributes):
    """A module whose parameters and persistent buffers can be given out and taken in."""

    _version: int = 1
    dump_patches: bool = False
    _state_dict_hooks: dict[int, Callable]
    _state_dict_pre_hooks: dict[int, Callable]
    _load_state_dict_pre_hooks: dict[int, Callable]
    _load_state_dict_post_hooks: dict[int, Callable]

    def get_extra_state(self) -> Any:
        """More state than tensors, for ``state_dict``; a class that has some overrides this."""
        raise RuntimeError(NO_EXTRA_STATE.format("get_extra_state"))

    def set_extra_state(self, state: Any) -> None:
        """Take in what ``get_extra_state`` gave; a class that has some overrides this."""
        raise RuntimeError(NO_EXTRA_STATE.format("set_extra_state"))

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "",
                   keep_vars: bool = False) -> Any:
        """The parameters and persistent buffers by name, submodules' ones with dots.

        They share the module's memory, detached unless ``keep_vars``.

        >>> import flambeau as torch
        >>> list(torch.nn.Linear(2, 3).state_dict())
        ['weight', 'bias']
        """
        if args:
            warnings.warn(POSITIONAL, FutureWarning, stacklevel=2)
            destination, prefix, keep_vars = _by_place(args, destination, prefix, keep_vars)
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in hooks_of(self, "_state_dict_pre_hooks").values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.",
                                  keep_vars=keep_vars)
        for hook in hooks_of(self, "_state_dict_hooks").values():
            other = hook(self, destination, prefix, metadata)
            if other is None:
                continue
            if getattr(hook, "_from_public_api", False):
                raise RuntimeError("state_dict post-hook must return None")
            destination = other
        return destination

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if type(self).get_extra_state is not StatefulModule.get_extra_state:
            destination[prefix + EXTRA_STATE] = self.get_extra_state()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True,
                        assign: bool = False) -> _IncompatibleKeys:
        """Copy a state into the parameters and buffers, by name.

        With ``assign`` they become the state's own tensors instead. Returns the names that were
        missing and those that were unexpected; with ``strict`` these raise RuntimeError, as
        tensors of another shape always do. What fits is copied before the error is raised.

        >>> import flambeau as torch
        >>> net = torch.nn.Linear(2, 3)
        >>> net.load_state_dict(torch.nn.Linear(2, 3).state_dict())
        <All keys matched successfully>
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        given: Any = OrderedDict(state_dict)
        if metadata is not None:
            given._metadata = metadata
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        _load(self, given, "", metadata, assign, (missing, unexpected, errors))
        if strict:
            lists = (("Missing", missing), ("Unexpected", unexpected))
            errors[:0] = [f"{what} key(s) in state_dict: " + ", ".join(f'"{k}"' for k in keys)
                          + ". " for what, keys in lists if keys]
        if errors:
            raise RuntimeError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                               + "\n\t".join(errors))
        return _IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: dict,
                              strict: bool, missing_keys: list[str], unexpected_keys: list[str],
                              error_msgs: list[str]) -> None:
        for hook in hooks_of(self, "_load_state_dict_pre_hooks").values():
            hook(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys,
                 error_msgs)
        assign = local_metadata.get("assign_to_params_buffers", False)
        own = {**self._parameters, **{k: v for k, v in self._buffers.items()
                                      if k not in self._non_persistent_buffers_set}}
        own = {name: value for name, value in own.items() if value is not None}
        for name, param in own.items():
            key = prefix + name
            if key in state_dict:
                load_one(self, name, key, param, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)
        extra = prefix + EXTRA_STATE
        if type(self).set_extra_state is not StatefulModule.set_extra_state:
            if extra in state_dict:
                self.set_extra_state(state_dict[extra])
            elif strict:
                missing_keys.append(extra)
        elif strict and extra in state_dict:
            unexpected_keys.append(extra)
        if strict:
            unexpected_keys += [key for key in state_dict if key.startswith(prefix)
                                and key != extra and not knows(self, key[len(prefix):], own)]

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before the state is given out."""
        return RemovableHandle(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook: Any) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata)`` after; it may change the dict."""
        hook._from_public_api = True
        return RemovableHandle(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError("Cannot register the same function as the state dict post hook that "
                               "was previously registered via register_state_dict_post_hook")
        return RemovableHandle(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, metadata, strict, missing_keys,
        unexpected_keys, error_msgs)`` before a state is taken in."""
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook: Callable,
                                           with_module: bool = False) -> RemovableHandle:
        return RemovableHandle(self._load_state_dict_pre_hooks,
                               WrappedHook(hook, self if with_module else None))

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after; it may change the lists of keys."""
        return RemovableHandle(self._load_state_dict_post_hooks, hook)


def _by_place(args: tuple, destination: Any, prefix: str, keep_vars: bool) -> tuple:
    if destination is None:
        destination = args[0]
    if len(args) > 1 and prefix == "":
        prefix = args[1]
    if len(args) > 2 and keep_vars is False:
        keep_vars = args[2]
    return destination, prefix, keep_vars


def _load(module: Any, given: Any, prefix: str, metadata: Any, assign: bool,
          found: tuple[list[str], list[str], list[str]]) -> None:
    """Load ``given``, the part of a state whose names begin with ``prefix``, into a module."""
    missing, unexpected, errors = found
    local = {} if metadata is None else metadata.get(prefix[:-1], {})
    if assign:
        local["assign_to_params_buffers"] = assign
    module._load_from_state_dict(given, prefix, local, True, missing, unexpected, errors)
    for name, child in module._modules.items():
        if child is not None:
            inner = f"{prefix}{name}."
            part = {k: v for k, v in given.items() if k.startswith(inner)}
            _load(child, part, inner, metadata, assign, found)
    for hook in hooks_of(module, "_load_state_dict_post_hooks").values():
        if hook(module, _IncompatibleKeys(missing, unexpected)) is not None:
            raise AssertionError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to "
                "return new values, if incompatible_keys need to be modified, it should be done "
                "inplace.")


def knows(module: Any, key: str, own: dict) -> bool:
    """Whether a key of a state belongs to the module or to one below it."""
    first, dot, _ = key.partition(".")
    return first in (module._modules if dot else own)


def load_one(module: Any, name: str, key: str, param: Any, given: Any, assign: bool,
             errors: list[str]) -> None:
    """Copy ``given`` into ``param``, or put it in its place; say in ``errors`` why not."""
    if not isinstance(given, Tensor):
        errors.append(f'While copying the parameter named "{key}", expected torch.Tensor or '
                      f"Tensor-like object from checkpoint but received {type(given)}")
        return
    if not is_lazy(param):
        if len(param.shape) == 0 and tuple(given.shape) == (1,):
            given = given[0]  # What PyTorch before 0.4 saved of a number.
        if given.shape != param.shape:
            errors.append(f"size mismatch for {key}: copying a param with shape {given.shape} "
                          f"from checkpoint, the shape in current model is {param.shape}.")
            return
    try:
        with no_grad():
            if assign:
                take(module, name, param, given)
            elif _is_plain(param, given):
                store(param, given._a)
            else:
                param.copy_(given)
    except Exception as error:
        errors.append(
            f'While copying the parameter named "{key}", whose dimensions in the model are '
            f"{param.size()} and whose dimensions in the checkpoint are {given.size()}, an "
            f"exception occurred : {error.args}.")


def _is_plain(param: Any, given: Any) -> bool:
    """Whether copying is no more than writing an array into another."""
    a, b = param._a, given._a
    return (type(a) is ndarray is type(b) and a.dtype is b.dtype
            and (param._v is None or type(param._v) is list)
            and type(param).copy_ is Tensor.copy_)  # type: ignore[attr-defined]


def take(module: Any, name: str, param: Any, given: Any) -> None:
    """Put ``given`` in the place of ``param``."""
    if isinstance(param, Parameter):
        if isinstance(given, Parameter):
            given.requires_grad_(param.requires_grad)
        else:
            given = Parameter(given, requires_grad=param.requires_grad)
    setattr(module, name, given)
