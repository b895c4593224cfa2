"""Products with, and whole, Jacobians and Hessians of functions, by ``autograd.grad``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.autograd import forward_ad
from flambeau.autograd.backward import grad
from flambeau.autograd.modes import enable_grad, set_grad_enabled
from flambeau.core.dispatch import apply
from flambeau.core.levels import LEVEL, Batched, standing
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor, wrap

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]


INDEPENDENT = (
    "While computing the hessian, found that the jacobian of the user-provided function with "
    "respect to input {} is independent of the input. This is not allowed in strict mode. You "
    "should ensure that your function is twice differentiable and that the jacobian depends on the "
    "inputs (this would be violated by a linear function for example).")


def _tuple_of(x: Any, where: str, function: str) -> tuple[bool, tuple]:
    """Whether ``x`` is a tuple, and the tensors in it."""
    is_tuple = isinstance(x, tuple)
    found = x if is_tuple else (x,)
    for i, t in enumerate(found):
        if not isinstance(t, Tensor):
            if is_tuple:
                raise TypeError(f"The {where} given to {function} must be either a Tensor or a "
                                f"tuple of Tensors but the value at index {i} has type {type(t)}.")
            raise TypeError(f"The {where} given to {function} must be either a Tensor or a tuple "
                            f"of Tensors but the given {where} has type {type(t)}.")
    return is_tuple, found


def _fresh(inputs: Sequence[Tensor], create_graph: bool) -> tuple:
    """Inputs to differentiate by; with ``create_graph`` their own history goes on."""
    if create_graph:
        return tuple([apply(OPS["alias"], (t,)) if t.requires_grad else
                      t.detach().requires_grad_() for t in inputs])
    return tuple([t.detach().requires_grad_() for t in inputs])


def _zeros(t: Tensor) -> Tensor:
    return wrap(np.zeros(t._a.shape, np.dtype(t._a.dtype.type)))


def _given(v: Any, like: Sequence[Tensor], is_tuple: bool, what: str = "v") -> tuple:
    if v is None:
        return tuple([wrap(np.ones(t._a.shape, t._a.dtype)) for t in like])
    _, found = _tuple_of(v, what, "")
    found = tuple([t.detach() if not t.requires_grad else t for t in found])
    if len(found) != len(like):
        if is_tuple:
            raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got "
                               f"{len(found)}.")
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (a, b) in enumerate(zip(found, like)):
        if a._a.shape != b._a.shape:
            lead = f"Entry {i} in " if is_tuple else ""
            raise RuntimeError(f"{lead}v has invalid size: should be {b.shape} but got {a.shape}.")
    return found


def _gradients(outputs: Sequence[Tensor], inputs: Sequence[Tensor], weights: Any = None,
               create_graph: bool = False) -> list:
    """Gradients of the outputs that have a history; None for inputs they do not depend on."""
    if weights is None:
        weights = [None] * len(outputs)
    pairs = [(o, w) for o, w in zip(outputs, weights) if o.requires_grad]
    if not pairs:
        return [None] * len(inputs)
    return list(grad([o for o, _ in pairs], inputs, [w for _, w in pairs], allow_unused=True,
                     create_graph=create_graph, retain_graph=True))


def _filled(grads: Sequence[Any], refs: Sequence[Tensor], strict: bool, create_graph: bool,
            stage: str) -> tuple:
    """Zeros where there is no gradient; with ``strict`` an error that says what is missing."""
    found = []
    for i, (g, ref) in enumerate(zip(grads, refs)):
        if g is None:
            if strict:
                raise RuntimeError(_missing(stage, i))
            g = _zeros(ref)
        elif strict and create_graph and not g.requires_grad:
            name = "jacobian" if "double" not in stage else "hessian"
            raise RuntimeError(f"The {name} of the user-provided function is independent of input "
                               f"{i}. This is not allowed in strict mode when create_graph=True.")
        found.append(g)
    return tuple(found)


def _missing(stage: str, i: int) -> str:
    if stage == "double_back":
        return INDEPENDENT.format(i)
    if stage == "double_back_trick":
        return ("The jacobian of the user-provided function with respect to input "
                f"{i} is independent of the other inputs. This is not allowed in strict mode.")
    return (f"The output of the user-provided function is independent of input {i}. This is not "
            "allowed in strict mode.")


def _check_outputs(outputs: Sequence[Tensor], strict: bool) -> None:
    for i, o in enumerate(outputs):
        if strict and not o.requires_grad:
            raise RuntimeError(f"Output {i} of the user-provided function does not require "
                               "gradients. The outputs must be computed in a differentiable "
                               "manner from the input when running in strict mode.")


def _result(found: Any, is_tuple: bool, create_graph: bool) -> Any:
    found = tuple(found) if create_graph else tuple([t.detach() for t in found])
    return found if is_tuple else found[0]


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple:
    """``func(*inputs)``, and ``v`` times its Jacobian.

    ``v`` has the shape of the output and may be left out for a scalar. ``strict`` refuses inputs
    that the output does not depend on, which else have gradients of zero.

    >>> import flambeau as torch
    >>> torch.autograd.functional.vjp(torch.square, torch.tensor(3.0))
    (tensor(9.), tensor(6.))
    """
    with enable_grad():
        is_tuple, inputs = _tuple_of(inputs, "inputs", "vjp")
        inputs = _fresh(inputs, create_graph)
        several, outputs = _tuple_of(func(*inputs), "outputs of the user-provided function", "vjp")
        _check_outputs(outputs, strict)
        _need_v(v, outputs, "The vector v can only be None if the user-provided function returns "
                            "a single Tensor with a single element.")
        v = _given(v, outputs, several)
    with set_grad_enabled(create_graph):
        grads = _filled(_gradients(outputs, inputs, v, create_graph), inputs, strict, create_graph,
                        "back")
    return _result(outputs, several, create_graph), _result(grads, is_tuple, create_graph)




def _need_v(v: Any, like: Sequence[Tensor], text: str) -> None:
    if v is None and (len(like) != 1 or like[0]._a.size != 1):
        raise RuntimeError(text)


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple:
    """``func(*inputs)``, and its Jacobian times ``v``, which has the shape of the inputs.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jvp(torch.square, torch.tensor(3.0), torch.tensor(2.0))
    (tensor(9.), tensor(12.))
    """
    with enable_grad():
        is_tuple, inputs = _tuple_of(inputs, "inputs", "jvp")
        _need_v(v, inputs, "The vector v can only be None if the input to the user-provided "
                           "function is a single Tensor with a single element.")
        v = _given(v, inputs, is_tuple)
        inputs = _fresh(inputs, create_graph)
        several, outputs = _tuple_of(func(*inputs), "outputs of the user-provided function", "jvp")
        _check_outputs(outputs, strict)
        # Backward is linear in its gradient; its own backward goes forward.
        seeds = tuple([_zeros(o).requires_grad_() for o in outputs])
        grads = _filled(_gradients(outputs, inputs, seeds, True), inputs, strict, create_graph,
                        "back")
        _check_outputs(grads, strict)
        along = _filled(_gradients(grads, seeds, v, create_graph), outputs, strict, create_graph,
                        "back_trick")
    return _result(outputs, several, create_graph), _result(along, several, create_graph)


def _scalar(outputs: Sequence[Tensor], several: bool, function: str) -> Tensor:
    if several or not isinstance(outputs[0], Tensor):
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if outputs[0]._a.size != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {function} should "
                           "contain a single element")
    return outputs[0]


def _first_order(func: Callable, inputs: Any, v: Any, create_graph: bool, strict: bool,
                 name: str) -> tuple:
    is_tuple, inputs = _tuple_of(inputs, "inputs", name)
    _need_v(v, inputs, "The vector v can only be None if the input to the user-provided function "
                       "is a single Tensor with a single element.")
    v = _given(v, inputs, is_tuple)
    inputs = _fresh(inputs, create_graph)
    several, outputs = _tuple_of(func(*inputs), "outputs of the user-provided function", name)
    _check_outputs(outputs, strict)
    out = _scalar(outputs, several, name)
    grads = _filled(_gradients([out], inputs, None, True), inputs, strict, create_graph, "jac")
    return is_tuple, inputs, v, outputs, several, grads


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple:
    """``func(*inputs)``, a scalar, and ``v`` times its Hessian.

    >>> import flambeau as torch
    >>> torch.autograd.functional.vhp(lambda x: x ** 3, torch.tensor(2.0), torch.tensor(1.0))
    (tensor(8.), tensor(12.))
    """
    with enable_grad():
        is_tuple, inputs, v, outputs, several, grads = _first_order(
            func, inputs, v, create_graph, strict, "vhp")
        found = _filled(_gradients(grads, inputs, v, create_graph), inputs, strict, create_graph,
                        "double_back")
    return _result(outputs, several, create_graph), _result(found, is_tuple, create_graph)


def hvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False,
        strict: bool = False) -> tuple:
    """``func(*inputs)``, a scalar, and its Hessian times ``v``.

    >>> import flambeau as torch
    >>> torch.autograd.functional.hvp(lambda x: x ** 3, torch.tensor(2.0), torch.tensor(1.0))
    (tensor(8.), tensor(12.))
    """
    with enable_grad():
        is_tuple, inputs, v, outputs, several, grads = _first_order(
            func, inputs, v, create_graph, strict, "hvp")
        seeds = tuple([_zeros(t).requires_grad_() for t in inputs])
        double = _filled(_gradients(grads, inputs, seeds, True), inputs, strict, create_graph,
                         "double_back")
        found = _filled(_gradients(double, seeds, v, create_graph), inputs, strict, create_graph,
                        "double_back_trick")
    return _result(outputs, several, create_graph), _result(found, is_tuple, create_graph)


def jacobian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False,
             vectorize: bool = False, strategy: str = "reverse-mode") -> Any:
    """The Jacobian of ``func`` at ``inputs``: the shape of the output, then of the input.

    For several inputs a tuple by input, for several outputs a tuple by output of those.
    ``vectorize`` computes all rows at once; ``strategy`` "forward-mode" needs it.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jacobian(torch.square, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode". '
                             'Hint: If your function has more outputs than inputs, "forward-mode" '
                             'tends to be more performant. Otherwise, prefer to use '
                             '"reverse-mode".')
    if strategy == "forward-mode":
        return _forward_jacobian(func, inputs, create_graph, strict, vectorize)
    if strict and vectorize:
        raise RuntimeError("torch.autograd.functional.jacobian: `strict=True` and "
                           "`vectorize=True` are not supported together. Please either set "
                           "`strict=False` or `vectorize=False`.")
    with enable_grad():
        is_tuple, inputs = _tuple_of(inputs, "inputs", "jacobian")
        inputs = _fresh(inputs, create_graph)
        several, outputs = _tuple_of(func(*inputs), "outputs of the user-provided function",
                                     "jacobian")
        _check_outputs(outputs, strict)
        rows = _all_rows if vectorize else _each_row
        found = [rows(o, i, inputs, create_graph, strict) for i, o in enumerate(outputs)]
    shaped = [_result(row, is_tuple, create_graph) for row in found]
    return tuple(shaped) if several else shaped[0]


