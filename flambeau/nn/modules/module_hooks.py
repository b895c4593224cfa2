"""Hooks of modules: before and after forward, before and after backward, of one module or all."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.core.node import RemovableHandle
from flambeau.core.tensor import Tensor
from flambeau.nn.modules.backward_hook import BackwardHook
from flambeau.nn.modules.module_attributes import (
    BUFFER_HOOKS,
    MODULE_HOOKS,
    PARAMETER_HOOKS,
    Attributes,
)
from flambeau.nn.modules.module_members import CALLED, attributes_of, hooks_of

__all__ = ["HookedModule", "WrappedHook"]

BOTH_KINDS = ("Cannot use both regular backward hooks and full backward hooks {}. Please use only "
              "one of them.")


class GlobalHooks(OrderedDict):
    """Hooks of all modules. Calls look for hooks as long as one such dict may hold one."""

    __slots__ = ()

    def __setitem__(self, at: Any, hook: Any) -> None:
        super().__setitem__(at, hook)
        HOOKED[:] = [True]


# Not empty where a call must look for hooks of all modules.
HOOKED: list[bool] = []
BACKWARD_PRE_HOOKS: dict[int, Callable] = GlobalHooks()
BACKWARD_HOOKS: dict[int, Callable] = GlobalHooks()
FORWARD_PRE_HOOKS: dict[int, Callable] = GlobalHooks()
FORWARD_HOOKS: dict[int, Callable] = GlobalHooks()
ALWAYS_CALLED: dict[int, bool] = OrderedDict()
WITH_KWARGS: dict[int, bool] = OrderedDict()


class _GlobalKind:
    """Whether the backward hooks of all modules are full ones; None without any yet."""

    full: bool | None = None


def _any_global() -> bool:
    found = bool(BACKWARD_PRE_HOOKS or BACKWARD_HOOKS or FORWARD_PRE_HOOKS or FORWARD_HOOKS)
    if not found:
        HOOKED.clear()
    return found


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` whenever a module gets a buffer; it may give another."""
    return RemovableHandle(BUFFER_HOOKS, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` whenever a module gets one; it may give another."""
    return RemovableHandle(MODULE_HOOKS, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, param)`` whenever a module gets one; it may give another."""
    return RemovableHandle(PARAMETER_HOOKS, hook)


def register_module_forward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, args)`` before any module's forward; it may give other arguments."""
    return RemovableHandle(FORWARD_PRE_HOOKS, hook)


def register_module_forward_hook(hook: Callable, *, with_kwargs: bool = False,
                                 always_call: bool = False) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after any module's forward; it may give another output.

    ``with_kwargs`` puts the keyword arguments before the output; ``always_call`` calls the hook
    also where forward raises.
    """
    handle = RemovableHandle(FORWARD_HOOKS, hook, extra_dict=[ALWAYS_CALLED, WITH_KWARGS])
    if with_kwargs:
        WITH_KWARGS[handle.id] = True
    if always_call:
        ALWAYS_CALLED[handle.id] = True
    return handle


def register_module_backward_hook(hook: Callable) -> RemovableHandle:
    """The old form of ``register_module_full_backward_hook``, which see."""
    if _GlobalKind.full is True:
        raise RuntimeError(BOTH_KINDS.format("as a global Module hook"))
    _GlobalKind.full = False
    return RemovableHandle(BACKWARD_HOOKS, hook)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before any module's backward; it may give another."""
    return RemovableHandle(BACKWARD_PRE_HOOKS, hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` after any module's backward.

    It may give another gradient of the input.
    """
    if _GlobalKind.full is False:
        raise RuntimeError(BOTH_KINDS.format("as a global Module hook"))
    _GlobalKind.full = True
    return RemovableHandle(BACKWARD_HOOKS, hook)


class WrappedHook:
    """A hook, called with the module before its other arguments where it was given one."""

    def __init__(self, hook: Callable, module: Any = None) -> None:
        self.hook = hook
        functools.update_wrapper(self, hook)
        self.with_module = module is not None
        if module is not None:
            self.module = weakref.ref(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.with_module:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self) -> dict:
        state = {"hook": self.hook, "with_module": self.with_module}
        if self.with_module:
            state["module"] = self.module()
        return state

    def __setstate__(self, state: dict) -> None:
        self.hook = state["hook"]
        self.with_module = state["with_module"]
        if self.with_module:
            if state["module"] is None:
                raise RuntimeError("You are trying to revive the hook of a dead Module!")
            self.module = weakref.ref(state["module"])


def _add(hooks: Any, hook: Callable, prepend: bool, *notes: tuple[dict, bool]) -> RemovableHandle:
    handle = RemovableHandle(hooks, hook, extra_dict=[held for held, _ in notes])
    for held, wanted in notes:
        if wanted:
            held[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class HookedModule(Attributes):
    """A module that can be called; registered hooks run around its forward and its backward."""

    forward: Callable[..., Any]
    _forward_hooks: dict[int, Callable]
    _forward_hooks_with_kwargs: dict[int, bool]
    _forward_hooks_always_called: dict[int, bool]
    _forward_pre_hooks: dict[int, Callable]
    _forward_pre_hooks_with_kwargs: dict[int, bool]
    _backward_hooks: dict[int, Callable]
    _backward_pre_hooks: dict[int, Callable]
    _compiled_call_impl: Callable | None = None

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False,
                                  with_kwargs: bool = False) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; it may return other arguments.

        With ``with_kwargs`` it is called as ``hook(module, args, kwargs)`` and returns None or
        both; ``prepend`` puts it before the hooks that are there.
        """
        return _add(self._forward_pre_hooks, hook, prepend,
                    (self._forward_pre_hooks_with_kwargs, with_kwargs))

    def register_forward_hook(self, hook: Callable, *, prepend: bool = False,
                              with_kwargs: bool = False,
                              always_call: bool = False) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; it may return another output.

        ``with_kwargs`` puts the keyword arguments before the output, ``always_call`` calls the
        hook also where forward raises, ``prepend`` puts it before the hooks that are there.
        """
        return _add(self._forward_hooks, hook, prepend,
                    (self._forward_hooks_with_kwargs, with_kwargs),
                    (self._forward_hooks_always_called, always_call))

    def register_full_backward_pre_hook(self, hook: Callable,
                                        prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before backward; it may return another tuple."""
        return _add(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook: Callable,
                                    prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` after backward.

        Both are tuples, with None for what is no tensor; the hook may return another grad_input.
        """
        if self._is_full_backward_hook is False:
            raise RuntimeError(BOTH_KINDS.format("on a single Module"))
        self._is_full_backward_hook = True
        return _add(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """The old form of ``register_full_backward_hook``: sees the last operation alone."""
        if self._is_full_backward_hook is True:
            raise RuntimeError(BOTH_KINDS.format("on a single Module"))
        self._is_full_backward_hook = False
        return _add(self._backward_hooks, hook, False)

    def _call_impl(self, *args: Any, **kwargs: Any) -> Any:
        """A call that looks for hooks."""
        held = attributes_of(self)
        if "_parameters" not in held:
            self._backward_hooks  # noqa: B018 (says that __init__ never ran)
        if not any([held.get(name) for name in CALLED]) and not (HOOKED and _any_global()):
            return self.forward(*args, **kwargs)
        call = _HookedCall(self, args, kwargs)
        try:
            return call.run()
        except Exception:
            call.after_error()
            raise


def call_hooked(module: Any, args: tuple, kwargs: dict) -> Any:
    if module._compiled_call_impl is not None:
        return module._compiled_call_impl(*args, **kwargs)
    return module._call_impl(*args, **kwargs)


def backward_hooks_by_kind(module: Any) -> tuple[list, list]:
    full: list[Callable] = []
    old: list[Callable] = []
    for hooks, kind in ((BACKWARD_HOOKS, _GlobalKind.full),
                        (hooks_of(module, "_backward_hooks"), module._is_full_backward_hook)):
        if kind is not None:
            (full if kind else old).extend(hooks.values())
    return full, old


class _HookedCall:
    """One call of a module with hooks."""

    def __init__(self, module: HookedModule, args: tuple, kwargs: dict) -> None:
        self.module = module
        self.args = args
        self.kwargs = kwargs
        self.result: Any = None
        self.called: set[int] = set()

    def run(self) -> Any:
        module = self.module
        full, old = backward_hooks_by_kind(module)
        before = [*BACKWARD_PRE_HOOKS.values(), *hooks_of(module, "_backward_pre_hooks").values()]
        self._run_pre_hooks()
        around = None
        if full or before:
            around = BackwardHook(module, full, before)
            self.args = around.setup_input_hook(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        always = hooks_of(module, "_forward_hooks_always_called")
        for at, hook in (*FORWARD_HOOKS.items(), *hooks_of(module, "_forward_hooks").items()):
            if at in always or at in ALWAYS_CALLED:
                self.called.add(at)
            self._run_hook(at, hook)
        if around is not None:
            if not isinstance(self.result, (Tensor, tuple)):
                warnings.warn("For backward hooks to be called, module output should be a Tensor "
                              f"or a tuple of Tensors but received {type(self.result)}",
                              stacklevel=4)
            self.result = around.setup_output_hook(self.result)
        if old:
            _hook_last_node(module, self.args, self.result, old)
        return self.result

    def _run_pre_hooks(self) -> None:
        module = self.module
        for at, hook in (*FORWARD_PRE_HOOKS.items(),
                         *hooks_of(module, "_forward_pre_hooks").items()):
            if at in hooks_of(module, "_forward_pre_hooks_with_kwargs"):
                found = hook(module, self.args, self.kwargs)
                if found is None:
                    continue
                if not isinstance(found, tuple) or len(found) != 2:
                    raise RuntimeError("forward pre-hook must return None or a tuple of "
                                       f"(new_args, new_kwargs), but got {found}.")
                self.args, self.kwargs = found
            else:
                found = hook(module, self.args)
                if found is not None:
                    self.args = found if isinstance(found, tuple) else (found,)

    def _run_hook(self, at: int, hook: Callable) -> None:
        module = self.module
        if at in WITH_KWARGS or at in hooks_of(module, "_forward_hooks_with_kwargs"):
            found = hook(module, self.args, self.kwargs, self.result)
        else:
            found = hook(module, self.args, self.result)
        if found is not None:
            self.result = found

    def after_error(self) -> None:
        """Call the hooks that are always called and were not yet."""
        module = self.module
        for hooks, always, what in (
                (FORWARD_HOOKS, ALWAYS_CALLED, "global module"),
                (hooks_of(module, "_forward_hooks"),
                 hooks_of(module, "_forward_hooks_always_called"), "module")):
            for at, hook in hooks.items():
                if at not in always or at in self.called:
                    continue
                try:
                    self._run_hook(at, hook)
                except Exception as error:
                    warnings.warn(f"{what} forward hook with ``always_call=True`` raised an "
                                  "exception that was silenced as another error was raised in "
                                  f"forward: {error}", stacklevel=4)


def _hook_last_node(module: Any, args: Any, result: Any, hooks: list[Callable]) -> None:
    last = result
    while not isinstance(last, Tensor):
        last = (next(v for v in last.values() if isinstance(v, Tensor))
                if isinstance(last, dict) else last[0])
    node = last.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(WrappedHook(hook, module))
    what = _missed(args, result, node)
    if what is not None:
        warnings.warn(what, FutureWarning, stacklevel=6)


def _all_tensors(value: Any) -> tuple | None:
    if isinstance(value, Tensor):
        return (value,)
    if isinstance(value, tuple) and all(isinstance(v, Tensor) for v in value):
        return value
    return None


def _missed(args: Any, result: Any, node: Any) -> str | None:
    """What an old backward hook will not see of this call; None where it sees all."""
    text = ("Using {} is deprecated and will be removed in future versions. This hook will be "
            "missing {}.{}")
    full = " Please use register_full_backward_hook to get the documented behavior."
    results, inputs = _all_tensors(result), _all_tensors(args)
    if results is None:
        return text.format("non-full backward hooks on a Module that does not return a single "
                           "Tensor or a tuple of Tensors", "some of the grad_output", full)
    if inputs is None:
        return text.format("non-full backward hooks on a Module that does not take as input a "
                           "single Tensor or a tuple of Tensors", "some of the grad_input", full)
    nodes = {r.grad_fn for r in results if r.grad_fn is not None}
    if not nodes or nodes != {node} and len(nodes) == 1:
        return text.format("a non-full backward hook when outputs are nested in python data "
                           "structure", "some grad_output", "")
    if len(nodes) > 1:
        return text.format("a non-full backward hook when outputs are generated by different "
                           "autograd Nodes", "some grad_output", full)
    before = {n for n, _ in node.next_functions}
    if {i.grad_fn for i in inputs if i.grad_fn is not None} != before:
        return text.format("a non-full backward hook when the forward contains multiple autograd "
                           "Nodes", "some grad_input", full)
    return None
