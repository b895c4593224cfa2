"""Functions with a backward of the user's own."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from flambeau.autograd import function_levels as levels
from flambeau.autograd.function_node import BackwardCFunction, FunctionCtx, as_tuple
from flambeau.core.dispatch import apply, edge_of
from flambeau.core.inplace import bump, rebase
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF, Output
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor

__all__ = ["BackwardCFunction", "Function", "FunctionCtx", "FunctionMeta", "InplaceFunction",
           "once_differentiable"]


class FunctionMeta(type):
    """Makes, with each Function, the class of its nodes, named after it."""

    def __init__(cls, name: str, bases: tuple, attributes: dict) -> None:
        super().__init__(name, bases, attributes)
        cls._backward_cls = type(f"{name}Backward", (BackwardCFunction,), {
            "function": cls, "__module__": "flambeau.autograd.function"})


class Function(FunctionCtx, metaclass=FunctionMeta):
    """A function whose backward is written by hand; call it by ``apply``.

    ``forward`` takes ``ctx`` and the arguments, or the arguments alone where ``setup_context(ctx,
    inputs, output)`` is given. ``backward(ctx, *grads)`` returns a gradient per argument, None
    for those that have none. ``jvp(ctx, *tangents)`` serves forward mode; ``vmap(info, in_dims,
    *args)`` returns (outputs, out_dims), or ``generate_vmap_rule = True`` derives it.

    >>> import flambeau as torch
    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> Double.apply(torch.ones(1, requires_grad=True))
    tensor([2.], grad_fn=<DoubleBackward>)
    """

    generate_vmap_rule = False
    _backward_cls: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(f"{type(self)} should not be instantiated. Methods on autograd functions "
                      "are all static, so you should invoke them on the class itself. "
                      "Instantiating an autograd function will raise an error in a future version "
                      "of PyTorch.", DeprecationWarning, stacklevel=2)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method. (Example: "
            "https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)")

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result."""
        raise NotImplementedError("You must implement the forward function for custom "
                                  "autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Keep on ``ctx`` what ``backward`` needs."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments, given those of the outputs."""
        raise NotImplementedError("You must implement either the backward or vjp method for your "
                                  "custom autograd.Function to use it with backward mode AD.")

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """The tangents of the outputs, given those of the arguments."""
        raise NotImplementedError("You must implement the jvp function for custom "
                                  "autograd.Function to use it with forward mode AD.")

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *args: Any) -> Any:
        """The outputs over a batch, and their batch dimensions."""
        raise NotImplementedError("To use autograd.Function with vmap, you must either override "
                                  "the vmap staticmethod or set generate_vmap_rule=True.")

    @classmethod
    def backward_or_vjp(cls) -> Callable:
        """The one of the two that the class overrides."""
        own, alias = cls.backward is not Function.backward, cls.vjp is not Function.vjp
        if own and alias:
            raise RuntimeError("Implementing both 'backward' and 'vjp' for a custom Function is "
                               "not allowed. You should only implement one of them.")
        return cls.vjp if alias else cls.backward

    @classmethod
    def has_setup(cls) -> bool:
        """Whether ``setup_context`` is overridden."""
        return cls.setup_context is not Function.setup_context

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run ``forward`` and record one node for it."""
        if kwargs:
            args = _positional(cls, args, kwargs)
        if levels.level_among(args):
            return levels.apply(cls, args)
        return run(cls, args)[0]


def _positional(cls: type[Function], args: tuple, kwargs: dict) -> tuple:
    own = () if cls.has_setup() else (None,)
    bound = inspect.signature(cls.forward).bind(*own, *args, **kwargs)
    bound.apply_defaults()
    return bound.args[len(own):]


def forward_of(cls: type[Function], ctx: FunctionCtx, args: tuple) -> Any:
    """The result of ``forward``, with the context set up."""
    before = MODES.grad
    MODES.grad = False
    try:
        if not cls.has_setup():
            return cls.forward(ctx, *args)
        output = cls.forward(*args)
        cls.setup_context(ctx, args, output)
        return output
    finally:
        MODES.grad = before


def run(cls: type[Function], args: tuple) -> tuple[Any, FunctionCtx]:
    """Apply a Function to plain tensors: the outputs and the context."""
    ctx = FunctionCtx()
    edges = [edge_of(a) if isinstance(a, Tensor) else None for a in args]
    ctx.needs_input_grad = tuple([e is not None for e in edges])
    output = forward_of(cls, ctx, args)
    outputs = as_tuple(output)
    _check_dirty(ctx, args, outputs, edges)
    if MODES.grad and any(ctx.needs_input_grad):
        outputs = attach(cls, ctx, args, edges, outputs)
    return (outputs if isinstance(output, tuple) else outputs[0]), ctx


def _check_dirty(ctx: FunctionCtx, args: tuple, outputs: tuple, edges: list) -> None:
    for t in ctx._dirty:
        if not any(t is o for o in outputs):
            raise RuntimeError(
                "Some elements marked as dirty during the forward method were not returned as "
                "output. The inputs that are modified inplace must all be outputs of the "
                "Function.")
        if MODES.grad and t._node is LEAF:
            raise RuntimeError("a leaf Variable that requires grad has been used in an in-place "
                               "operation.")


def attach(cls: type[Function], ctx: FunctionCtx, args: tuple, edges: list,
           outputs: tuple) -> tuple:
    """Record the node; the outputs with their history."""
    node = cls._backward_cls(ctx, args, edges)
    found = []
    for nr, o in enumerate(outputs):
        if isinstance(o, Tensor):
            o = _with_history(cls, ctx, args, o, Output(node, nr))
        found.append(o)
    node.outputs = [(o._a.shape, o._a.dtype) if isinstance(o, Tensor) else None for o in found]
    if MODES.anomaly:
        node.remember_call()
    # What forward saved may be an output that stands in the graph by another tensor now.
    swapped = {id(old): new for old, new in zip(outputs, found)}
    ctx._to_save = tuple([_in_graph(ctx, swapped, args, t) for t in ctx._to_save])
    ctx.close(node, found)
    return tuple(found)


def _in_graph(ctx: FunctionCtx, swapped: dict, args: tuple, t: Any) -> Any:
    return t if any(t is a for a in args) else swapped.get(id(t), t)


def _with_history(cls: type[Function], ctx: FunctionCtx, args: tuple, o: Tensor,
                  edge: Output) -> Tensor:
    is_input = any(o is a for a in args)
    if any(o is t for t in ctx._fixed) or o._a.dtype.kind in "biu":
        return o.detach() if is_input and o._node is not None else o
    if any(o is t for t in ctx._dirty):
        bump(o)
        rebase(o, edge)
        return o
    if is_input or o._node is not None:
        o = _alias(o)
    meta = o._x
    if meta is not None and meta.base is not None:
        meta.made_without_grad = None
        meta.custom_view = cls.__name__
    o._node = edge
    return o


def _alias(o: Tensor) -> Tensor:
    before = MODES.grad
    MODES.grad = False
    try:
        return apply(OPS["alias"], (o,))
    finally:
        MODES.grad = before


class InplaceFunction(Function):
    """A Function that may be told, when made, to work in place."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


def once_differentiable(backward: Callable) -> Callable:
    """Declare a ``backward`` that cannot itself be differentiated."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *args: Any) -> Any:
        recorded = MODES.grad
        MODES.grad = False
        try:
            outputs = backward(ctx, *args)
        finally:
            MODES.grad = recorded
        if not recorded or not any(isinstance(a, Tensor) and a._node is not None for a in args):
            return outputs
        return _refusing(outputs)

    return wrapper


class _Refuse(Function):
    """Passes tensors on; its backward raises."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        return tuple([a.detach() for a in args])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with "
                           "@once_differentiable")


def _refusing(outputs: Any) -> Any:
    parts = as_tuple(outputs)
    at = [i for i, o in enumerate(parts) if isinstance(o, Tensor)]
    fresh = [parts[i].detach().requires_grad_() for i in at]
    marked = dict(zip(at, as_tuple(_Refuse.apply(*fresh))))
    found = tuple([marked.get(i, o) for i, o in enumerate(parts)])
    return found if isinstance(outputs, tuple) else found[0]


for _class in (FunctionCtx, BackwardCFunction):
    _class.__module__ = "flambeau.autograd.function"
