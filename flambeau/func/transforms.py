"""``grad``, ``vjp``, ``jvp`` and ``linearize`` of functions of tensors, to any order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.base import dtypes
from flambeau.base.pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten
from flambeau.core import engine
from flambeau.core.dispatch import edge_of
from flambeau.core.levels import LEVEL, Dual, Tracked, lower, standing
from flambeau.core.modes import MODES
from flambeau.core.node import LEAF
from flambeau.core.tensor import Tensor, wrap

__all__ = ["chosen", "grad", "grad_and_value", "jvp", "linearize", "vjp"]


def zeros_like(t: Tensor) -> Tensor:
    """Plain zeros of the shape and dtype of ``t``."""
    return wrap(np.zeros(t._a.shape, np.dtype(t._a.dtype.type)))


class Recording:
    """A level of transform in which histories are kept; knows whether they were kept outside."""

    def __enter__(self) -> Recording:
        self.level = LEVEL.__enter__()
        self.outer = MODES.grad
        MODES.grad = True
        return self

    def __exit__(self, *exc: object) -> None:
        MODES.grad = self.outer
        LEVEL.__exit__(*exc)

    def tracked(self, tree: Any, differentiate: bool) -> Any:
        """The tensors of ``tree`` as tensors of this level."""
        return tree_map(lambda x: self._track(x, differentiate), tree)

    def _track(self, x: Any, differentiate: bool) -> Any:
        if not isinstance(x, Tensor):
            if differentiate:
                raise ValueError("Thing passed to transform API must be Tensor, got "
                                 f"{type(x)}")
            return x
        if differentiate and x.dtype.category < dtypes.FLOAT:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        t = standing(Tracked(self.level, x))
        if differentiate:
            t._node = LEAF
        return t

    def inside(self, t: Any) -> Any:
        """What ``t`` is outside this level."""
        found = lower(t, self.level)
        return found if self.outer or found._node is None else found.detach()


def chosen(args: tuple, argnums: Any) -> tuple[int, ...]:
    """The positions that ``argnums`` names, counted from the front."""
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if isinstance(argnums, tuple):
        if not argnums:
            raise RuntimeError("argnums must be non-empty")
        if not all(isinstance(n, int) for n in argnums):
            raise RuntimeError(f"argnums elements must be of type int, got {argnums}")
    found = []
    for n in (argnums,) if isinstance(argnums, int) else argnums:
        if not -len(args) <= n < len(args):
            raise RuntimeError(f"Got argnum={n}, but only {len(args)} positional inputs")
        found.append(n % len(args))
    if len(set(found)) != len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return tuple(found)


def _scalar_output(output: Any, has_aux: bool) -> tuple[Tensor, Any]:
    aux = None
    if has_aux:
        if not (isinstance(output, tuple) and len(output) == 2):
            raise RuntimeError("grad_and_value(f)(*args): output of function f should be a tuple: "
                               "(output, aux) if has_aux is True")
        output, aux = output
    if not isinstance(output, Tensor):
        raise RuntimeError("grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got "
                           f"{type(output)}")
    if output._a.ndim:
        raise RuntimeError("grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor,"
                           f" got tensor with {output._a.ndim} dims. Maybe you wanted to use the "
                           "vjp or jacrev APIs instead?")
    return output, aux


def _aux_inside(level: Recording, aux: Any) -> Any:
    def one(x: Any) -> Any:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"Expected tensors, got unsupported type {type(x)}")
        return level.inside(x)

    return tree_map(one, aux)


def grad_and_value(func: Callable, argnums: int | tuple[int, ...] = 0,
                   has_aux: bool = False) -> Callable:
    """A function that returns the gradient of ``func`` and its value.

    ``func`` returns a scalar tensor, or with ``has_aux`` a pair (scalar, aux); then the value is
    such a pair. The gradient has the nesting of the argument(s) ``argnums``.

    >>> import flambeau as torch
    >>> torch.func.grad_and_value(lambda x: x ** 3)(torch.tensor(2.0))
    (tensor(12.), tensor(8.))
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        places = chosen(args, argnums)
        with Recording() as level:
            given = [level.tracked(a, i in places) for i, a in enumerate(args)]
            output = func(*given, **level.tracked(kwargs, False))
            value, aux = _scalar_output(output, has_aux)
            wanted = [given[i] for i in places]
            found = gradients(level, [value], [_one(value)], wanted)
            grads = found[0] if isinstance(argnums, int) else tuple(found)
            value = level.inside(value)
            return grads, (value, _aux_inside(level, aux)) if has_aux else value

    return wrapper


