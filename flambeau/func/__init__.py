"""Transforms of functions of tensors: gradients, Jacobians, batches; calls of modules as functions.

>>> import flambeau as torch
>>> torch.func.grad(torch.sin)(torch.tensor(0.0))
tensor(1.)
"""

from flambeau.func.jacobians import hessian, jacfwd, jacrev
from flambeau.func.modules import functional_call, stack_module_state
from flambeau.func.transforms import grad, grad_and_value, jvp, linearize, vjp
from flambeau.func.vmap import vmap

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp",
           "linearize", "stack_module_state", "vjp", "vmap"]
