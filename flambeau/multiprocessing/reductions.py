"""How tensors are sent between processes, as ``multiprocessing``'s picklers are told."""

from __future__ import annotations

from flambeau.core.tensor import Tensor
from flambeau.nn.parameter import Parameter
from flambeau.ops.sharing import rebuild_tensor, reduce_tensor, register

__all__ = ["init_reductions", "rebuild_tensor", "reduce_tensor"]


def init_reductions() -> None:
    """Have tensors and parameters sent in shared memory."""
    for kind in (Tensor, Parameter):
        register(kind)


init_reductions()