def _one(value: Tensor) -> Tensor:
    return wrap(np.ones((), np.dtype(value._a.dtype.type)))


def gradients(level: Recording, outputs: Sequence[Tensor], starts: Sequence[Any],
              wanted: Sequence[Any], create_graph: bool | None = None) -> list:
    """The gradients for the trees of tracked tensors ``wanted``, zeros where there are none."""
    flat = [tree_flatten(tree) for tree in wanted]
    leaves = [t for found, _ in flat for t in found]
    roots = [(edge_of(o), g) for o, g in zip(outputs, starts) if o._node is not None]
    record = level.outer if create_graph is None else create_graph
    found = engine.run(roots, record, True, leaves, accumulate=False)
    filled = iter([zeros_like(t) if g is None else g for t, g in zip(leaves, found)])
    return [tree_unflatten([next(filled) for _ in ts], spec) for ts, spec in flat]


def grad(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of ``func``, which returns a scalar tensor.

    With ``has_aux``, ``func`` returns (scalar, aux) and the function (gradient, aux).

    >>> import flambeau as torch
    >>> torch.func.grad(torch.func.grad(lambda x: x ** 3))(torch.tensor(2.0))
    tensor(12.)
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapper


def _split_aux(name: str, output: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{name}: output of function f should be a tuple: (output, aux) if "
                           "has_aux is True")
    return output


def _need_tensors(name: str, output: Any) -> None:
    if not isinstance(output, (Tensor, tuple, list, dict)):
        raise RuntimeError(f"{name}: expected f(*primals) to return only tensors, got unsupported "
                           f"type {type(output)}")
    for x in tree_flatten(output)[0]:
        if not isinstance(x, Tensor):
            raise RuntimeError(f"{name}: expected f(*primals) to return only tensors, got "
                               f"unsupported type {type(x)}")


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """``func(*primals)``, and the function from its gradient to those of ``primals``, a tuple.

    With ``has_aux``, ``func`` returns (output, aux) and ``vjp`` (output, function, aux).

    >>> import flambeau as torch
    >>> out, back = torch.func.vjp(torch.sin, torch.tensor(0.0))
    >>> back(torch.tensor(2.0))
    (tensor(2.),)
    """
    name = "vjp(f, *primals)"
    with Recording() as level:
        given = level.tracked(primals, True)
        output, aux = _split_aux(name, func(*given), has_aux)
        _need_tensors(name, output)
        outputs, spec = tree_flatten(output)
        result = tree_map(level.inside, output)
        if has_aux:
            aux = _aux_inside(level, aux)

    def back(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        starts, given_spec = tree_flatten(cotangents)
        if given_spec != spec:
            raise RuntimeError("Expected pytree structure of cotangents to be the same as pytree "
                               "structure of outputs to the function. cotangents: "
                               f"{_short(given_spec)}, primal output: {_short(spec)}")
        for i, (o, g) in enumerate(zip(outputs, starts)):
            if o._a.shape != g._a.shape:
                raise RuntimeError(f"Mismatch in shape: grad_output[{i}] has a shape of {g.shape} "
                                   f"and output[{i}] has a shape of {o.shape}.")
        record = MODES.grad if create_graph is None else create_graph
        return gradients(level, outputs, starts, [given], record)[0]

    return (result, back, aux) if has_aux else (result, back)


def _short(spec: TreeSpec) -> str:
    if spec.is_leaf():
        return "*"
    return str(tree_unflatten(["*"] * spec.num_leaves, spec)).replace("'", "")


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False,
        has_aux: bool = False) -> tuple:
    """``func(*primals)`` and its derivative along ``tangents``.

    With ``strict`` an output that does not depend on the inputs is an error; else its derivative
    is zero. With ``has_aux``, ``func`` returns (output, aux), and aux comes third.

    >>> import flambeau as torch
    >>> torch.func.jvp(torch.sin, (torch.tensor(0.0),), (torch.tensor(3.0),))
    (tensor(0.), tensor(3.))
    """
    name = "jvp(f, primals, tangents)"
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{name}: Expected primals to be a tuple. E.g. it should be valid to "
                           "call f(*primals).")
    flat, spec = tree_flatten(primals)
    along, along_spec = tree_flatten(tangents)
    if spec != along_spec:
        raise RuntimeError(f"{name}: Expected primals and tangents to have the same python "
                           "structure. For example, if primals is a tuple of 3 tensors, tangents "
                           f"also must be. Got primals with structure {spec} and tangents with "
                           f"structure {along_spec}")
    for which, leaves in (("primals", flat), ("tangents", along)):
        for x in leaves:
            if not isinstance(x, Tensor):
                raise RuntimeError(f"{name}: Expected {which} to be a tensor, got {type(x)}")
        if not leaves:
            raise RuntimeError(f"{name}: Expected {which} to contain at least one Tensor.")
    with LEVEL as level:
        duals = [make_dual(level, p, t) for p, t in zip(flat, along)]
        output, aux = _split_aux(name, func(*tree_unflatten(duals, spec)), has_aux)
        _need_tensors(name, output)
        found, out_spec = tree_flatten(output)
        pairs = [_split_dual(t, level, strict) for t in found]
        aux = tree_map(lambda x: lower(x, level), aux)
    value = tree_unflatten([p for p, _ in pairs], out_spec)
    tangent = tree_unflatten([t for _, t in pairs], out_spec)
    return (value, tangent, aux) if has_aux else (value, tangent)


