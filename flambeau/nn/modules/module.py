"""The base of all modules: members, call, hooks, state, conversion and text."""

from __future__ import annotations

from typing import Any

from flambeau.base.messages import text
from flambeau.nn.modules.module_attributes import start_attributes
from flambeau.nn.modules.module_hooks import (
    BACKWARD_HOOKS,
    BACKWARD_PRE_HOOKS,
    FORWARD_HOOKS,
    FORWARD_PRE_HOOKS,
    HOOKED,
    HookedModule,
    call_hooked,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from flambeau.nn.modules.module_path import note_path
from flambeau.nn.modules.module_state import EXTRA_STATE, StatefulModule, _IncompatibleKeys
from flambeau.nn.modules.module_text import indented, module_text
from flambeau.nn.modules.module_tree import ModuleTree

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]

# Names that programs import from here, though they are not public.
_addindent = indented
_EXTRA_STATE_KEY_SUFFIX = EXTRA_STATE
_IncompatibleKeys.__module__ = __name__
_global_backward_hooks, _global_backward_pre_hooks = BACKWARD_HOOKS, BACKWARD_PRE_HOOKS
_global_forward_hooks, _global_forward_pre_hooks = FORWARD_HOOKS, FORWARD_PRE_HOOKS


class Module(HookedModule, StatefulModule, ModuleTree):
    """The base class of neural network modules.

    A subclass calls ``super().__init__()``, sets parameters, buffers and other modules as
    attributes, which registers them, and defines ``forward``. Calling the module runs forward
    and the hooks around it.

    >>> import flambeau as torch
    >>> class Scale(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = torch.nn.Parameter(torch.tensor(3.0))
    ...     def forward(self, x):
    ...         return self.factor * x
    >>> Scale()(torch.ones(2))
    tensor([3., 3.], grad_fn=<MulBackward0>)
    """

    call_super_init: bool = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init:
            name = type(self).__name__
            if kwargs:
                raise TypeError(f"{name}.__init__() got an unexpected keyword argument "
                                f"'{next(iter(kwargs))}'")
            if args:
                raise TypeError(f"{name}.__init__() takes 1 positional argument but "
                                f"{len(args) + 1} were given")
        start_attributes(self)
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._module_has_hooks or HOOKED:
                return call_hooked(self, args, kwargs)
            # An empty dict of keywords would cost a tenth of the call.
            return self.forward(*args, **kwargs) if kwargs else self.forward(*args)
        except Exception as error:
            note_path(self, error)
            raise

    def forward(self, *input: Any) -> Any:
        """Compute the outputs; subclasses define it."""
        name = type(self).__name__
        raise NotImplementedError(
            f'Module [{name}] is missing the required "forward" function\n\n  '
            + text("no_forward", kind=name))

    _wrapped_call_impl = __call__

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Run calls of this module through ``torch.compile``, whose arguments these are."""
        from flambeau.compiler import compile  # start-up: few programs compile

        self._compiled_call_impl = compile(self._call_impl, *args, **kwargs)

    def extra_repr(self) -> str:
        """What ``repr`` shows between the parentheses; subclasses define it."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        return module_text(self)


