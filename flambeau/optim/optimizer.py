"""The base of all optimizers: parameter groups, state, hooks, and saving."""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from itertools import chain
from typing import Any, TypeAlias

from flambeau.backends.updates import Memory
from flambeau.base import dtypes
from flambeau.core.node import RemovableHandle
from flambeau.core.tensor import Tensor
from flambeau.ops.convert import typename

__all__ = ["Optimizer", "ParamsT", "StateDict", "register_optimizer_step_post_hook",
           "register_optimizer_step_pre_hook", "required"]

ParamsT: TypeAlias = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
StateDict: TypeAlias = dict[str, Any]

_global_optimizer_pre_hooks: dict[int, Callable] = OrderedDict()
_global_optimizer_post_hooks: dict[int, Callable] = OrderedDict()
_HOOKS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks",
          "_optimizer_state_dict_pre_hooks", "_optimizer_state_dict_post_hooks",
          "_optimizer_load_state_dict_pre_hooks", "_optimizer_load_state_dict_post_hooks")


class _RequiredParameter:
    """Stands as the default of an option that every group must give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _RequiredParameter()


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before every step of every optimizer.

    It may return a new pair ``(args, kwargs)``.
    """
    return RemovableHandle(_global_optimizer_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after every step of every optimizer."""
    return RemovableHandle(_global_optimizer_post_hooks, hook)


class Optimizer:
    """Changes parameters by their gradients; subclasses define ``step``.

    ``params`` is an ordered iterable of tensors, of pairs (name, tensor), or of dicts with
    "params" and options of their own; ``defaults`` holds the options that a group may leave out.
    ``state`` maps each parameter to what is remembered about it.

    >>> import flambeau as torch
    >>> w = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    >>> optimizer = torch.optim.SGD([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    _optimizer_step_pre_hooks: OrderedDict[int, Callable]
    _optimizer_step_post_hooks: OrderedDict[int, Callable]
    _optimizer_state_dict_pre_hooks: OrderedDict[int, Callable]
    _optimizer_state_dict_post_hooks: OrderedDict[int, Callable]
    _optimizer_load_state_dict_pre_hooks: OrderedDict[int, Callable]
    _optimizer_load_state_dict_post_hooks: OrderedDict[int, Callable]

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        for name in _HOOKS:
            setattr(self, name, OrderedDict())
        self._patch_step_function()
        if isinstance(params, Tensor):
            raise TypeError("params argument given to the optimizer should be an iterable of "
                            f"Tensors or dicts, but got {typename(params)}")
        self.state: defaultdict[Any, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._memories: dict[int, Memory] = {}
        groups: list = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in _HOOKS:
            self.__dict__.setdefault(name, OrderedDict())
        self._memories = {}
        self._patch_step_function()
        self.defaults.setdefault("differentiable", False)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines += [""] * (number > 0) + [f"Parameter Group {number}"]
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([*lines, ")"])

    # hooks

    @staticmethod
    def profile_hook_step(func: Callable) -> Callable:
        """``func``, a class's ``step``, so that hooks run before and after it."""
        @functools.wraps(func)
        def hooked_step(*args: Any, **kwargs: Any) -> Any:
            self = args[0]
            before, after = self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks
            if before or _global_optimizer_pre_hooks:
                args, kwargs = _run_pre_hooks(func, self, args, kwargs)
            result = func(*args, **kwargs)
            if after or _global_optimizer_post_hooks:
                for hook in chain(after.values(), _global_optimizer_post_hooks.values()):
                    hook(self, args, kwargs)
            return result

        return hooked_step

    def _patch_step_function(self) -> None:
        cls: Any = type(self)
        if not getattr(cls.step, "hooked", None):
            cls.step = self.profile_hook_step(cls.step)
            cls.step.hooked = True

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return new ones.

        >>> import flambeau as torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> handle = optimizer.register_step_pre_hook(lambda *_: print("before"))
        >>> optimizer.step()
        before
        """
        return RemovableHandle(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return RemovableHandle(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False
                                     ) -> RemovableHandle:
        """Call ``hook(optimizer)`` before ``state_dict``; before other hooks if ``prepend``."""
        return _register(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False
                                      ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after ``state_dict``; it may return another."""
        return _register(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False
                                          ) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)``, of a shallow copy, before one is loaded."""
        return _register(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False
                                           ) -> RemovableHandle:
        """Call ``hook(optimizer)`` after a ``state_dict`` was loaded."""
        return _register(self._optimizer_load_state_dict_post_hooks, hook, prepend)

    # saving

    def state_dict(self) -> StateDict:
        """The state and the groups as a dict in which numbers stand for parameters.

        "state" maps the number of a parameter to its state (the tensors themselves, no copies);
        "param_groups" has the options of each group and the numbers of its parameters.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups, start = [], 0
        for group in self.param_groups:
            params = group["params"]
            numbers |= {id(p): at for at, p in enumerate(params, start) if id(p) not in numbers}
            start += len(params)
            packed = {k: v for k, v in group.items() if k != "params"}
            packed["params"] = [numbers[id(p)] for p in params]
            groups.append(packed)
        state = {numbers[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        saved: StateDict = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            saved = _or_else(hook(self, saved), saved)
        return saved

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over what ``state_dict`` of an optimizer with like groups returned.

        Tensors are cast to the dtype of their floating parameter, ``step`` excepted. Raises
        ValueError where the groups differ in number or size.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            state_dict = _or_else(hook(self, state_dict), state_dict)
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        _check_groups(groups, saved)
        params = chain.from_iterable(g["params"] for g in groups)
        numbers = [(n, g) for g in saved for n in g["params"]]
        found = {n: (p, g) for (n, g), p in zip(numbers, params, strict=True)}
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in found:
                param, group = found[key]
                state[param] = _cast(param, value, group)
            else:
                state[key] = value
        for mine, new in zip(groups, saved, strict=True):
            new["params"] = mine["params"]
            if "param_names" in mine:
                new.setdefault("param_names", mine["param_names"])
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    # gradients and groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Take the gradients away, or fill them with zeros where ``set_to_none`` is False."""
        for group in self.param_groups:
            for p in group["params"]:
                meta = p._x
                if meta is None or meta.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                else:
                    grad: Any = meta.grad
                    if grad.grad_fn is not None:
                        grad.detach_()
                    else:
                        grad.requires_grad_(False)
                    grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters once; returns what ``closure``, which computes the loss, gave."""
        raise NotImplementedError

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with "params" (tensors, or pairs of name and tensor) and options.

        Raises TypeError for sets and for what is no tensor, ValueError for tensors that are no
        leaves, for parameters of another group, and where only some have names.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        _unpack_params(param_group)
        for p in param_group["params"]:
            self._check_param(p)
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError("parameter group didn't specify a value of required "
                                 f"optimization parameter {name}")
            param_group.setdefault(name, default)
        params = set(param_group["params"])
        if len(params) != len(param_group["params"]):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; in "
                          "future, this will cause an error; see "
                          "github.com/pytorch/pytorch/issues/40967 for more information",
                          stacklevel=3)
        named = "param_names" in param_group
        for group in self.param_groups:
            if named != ("param_names" in group):
                raise ValueError("all optimizer param groups should be with/without names. cannot "
                                 f"add param group {'with' if named else 'without'} names to the "
                                 "optimizer")
        if any(not params.isdisjoint(group["params"]) for group in self.param_groups):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def _check_param(self, p: Any) -> None:
        if not isinstance(p, Tensor):
            raise TypeError("optimizer can only optimize Tensors, but one of the params is "
                            f"{typename(p)}")
        if not (self.defaults.get("differentiable") or p.is_leaf or p.retains_grad):
            raise ValueError("can't optimize a non-leaf Tensor")

    def _memory(self, number: int) -> Memory:
        """What group ``number`` keeps from step to step for speed alone."""
        found = self._memories.get(number)
        if found is None:
            found = self._memories[number] = Memory()
        return found


def _run_pre_hooks(func: Callable, self: Optimizer, args: tuple, kwargs: dict
                   ) -> tuple[tuple, dict]:
    for hook in chain(_global_optimizer_pre_hooks.values(),
                      self._optimizer_step_pre_hooks.values()):
        result = hook(self, args, kwargs)
        if result is None:
            continue
        if not isinstance(result, tuple) or len(result) != 2:
            raise RuntimeError(f"{func} must return None or a tuple of (new_args, new_kwargs), "
                               f"but got {result}.")
        args, kwargs = result
    return args, kwargs


def _register(hooks: OrderedDict[int, Callable], hook: Callable, prepend: bool
              ) -> RemovableHandle:
    handle = RemovableHandle(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _or_else(result: Any, default: Any) -> Any:
    return default if result is None else result


def _unpack_params(group: dict[str, Any]) -> None:
    """Make "params" a list of tensors, and their names, where they have some, "param_names"."""
    params = group["params"]
    if isinstance(params, Tensor):
        params = [params]
    elif isinstance(params, set):
        raise TypeError("optimizer parameters need to be organized in ordered collections, but "
                        "the ordering of tensors in sets will change between runs. Please use a "
                        "list instead.")
    params = list(params)
    names = [p[0] for p in params if isinstance(p, tuple)]
    group["params"] = [p[1] if isinstance(p, tuple) else p for p in params]
    if names:
        if len(names) != len(params):
            raise ValueError("all optimizer params should be with/without names. Some param "
                             "names are missing")
        group["param_names"] = names


def _check_groups(groups: list[dict], saved: list[dict]) -> None:
    if len(groups) != len(saved):
        raise ValueError("loaded state dict has a different number of parameter groups")
    if any(len(a["params"]) != len(b["params"]) for a, b in zip(groups, saved)):
        raise ValueError("loaded state dict contains a parameter group that doesn't match the "
                         "size of optimizer's group")


def _cast(param: Tensor, value: Any, group: Mapping[str, Any], key: Any = None) -> Any:
    """A copy of the nesting of ``value``, its tensors in the dtype that suits ``param``."""
    if isinstance(value, Tensor):
        if key == "step":
            fixed = group.get("capturable", False) or group.get("fused", False)
            return value.to(dtypes.float32) if fixed else value
        return value.to(param.dtype) if param.dtype.is_floating_point else value
    if isinstance(value, dict):
        return {k: _cast(param, v, group, k) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return type(value)(_cast(param, v, group) for v in value)  # type: ignore[call-arg]
    return value