def check_tangent(primal: Tensor, tangent: Tensor) -> None:
    """Raise where ``tangent`` cannot be a tangent of ``primal``."""
    if primal.dtype.category < dtypes.FLOAT:
        raise ValueError("Expected primal to be floating point or complex, but got: "
                         f"{primal.dtype}")
    if tangent.dtype.category < dtypes.FLOAT:
        raise ValueError("Expected tangent to be floating point or complex, but got: "
                         f"{tangent.dtype}")
    if primal._a.shape != tangent._a.shape:
        raise RuntimeError("Trying to set a forward gradient that has a different size than that "
                           "of the original Tensor, this is not supported. Tensor is of size "
                           f"{list(primal._a.shape)} while the given forward gradient is of size "
                           f"{list(tangent._a.shape)}.")


def make_dual(level: int, primal: Tensor, tangent: Tensor) -> Tensor:
    """``primal`` with its tangent, as a tensor of the transform ``level``."""
    check_tangent(primal, tangent)
    return standing(Dual(level, primal, tangent))


def _split_dual(t: Tensor, level: int, strict: bool) -> tuple[Tensor, Tensor]:
    handle = t._a
    if isinstance(handle, Dual) and handle.level == level:
        return handle.value, handle.tangent
    if strict:
        raise RuntimeError("jvp(f, primals, tangents, strict=True): The output of f is "
                           "independent of the inputs. This is not allowed with strict=True.")
    return t, zeros_like(t)


def linearize(func: Callable, *primals: Any) -> tuple:
    """``func(*primals)``, and the function from tangents of ``primals`` to that of the output.

    ``func`` runs once; the function may be called many times.

    >>> import flambeau as torch
    >>> out, along = torch.func.linearize(torch.square, torch.tensor(3.0))
    >>> out, along(torch.tensor(2.0))
    (tensor(9.), tensor(12.))
    """
    output, back = vjp(func, *primals)
    shapes, spec = tree_flatten(primals)
    zero = tree_map(zeros_like, output)
    # Backward is linear in its gradient; its own backward is the derivative forward.
    _, forward = vjp(lambda u: back(u, create_graph=True), zero)

    def along(*tangents: Any) -> Any:
        flat, given = tree_flatten(tangents)
        if given != spec:
            raise RuntimeError(f"tangents with structure {given} do not match the structure "
                               f"{spec} of the primals.")
        for i, (t, p) in enumerate(zip(flat, shapes)):
            if t._a.shape != p._a.shape:
                raise RuntimeError(f"tangent:{i} with shape {t.shape} in flattened pytree doesn't "
                                   f"match the shape {p.shape} of the corresponding primal.")
        return forward(tangents)[0]

    return output, along