def _each_row(out: Tensor, at: int, inputs: tuple, create_graph: bool, strict: bool) -> list:
    rows: list[list] = [[] for _ in inputs]
    for one in out.reshape(-1):
        grads = _gradients([one], inputs, None, create_graph)
        for i, (g, t) in enumerate(zip(grads, inputs)):
            if strict and g is None:
                raise RuntimeError(f"Output {at} of the user-provided function is independent of "
                                   f"input {i}. This is not allowed in strict mode.")
            if strict and create_graph and not g.requires_grad:
                raise RuntimeError("The jacobian of the user-provided function is independent of "
                                   f"input {i}. This is not allowed in strict mode when "
                                   "create_graph=True.")
            rows[i].append(_zeros(t) if g is None else g)
    return [_stack(r, out, t) for r, t in zip(rows, inputs)]


def _stack(rows: Sequence[Tensor], out: Tensor, t: Tensor) -> Tensor:
    shape = (*out._a.shape, *t._a.shape)
    if not rows:
        return wrap(np.zeros(shape, t._a.dtype))
    return apply(OPS["cat"], [r.unsqueeze(0) for r in rows], {"dim": 0}).reshape(shape)


def _all_rows(out: Tensor, at: int, inputs: tuple, create_graph: bool, strict: bool) -> list:
    n = out._a.size
    if not out.requires_grad:
        return [wrap(np.zeros((*out._a.shape, *t._a.shape), t._a.dtype)) for t in inputs]
    units = wrap(np.eye(n, dtype=out._a.dtype).reshape(n, *out._a.shape))
    grads = grad(out, inputs, units, retain_graph=True, create_graph=create_graph,
                 allow_unused=True, is_grads_batched=True)
    return [wrap(np.zeros((*out._a.shape, *t._a.shape), t._a.dtype)) if g is None
            else g.reshape((*out._a.shape, *t._a.shape)) for g, t in zip(grads, inputs)]


