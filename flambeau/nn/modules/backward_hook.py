"""What calls a module's backward hooks: identity operations around the module."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd.function import Function
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap

__all__ = ["BackwardHook", "BackwardHookFunction"]

WITHOUT_INPUTS = (
    "Full backward hook is firing when gradients are computed with respect to module outputs since "
    "no inputs require gradients. See https://docs.pytorch.org/docs/main/generated/"
    "torch.nn.Module.html#torch.nn.Module.register_full_backward_hook for more details.")


class BackwardHookFunction(Function):
    """The identity on tensors: a node that hooks can be put on."""

    @staticmethod
    def forward(ctx: Any, *args: Tensor) -> tuple:  # type: ignore[override]
        """The same tensors; those without gradient stay without."""
        ctx.mark_non_differentiable(*[arg for arg in args if not arg.requires_grad])
        return args

    @staticmethod
    def backward(ctx: Any, *args: Any) -> tuple:  # type: ignore[override]
        """The same gradients."""
        return args


class BackwardHook:
    """The backward hooks of one call of a module.

    A node before the module knows its grad_input, one after it its grad_output.
    """

    def __init__(self, module: Any, user_hooks: Sequence[Callable],
                 user_pre_hooks: Sequence[Callable]) -> None:
        self.module = module
        self.user_hooks = user_hooks
        self.user_pre_hooks = user_pre_hooks
        self.grad_outputs: tuple | None = None
        # Shapes and dtypes of the inputs: one without a gradient shows zeros.
        self.like: list[tuple] = []
        self.n_inputs = self.n_outputs = -1
        self.input_tensors_index: list[int] | None = None
        self.output_tensors_index: list[int] | None = None

    def setup_input_hook(self, args: tuple) -> tuple:
        """The arguments, passed through the node before the module."""
        found, self.input_tensors_index = _through_node(args, self._after_module)
        self.n_inputs = len(args)
        if self.input_tensors_index is not None:
            self.like = [(args[i].shape, args[i].dtype.np) for i in self.input_tensors_index]
        return found

    def setup_output_hook(self, args: Any) -> Any:
        """The output, passed through the node after the module."""
        outputs = args if isinstance(args, tuple) else (args,)
        found, self.output_tensors_index = _through_node(outputs, self._before_module)
        self.n_outputs = len(outputs)
        return found if isinstance(args, tuple) else found[0]

    def _after_module(self, grad_inputs: tuple, _: Any) -> tuple | None:
        if self.grad_outputs is None:
            return None
        index = self.input_tensors_index or []
        grads = [wrap(np.zeros(*like)) if g is None else g
                 for g, like in zip(grad_inputs, self.like)]
        found: Any = _spread(index, grads, self.n_inputs)
        for hook in self.user_hooks:
            other = hook(self.module, found, self.grad_outputs)
            if other is None:
                continue
            if len(other) != len(found):
                raise RuntimeError("Backward hook returned an invalid number of grad_input, got "
                                   f"{len(other)}, but expected {len(found)}")
            found = other
        self.grad_outputs = None
        return tuple(found[i] for i in index)

    def _before_module(self, _: Any, grad_outputs: tuple) -> tuple:
        index = self.output_tensors_index or []
        found: Any = _spread(index, grad_outputs, self.n_outputs)
        for hook in self.user_pre_hooks:
            other = hook(self.module, found)
            if other is None:
                continue
            if len(other) != len(found):
                raise RuntimeError("Backward pre hook returned an invalid number of grad_output, "
                                   f"got {len(other)}, but expected {len(found)}")
            found = other
        self.grad_outputs = found
        if self.input_tensors_index is None:
            self._without_inputs(found)
        return tuple(found[i] for i in index)

    def _without_inputs(self, grad_outputs: tuple) -> None:
        warnings.warn(WITHOUT_INPUTS, stacklevel=5)
        nothing = (None,) * self.n_inputs
        for hook in self.user_hooks:
            found = hook(self.module, nothing, grad_outputs)
            if found is not None and not (isinstance(found, tuple)
                                          and all(x is None for x in found)):
                raise RuntimeError("Backward hook for Modules where no input requires gradient "
                                   "should always return None or None for all gradients.")
        self.grad_outputs = None


def _spread(index: Sequence[int], values: Sequence[Any], size: int) -> tuple:
    """``values`` at the places ``index`` of a tuple that is None elsewhere."""
    found = [None] * size
    for i, value in zip(index, values):
        found[i] = value
    return tuple(found)


def _through_node(args: tuple, hook: Callable) -> tuple[Any, list[int] | None]:
    """``args`` with their tensors passed through one node with a hook, and where the tensors are.

    Where nothing is recorded the arguments stay as they are, and None says so.
    """
    index = [i for i, arg in enumerate(args) if isinstance(arg, Tensor)]
    if not MODES.grad or not any(args[i].requires_grad for i in index):
        return args, None
    passed: tuple = BackwardHookFunction.apply(*[args[i] for i in index])
    node = next(t.grad_fn for t in passed if t.grad_fn is not None)
    node.register_hook(hook)
    found = list(args)
    for i, t in zip(index, passed):
        found[i] = t
    return tuple(found) if type(args) is tuple else type(args)(*found), index
