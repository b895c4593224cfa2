"""Looking inside the tensors of a transform, and making modules and functions fit for one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.core.levels import Handle
from flambeau.core.tensor import Tensor

__all__ = ["debug_unwrap", "functionalize", "replace_all_batch_norm_modules_"]


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """What is inside a tensor of ``vmap``, ``grad`` or ``jvp``; all the way, where ``recurse``.

    For debugging alone: what is computed from it is not seen by the transform.

    >>> import flambeau as torch
    >>> _ = torch.func.vmap(lambda x: print(torch.func.debug_unwrap(x)) or x)(torch.ones(2))
    tensor([1., 1.])
    """
    handle = tensor._a
    if not isinstance(handle, Handle) or handle.level < 1:  # sparse or traced
        return tensor
    inside = handle.value
    return debug_unwrap(inside) if recurse else inside


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """A function that gives what ``func`` gives, and changes the arguments that ``func`` changes.

    ``remove`` is "mutations" or "mutations_and_views". In PyTorch this keeps changes in place out
    of the graph of ``make_fx``; there are no such graphs here, so ``func`` runs as it is.
    """

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if remove not in ("mutations", "mutations_and_views"):
            raise RuntimeError(
                f"functionalize(f, remove='mutations'): received invalid argument for "
                f"remove={remove}. Valid options are:\n     remove='mutations': all inplace and "
                "out= operators will be removed from the program, and replaced with their "
                "out-of-place equivalents.\n     remove='mutations_and_views': In addition to the "
                "above, all aliasing operators {view} will be replaced with their non-aliasing "
                "counterparts, {view}_copy.\n")
        return func(*args, **kwargs)

    return wrapped


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Let the batch normalisations in a module keep no running statistics, in place.

    ``vmap`` cannot update those: they would differ over the batch.
    """
    for module in root.modules():
        batch_norm = any(kind.__name__ == "_BatchNorm" for kind in type(module).__mro__)
        if batch_norm and module.track_running_stats:
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