def _forward_jacobian(func: Callable, inputs: Any, create_graph: bool, strict: bool,
                      vectorize: bool) -> Any:
    if strict:
        raise NotImplementedError("torch.autograd.functional.jacobian: `strict=True` and "
                                  '`strategy="forward-mode"` are not supported together (yet). '
                                  'Please either set `strict=False` or `strategy="reverse-mode"`.')
    if not vectorize:
        raise NotImplementedError("Computing Jacobian using forward-AD or forward-over-reverse "
                                  "Hessian isonly implemented for `vectorize=True`.")
    if create_graph:
        raise NotImplementedError("torch.autograd.functional.jacobian: `create_graph=True` and "
                                  '`strategy="forward-mode"` are not supported together (yet). '
                                  "Please either set `create_graph=False` or "
                                  '`strategy="reverse-mode"`.')
    is_tuple, inputs = _tuple_of(inputs, "inputs", "jacobian")
    columns = [_columns(func, inputs, i) for i in range(len(inputs))]
    several = columns[0][0]
    found = []
    for at in range(len(columns[0][1])):
        own = [_place(c[1][at], t) for c, t in zip(columns, inputs)]
        found.append(_result(own, is_tuple, create_graph))
    return tuple(found) if several else found[0]


def _columns(func: Callable, inputs: tuple, at: int) -> tuple[bool, list]:
    """Per output its derivatives along all elements of input ``at``, at the front."""
    n = inputs[at]._a.size
    units = wrap(np.eye(n, dtype=inputs[at]._a.dtype).reshape(n, *inputs[at]._a.shape))
    with LEVEL as level, forward_ad.dual_level():
        along = standing(Batched(level, units, 0))
        given = [forward_ad.make_dual(t, along) if i == at else t for i, t in enumerate(inputs)]
        several, outputs = _tuple_of(func(*given), "outputs of the user-provided function",
                                     "jacobian")
        pairs = [forward_ad.unpack_dual(o) for o in outputs]
    return several, [_batch_first(p, t, level, n) for p, t in pairs]


