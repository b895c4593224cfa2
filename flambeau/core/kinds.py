"""The kinds of operators: each declares an operator and derives what its family shares."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flambeau.backends import reductions
from flambeau.core.derive import vjp_of
from flambeau.core.dispatch import apply
from flambeau.core.face import in_place_twin, show, with_out
from flambeau.core.op import Op
from flambeau.core.pointwise import apply_pointwise, binary_entry, short_entry, unary_entry

__all__ = ["bilinear", "composite", "linear", "opaque", "pointwise", "reduction",
           "underivable", "view"]

Formula = Callable[..., Any] | None


def pointwise(name: str, forward: Callable, grads: Sequence[Formula] = (), *,
              inputs: Sequence[str] = ("input",), params: Sequence[str] = (),
              result: str = "same", node: str | None = None, scalar: str | None = None,
              places: Sequence[str] | None = ("torch", "Tensor"), inplace: bool = True,
              aliases: Sequence[str] = (), quick: bool = False,
              refuses: Mapping[str, Any] | None = None, numbers: str = "any",
              jvp: Callable | None = None) -> Any:
    """Declare an elementwise operator; returns its public function.

    ``forward`` works on arrays of one dtype. ``grads`` has per input the gradient with respect
    to it: a function of ``g`` and of the names it needs, linear and elementwise in ``g`` (so it
    serves forward mode as well). ``result`` is the dtype rule: "same" (the promoted dtype),
    "float" (integers become the default dtype), "bool", "real" (complex gives its real part's
    dtype), "any" (what forward gives). A ufunc gets a short entry; so does, where ``quick``, a
    function that takes ``out`` as ufuncs do. ``refuses`` has what is raised for operands of the
    kinds "b" (bool), "i" (integer), "f", "c" (complex): an exception, or a kernel's name.
    ``numbers`` says which operands may be Python numbers: "any", "one" of two, the "second",
    "none".
    """
    op = Op(name, forward, inputs, kind="pointwise", formulas=grads, params=params, node=node,
            scalar=scalar, result=result, widen=True, jvp=jvp)
    op.numbers = numbers
    for kinds, error in (refuses or {}).items():
        op.refuses.update(dict.fromkeys(kinds, error))
    entry = _entry(op, forward, quick or isinstance(forward, np.ufunc))
    function = _named(entry, name, params, op)
    if places:
        face = with_out(function)
        face.op = function.op = op  # type: ignore[attr-defined]
        for spelled in (name, *aliases):
            show(face, spelled, *[p for p in places if p != "Tensor"])
            if "Tensor" in places:
                show(function, spelled, "Tensor")
                if inplace:
                    twin = in_place_twin(function, spelled)
                    show(twin, f"{spelled}_", "Tensor")
                    if len(op.inputs) == 1 and "torch" in places and not params:
                        show(twin, f"{spelled}_", "torch")
        return face
    function.op = op  # type: ignore[attr-defined]
    return function


def _entry(op: Op, forward: Callable, quick: bool) -> Callable:
    if quick and not op.params:
        if len(op.inputs) == 1:
            return unary_entry(op, forward)
        if len(op.inputs) == 2:
            return binary_entry(op, forward)
    return general_entry(op, short_entry(op, forward) if quick else None)


def general_entry(op: Op, short: Callable | None = None) -> Callable:
    """The entry that binds operands and parameters by name."""
    names, count = op.inputs, len(op.inputs)
    params = op.params
    run = short or functools.partial(apply_pointwise, op)

    def entry(*args: Any, **kwargs: Any) -> Any:
        operands = list(args[:count])
        for n in names[len(operands):]:
            if n not in kwargs:
                raise TypeError(f"{op.name}() missing 1 required positional arguments: \"{n}\"")
            operands.append(kwargs.pop(n))
        for n, v in zip(params, args[count:]):
            kwargs[n] = v
        return run(operands, kwargs)

    return entry


def _named(entry: Callable, name: str, params: Sequence[str], op: Op) -> Callable:
    entry.__name__ = entry.__qualname__ = name
    return entry


def linear(name: str, forward: Callable, transpose: Formula, *, params: Sequence[str] = (),
           inputs: Sequence[str] = ("input",), batch: Callable | None = None,
           node: str | None = None, widen: bool = False) -> Op:
    """Declare an operator linear in its first input; ``transpose(g, ...)`` is its adjoint.

    Forward mode applies the operator itself to the tangent. Further inputs (indices, masks) get
    no gradient.
    """
    formulas = (transpose, *(None,) * (len(inputs) - 1))
    return Op(name, forward, inputs, kind="linear", formulas=formulas,
              params=params, batch=batch, node=node, widen=widen)


def view(name: str, forward: Callable, transpose: Formula, *, params: Sequence[str] = (),
         batch: Callable | None = None, node: str | None = None, multiple: bool = False) -> Op:
    """Declare a linear operator whose result shares the memory of its input."""
    formulas = () if multiple else (transpose,)
    return Op(name, forward, ("input",), kind="view", formulas=formulas,
              joint=transpose if multiple else None, params=params, batch=batch, node=node,
              view=True, multiple=multiple)


def bilinear(name: str, forward: Callable, left: Formula, right: Formula, *,
             inputs: Sequence[str] = ("input", "other"), params: Sequence[str] = (),
             batch: Callable | None = None, node: str | None = None, widen: bool = True) -> Op:
    """Declare an operator linear in each of two inputs, with the gradient of each."""
    return Op(name, forward, inputs, kind="bilinear", formulas=(left, right), params=params,
              batch=batch, node=node, widen=widen)


def reduction(name: str, forward: Callable, grad: Formula, *, inputs: Sequence[str] = ("input",),
              params: Sequence[str] = ("dims", "keepdim"), node: str | None = None,
              multiple: bool = False, widen: bool = True, jvp: Callable | None = None,
              batch: Callable | None = None, program: str | None = None) -> Op:
    """Declare an operator that reduces dimensions: ``forward(array, dims, keepdim, ...)``.

    ``dims`` is a tuple of dimensions counted from the front. With ``multiple`` the formula gets
    a gradient per output. ``program`` names the reduction of ``backends.reductions`` that computes
    it, for what it is given of half types.
    """
    formulas = () if multiple else (grad,)
    op = Op(name, forward, inputs, kind="reduction", formulas=formulas,
            joint=grad if multiple else None, params=params, node=node, multiple=multiple,
            widen=widen, jvp=jvp, batch=batch)
    op.in_rows = True
    if program is not None:
        op.halves = functools.partial(_by_kernel, program)
    return op


def _by_kernel(program: str, a: Any, dims: tuple[int, ...] | None = None, keepdim: bool = False,
               dtype: Any = None) -> Any:
    """A reduction of a large array by kernels; None where there is none."""
    return None if dtype is not None else reductions.reduce(program, a, dims, keepdim)


def opaque(name: str, forward: Callable, *, inputs: Sequence[str] = ("input",),
           grads: Sequence[Formula] = (), joint: Formula = None, params: Sequence[str] = (),
           node: str | None = None, multiple: bool = False, variadic: bool = False,
           widen: bool = False, jvp: Callable | None = None,
           batch: Callable | None = None) -> Op:
    """Declare an operator that belongs to no family, with whatever rules it has.

    Without a ``batch`` rule vmap runs it once per element of the batch.
    """
    return Op(name, forward, inputs, kind="opaque", formulas=grads, joint=joint, params=params,
              node=node, multiple=multiple, variadic=variadic, widen=widen, jvp=jvp, batch=batch)


def underivable(declare: Callable[..., Op], name: str, forward: Callable, aten: str,
                **rules: Any) -> Op:
    """Declare, by ``declare``, an operator that PyTorch has no derivative of: backward says so."""

    def refuse(g: Any) -> Any:
        raise RuntimeError(f"derivative for aten::{aten} is not implemented")

    op = declare(name, forward, joint=refuse, **rules)
    op.node_name = "NotImplemented"
    return op


def composite(name: str, compose: Callable, forward: Callable, *, inputs: Sequence[str],
              grads: Sequence[Formula] = (), joint: Formula = None, params: Sequence[str] = (),
              node: str | None = None, multiple: bool = False, widen: bool = True) -> Op:
    """Declare an operator that is a Python function of others, ``compose(*tensors, **params)``.

    ``forward`` computes the same on arrays in one go. Forward mode and batching run ``compose``;
    so does backward where neither ``grads`` nor ``joint`` is given.
    """
    if not grads and joint is None:
        joint = _derived(compose, tuple(inputs), tuple(params), multiple)
    op = Op(name, forward, inputs, kind="composite", formulas=grads, joint=joint, params=params,
            node=node, multiple=multiple, widen=widen, compose=compose)
    op.as_operands = hasattr(forward, "formula")  # which is elementwise
    return op


def _derived(compose: Callable, inputs: tuple, params: tuple, multiple: bool) -> Callable:
    """The gradient of ``compose``, by running it again on the saved inputs."""
    count = len(inputs)

    def joint(g: Any, needs: tuple, *values: Any) -> list:
        tensors, settings = values[:count], dict(zip(params, values[count:]))
        return vjp_of(lambda *ts: compose(*ts, **settings), tensors, needs, g, multiple)

    joint.names = ("needs", *inputs, *params)  # type: ignore[attr-defined]
    return joint


__all__ += ["apply", "apply_pointwise", "general_entry"]
