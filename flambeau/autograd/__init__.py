"""Automatic differentiation: backward, grad, modes, hooks, custom functions."""

from flambeau.autograd.backward import backward, grad
from flambeau.autograd.modes import enable_grad, no_grad, set_grad_enabled

__all__ = ["backward", "enable_grad", "grad", "no_grad", "set_grad_enabled"]