def _batch_first(primal: Tensor, tangent: Tensor | None, level: int, n: int) -> Tensor:
    if tangent is None:
        return wrap(np.zeros((n, *primal._a.shape), np.dtype(primal._a.dtype.type)))
    handle = tangent._a
    if isinstance(handle, Batched) and handle.level == level:
        return handle.value.movedim(handle.dim, 0)
    return tangent.expand(n, *tangent._a.shape)


def _place(columns: Tensor, t: Tensor) -> Tensor:
    return columns.movedim(0, -1).reshape(*columns._a.shape[1:], *t._a.shape)


def hessian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False,
            vectorize: bool = False, outer_jacobian_strategy: str = "reverse-mode") -> Any:
    """The Hessian of ``func``, which returns a scalar, at ``inputs``; as ``jacobian`` of it.

    >>> import flambeau as torch
    >>> torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    is_tuple, inputs = _tuple_of(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError("Expected strategy to be either 'forward-mode' or 'reverse-mode'.")

    def single(*given: Tensor) -> Tensor:
        out = func(*given)
        several, outputs = _tuple_of(out, "outputs of the user-provided function", "hessian")
        _check_outputs(outputs, strict)
        if several:
            raise RuntimeError("The function given to hessian should return a single Tensor")
        if out._a.size != 1:
            raise RuntimeError("The Tensor returned by the function given to hessian should "
                               "contain a single element")
        return out.reshape(()) if out._a.ndim else out

    def slope(*given: Tensor) -> Any:
        found = jacobian(single, given, create_graph=True, strict=strict)
        return found

    if outer_jacobian_strategy == "forward-mode":
        # Forward mode over reverse: the inner gradients are taken of tensors with histories.
        inputs = tuple([t.detach().requires_grad_() for t in inputs])
    found = jacobian(slope, inputs, create_graph=create_graph, strict=strict,
                     vectorize=vectorize, strategy=outer_jacobian_strategy)
    return found if is_tuple else found[0][0]
