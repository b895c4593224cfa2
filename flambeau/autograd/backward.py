"""Asking for gradients: ``backward`` and ``grad``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.autograd.graph import GradientEdge, inner_edge
from flambeau.autograd.hooks import retain_grad
from flambeau.base.errors import told
from flambeau.base.settings import warn_once
from flambeau.core import engine
from flambeau.core.dispatch import edge_of
from flambeau.core.face import show
from flambeau.core.levels import LEVEL, Batched, standing
from flambeau.core.node import LEAF, Node
from flambeau.core.tensor import Tensor, wrap

__all__ = ["backward", "grad"]

CYCLE = ("Using backward() with create_graph=True will create a reference cycle between the "
         "parameter and its gradient which can cause a memory leak. We recommend using "
         "autograd.grad when creating the graph to avoid this. If you have to use this function, "
         "make sure to reset the .grad fields of your parameters to None after use to break the "
         "cycle and avoid the leak.")


def _as_tuple(x: Any) -> tuple:
    if isinstance(x, (Tensor, GradientEdge)) or x is None:
        return (x,)
    return tuple(x)


def _edge(x: Any) -> Any:
    return inner_edge(x) if isinstance(x, GradientEdge) else edge_of(x)


def _shape_and_dtype(out: Any) -> tuple:
    if isinstance(out, GradientEdge):
        node = out.node
        if node.outputs is not None:
            return node.outputs[out.output_nr]
        return node.shape, node.dtype
    return out._a.shape, out._a.dtype


def _first_grads(outputs: Sequence[Any], grads: Sequence[Any], batched: bool) -> list[Tensor]:
    """The gradient to start from at each output: the one given, or one for a scalar."""
    if len(grads) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(grads)} gradients")
    found = []
    for i, (out, g) in enumerate(zip(outputs, grads)):
        if g is None:
            found.append(_one(i, out))
            continue
        if not isinstance(g, Tensor):
            raise TypeError(f"gradients can be either Tensors or None, but got "
                            f"{type(g).__name__}")
        _check_match(i, out, g, batched)
        found.append(g)
    return found


def _check_match(i: int, out: Any, g: Tensor, batched: bool) -> None:
    shape, held = _shape_and_dtype(out)
    given = g.shape[1:] if batched else g.shape
    if tuple(given) != tuple(shape):
        shown = given[1:] if batched else given  # PyTorch leaves out one dimension more
        text = (f"grad_output[{i}] has a shape of {type(g.shape)(shown)} and output[{i}] has a "
                f"shape of {type(g.shape)(shape)}.")
        if batched:
            raise RuntimeError(
                "If `is_grads_batched=True`, we interpret the first dimension of each grad_output "
                "as the batch dimension. The sizes of the remaining dimensions are expected to "
                "match the shape of corresponding output, but a mismatch was detected: "
                f"{text} If you only want some tensors in `grad_output` to be considered batched, "
                "consider using vmap.")
        raise RuntimeError(f"Mismatch in shape: {text}")
    if (held.kind == "c") != g.dtype.is_complex:
        own = wrap(np.empty(0, held)).dtype
        raise RuntimeError("For complex Tensors, both grad_output and output are required to "
                           f"have the same dtype. Mismatch in dtype: grad_output[{i}] has a "
                           f"dtype of {g.dtype} and output[{i}] has a dtype of {own}.")


def _one(i: int, out: Any) -> Tensor:
    shape, held = _shape_and_dtype(out)
    if not isinstance(out, GradientEdge) and out._node is None:
        raise not_recorded(i)
    if prod(shape) != 1:
        raise RuntimeError(told("grad can be implicitly created only for scalar outputs",
                                "not_scalar", (out,), shape=list(shape)))
    if held.kind == "c":
        own = wrap(np.empty(0, held)).dtype
        raise RuntimeError("grad can be implicitly created only for real scalar outputs but got "
                           f"{own}")
    return wrap(np.ones(shape, np.dtype(held.type)))


def not_recorded(i: int = 0) -> RuntimeError:
    """The error for a tensor that has no history to go back through."""
    return RuntimeError(told(f"element {i} of tensors does not require grad and does not have a "
                             "grad_fn", "not_recorded"))


def _roots(outputs: Sequence[Any], starts: Sequence[Tensor]) -> list:
    for i, out in enumerate(outputs):
        if not isinstance(out, GradientEdge) and out._node is None:
            raise not_recorded(i)
    return [(_edge(out), g) for out, g in zip(outputs, starts)]


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None,
             create_graph: bool = False, grad_variables: Any = None, inputs: Any = None) -> None:
    """Add the gradients of ``tensors`` to the ``.grad`` of the leaves they came from.

    ``tensors`` and ``inputs`` may be gradient edges. With ``inputs`` only those gather
    gradients. RuntimeError where a tensor has no history, or is no scalar and has no gradient
    in ``grad_tensors``.

    >>> import flambeau as torch
    >>> w = torch.tensor(3.0, requires_grad=True)
    >>> torch.autograd.backward(w * w)
    >>> w.grad
    tensor(6.)
    """
    if LEVEL.depth:
        raise RuntimeError("backward() called inside a functorch transform. This is not "
                           "supported, please use functorch.grad or functorch.vjp instead or call "
                           "backward() outside of functorch transforms.")
    if grad_variables is not None:
        grad_tensors = _renamed(grad_tensors, grad_variables)
    wanted = None
    if inputs is not None:
        wanted = _wanted(inputs)
    outputs = _as_tuple(tensors)
    grads = (None,) * len(outputs) if grad_tensors is None else _as_tuple(grad_tensors)
    if len(grads) == 1 and grads[0] is None:
        grads = (None,) * len(outputs)
    retain = create_graph if retain_graph is None else retain_graph
    if create_graph:
        warn_once(CYCLE, 4)
    roots = _roots(outputs, _first_grads(outputs, grads, False))
    engine.run(roots, create_graph, retain, wanted)


def _renamed(grad_tensors: Any, grad_variables: Any) -> Any:
    warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning,
                  stacklevel=3)
    if grad_tensors is not None:
        raise RuntimeError("`grad_tensors` and `grad_variables` (deprecated) arguments both passed"
                           " to `backward()`. Please only use `grad_tensors`.")
    return grad_variables


def _wanted(inputs: Any) -> list:
    ins = _as_tuple(inputs)
    if not ins:
        raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    for t in ins:
        if isinstance(t, Tensor) and t._node is not LEAF:
            retain_grad(t)
    return [_edge(t) for t in ins]


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, allow_unused: bool | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple:
    """The gradients of ``outputs`` with respect to ``inputs``, as a tuple.

    ``is_grads_batched`` says that each of ``grad_outputs`` holds a batch of gradients along its
    first dimension; so do the results then. RuntimeError where an input was not used, unless
    ``allow_unused`` (then its gradient is None) or ``materialize_grads`` (then zeros).

    >>> import flambeau as torch
    >>> x = torch.tensor(2.0, requires_grad=True)
    >>> torch.autograd.grad(x ** 3, x)
    (tensor(12.),)
    """
    if materialize_grads and allow_unused is False:
        raise ValueError("Expected allow_unused to be True or not passed when "
                         f"materialize_grads=True, but got: allow_unused={allow_unused}.")
    outs, ins = _as_tuple(outputs), _as_tuple(inputs)
    if not ins:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    grads = (None,) * len(outs) if grad_outputs is None else _as_tuple(grad_outputs)
    retain = create_graph if retain_graph is None else retain_graph
    roots = _roots(outs, _first_grads(outs, grads, is_grads_batched))
    for t in ins:
        if isinstance(t, Tensor) and t._node is None:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    wanted = [_edge(t) for t in ins]
    if is_grads_batched:
        found = _run_batched(roots, create_graph, retain, wanted)
    else:
        found = engine.run(roots, create_graph, retain, wanted, accumulate=False)
    if materialize_grads:
        return tuple([_zeros(t) if g is None else g for t, g in zip(ins, found)])
    if not allow_unused:
        for i, g in enumerate(found):
            if g is None:
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} appears to not have been used in the "
                    "graph. Set allow_unused=True if this is the desired behavior.")
    return tuple(found)


def _zeros(t: Tensor) -> Tensor:
    return wrap(np.zeros(t._a.shape, t.dtype.np))


def _run_batched(roots: list, create_graph: bool, retain: bool, wanted: list) -> list:
    """The engine on all gradients of a batch at once."""
    with LEVEL as level:
        starts = [(edge, standing(Batched(level, g, 0))) for edge, g in roots]
        found = engine.run(starts, create_graph, retain, wanted, accumulate=False)
    size = roots[0][1]._a.shape[0]
    return [None if g is None else _unbatched(g, level, size) for g in found]


def _unbatched(g: Tensor, level: int, size: int) -> Tensor:
    handle = g._a
    if isinstance(handle, Batched) and handle.level == level:
        return handle.value.movedim(handle.dim, 0)
    return g.expand((size, *g._a.shape))


def _backward_method(self: Tensor, gradient: Any = None, retain_graph: bool | None = None,
                     create_graph: bool = False, inputs: Any = None) -> None:
    """Add the gradients of this tensor to the ``.grad`` of the leaves it came from."""
    if gradient is None and inputs is None and not create_graph and not LEVEL.depth:
        a, node = self._a, self._node
        if isinstance(node, Node) and a.size == 1 and a.dtype.kind == "f":
            one = np.empty(a.shape, a.dtype)
            one.fill(1)
            engine.run(((node, wrap(one)),), False, bool(retain_graph))
            return
    backward(self, gradient, retain_graph, create_graph, inputs=inputs)


show(_backward_method, "backward", "Tensor")
