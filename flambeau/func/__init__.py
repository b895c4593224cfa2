"""Transforms of functions of tensors: gradients, Jacobians, batches; calls of modules as functions.

>>> import flambeau as torch
>>> torch.func.grad(torch.sin)(torch.tensor(0.0))
tensor(1.)
"""

from flambeau.func.inspection import (
    debug_unwrap,
    functionalize,
    replace_all_batch_norm_modules_,
)
from flambeau.func.jacobians import hessian, jacfwd, jacrev
from flambeau.func.modules import functional_call, stack_module_state
from flambeau.func.rearrangement import rearrange
from flambeau.func.transforms import grad, grad_and_value, jvp, linearize, vjp
from flambeau.func.vmap import vmap

__all__ = ["debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian",
           "jacfwd", "jacrev", "jvp", "linearize", "rearrange", "replace_all_batch_norm_modules_",
           "stack_module_state", "vjp", "vmap"]
