"""Asking for gradients: ``backward`` and ``grad``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core import engine
from flambeau.core.dispatch import edge_of
from flambeau.core.face import show
from flambeau.core.tensor import Tensor, wrap

__all__ = ["backward", "grad"]


def _as_tuple(x: Any) -> tuple:
    return tuple(x) if isinstance(x, (list, tuple)) else (x,)


def _first_grads(outputs: Sequence[Tensor], grads: Sequence[Any]) -> list[Tensor]:
    """The gradient to start from at each output: the one given, or one for a scalar."""
    if len(grads) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(grads)} gradients")
    found = []
    for out, g in zip(outputs, grads):
        if g is None:
            found.append(_one(out))
            continue
        if not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got "
                            f"{type(g).__name__}")
        if g._a.shape != out._a.shape:
            raise RuntimeError("Mismatch in shape: grad_output[0] has a shape of "
                               f"{g.shape} and output[0] has a shape of {out.shape}.")
        if out.dtype.is_complex != g.dtype.is_complex:
            raise RuntimeError("For complex Tensors, both grad_output and output are required to "
                               f"have the same dtype. Mismatch in dtype: grad_output[0] has a "
                               f"dtype of {g.dtype} and output[0] has a dtype of {out.dtype}.")
        found.append(g)
    return found


def _one(out: Tensor) -> Tensor:
    if out._node is None:
        raise not_recorded()
    if out._a.size != 1:
        raise RuntimeError(
            "grad can be implicitly created only for scalar outputs\n\n"
            f"  this tensor has shape {list(out._a.shape)}: reduce it first, "
            "loss = out.sum() or out.mean(),\n  or say how to weigh its elements: "
            "out.backward(gradient=torch.ones_like(out)).")
    if out.dtype.is_complex:
        raise RuntimeError("grad can be implicitly created only for real scalar outputs but got "
                           f"{out.dtype}")
    if type(out._a) is np.ndarray:
        return wrap(np.ones(out._a.shape, out._a.dtype))
    return wrap(np.ones(out._a.shape, np.dtype(out._a.dtype.type)))


def not_recorded() -> RuntimeError:
    """The error for a tensor that has no history to go back through."""
    return RuntimeError(
        "element 0 of tensors does not require grad and does not have a grad_fn\n\n"
        "  nothing was recorded for it: give the parameters requires_grad=True, and compute the "
        "loss\n  from them outside torch.no_grad(), without .detach(), .item() or .numpy().")


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None,
             create_graph: bool = False, inputs: Any = None) -> None:
    """Add the gradients of ``tensors`` to the ``.grad`` of the leaves they came from.

    >>> import flambeau as torch
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> torch.autograd.backward(w * w)
    >>> w.grad
    tensor(6.)
    """
    outputs = _as_tuple(tensors)
    grads = (None,) * len(outputs) if grad_tensors is None else _as_tuple(grad_tensors)
    retain = create_graph if retain_graph is None else retain_graph
    starts = _first_grads(outputs, grads)
    for out in outputs:
        if out._node is None:
            raise not_recorded()
    wanted = None
    if inputs is not None:
        wanted = _edges(_as_tuple(inputs), "backward")
    engine.run([(edge_of(o), g) for o, g in zip(outputs, starts)], create_graph, retain, wanted)


def _edges(inputs: Sequence[Tensor], name: str) -> list:
    if not inputs:
        raise RuntimeError(f"'inputs' argument to {name}() cannot be empty.")
    for t in inputs:
        if t._node is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    return [edge_of(t) for t in inputs]


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, allow_unused: bool | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple:
    """The gradients of ``outputs`` with respect to ``inputs``, as a tuple.

    >>> import flambeau as torch
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> torch.autograd.grad(x ** 3, x)
    (tensor(12.),)
    """
    outs, ins = _as_tuple(outputs), _as_tuple(inputs)
    grads = (None,) * len(outs) if grad_outputs is None else _as_tuple(grad_outputs)
    retain = create_graph if retain_graph is None else retain_graph
    starts = _first_grads(outs, grads)
    for out in outs:
        if out._node is None:
            raise not_recorded()
    found = engine.run([(edge_of(o), g) for o, g in zip(outs, starts)], create_graph, retain,
                       _edges(ins, "grad"), accumulate=False)
    if materialize_grads:
        found = [wrap(np.zeros(t._a.shape, t._a.dtype)) if g is None else g
                 for t, g in zip(ins, found)]
    elif not allow_unused and any(g is None for g in found):
        raise RuntimeError("One of the differentiated Tensors appears to not have been used in "
                           "the graph. Set allow_unused=True if this is the desired behavior.")
    return tuple(found)


def _backward_method(self: Tensor, gradient: Any = None, retain_graph: bool | None = None,
                     create_graph: bool = False, inputs: Any = None) -> None:
    """Add the gradients of this tensor to the ``.grad`` of the leaves it came from."""
    backward(self, gradient, retain_graph, create_graph, inputs)


show(_backward_method, "backward", "Tensor")
