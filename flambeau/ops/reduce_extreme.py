"""Greatest and smallest elements, and where they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.backends import axis_kernels, reductions
from flambeau.backends.numpy.flat import flat_positions, take_along
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import wrap_dim
from flambeau.core import return_types
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES, public
from flambeau.core.kinds import opaque, reduction
from flambeau.core.levels import front
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.pick import pick, spill_reduced
from flambeau.ops.reduce import LARGE, dims_of, unreduced

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)


def shared_grad(g: Tensor, input: Tensor, out: Tensor, dims: tuple[int, ...],
            keepdim: bool) -> Tensor:
    """``g`` in equal parts for all elements that equal the extreme one."""
    shape = input._a.shape
    where = input.detach().eq(unreduced(out.detach(), shape, dims, keepdim))
    if not dims:
        return g * where
    share = where.sum(dims, True)
    return unreduced(g, shape, dims, keepdim) * where / share


def _extreme_forward(name: str, ufunc: np.ufunc) -> Callable:
    reduce = ufunc.reduce

    def forward(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
        if a.size >= LARGE and a.dtype.kind in "fiu":
            found = reductions.reduce(name, a, dims, keepdim)
            if found is not None:
                return found
        return reduce(a, axis=dims, keepdims=keepdim, out=...)

    return forward


_amax_forward = _extreme_forward("max", np.maximum)
_amin_forward = _extreme_forward("min", np.minimum)
AMAX = reduction("amax", _amax_forward, shared_grad, program="max")
AMIN = reduction("amin", _amin_forward, shared_grad, program="min")
MAX_ALL = reduction("max_all", _amax_forward, shared_grad, program="max")
MIN_ALL = reduction("min_all", _amin_forward, shared_grad, program="min")
MAX_ALL.node_type.__name__ = "MaxBackward1"
MIN_ALL.node_type.__name__ = "MinBackward1"


def _check_extreme(name: str, a: Any, dims: tuple[int, ...], whole: bool, kernel: str) -> None:
    if not a.size:
        if whole:
            raise RuntimeError(f"{name}(): Expected reduction dim to be specified for "
                               "input.numel() == 0. Specify the reduction dim with the 'dim' "
                               "argument.")
        check_nonempty(name, a, dims)
    if a.dtype.kind == "c":
        raise NotImplementedError(f"\"{kernel}\" not implemented for "
                                  f"'{FROM_NUMPY[a.dtype].title}'")


def check_nonempty(name: str, a: Any, dims: tuple[int, ...]) -> None:
    """Raise where a dimension to be reduced has no elements to choose from."""
    for d in dims:
        if a.shape and not a.shape[d]:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size.")


@public("torch", "Tensor", out=True)
def amax(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The greatest element over ``dim``; ties share the gradient."""
    dims = dims_of(dim, input._a.ndim)
    _check_extreme("amax", input._a, dims, dim == (), "max_values_cpu")
    return apply(AMAX, (input,), {"dims": dims, "keepdim": keepdim})


@public("torch", "Tensor", out=True)
def amin(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The smallest element over ``dim``; ties share the gradient."""
    dims = dims_of(dim, input._a.ndim)
    _check_extreme("amin", input._a, dims, dim == (), "min_values_cpu")
    return apply(AMIN, (input,), {"dims": dims, "keepdim": keepdim})


def _aminmax_grad(g: Any, input: Tensor, out: Any, dims: tuple[int, ...], keepdim: bool) -> list:
    low, high = (shared_grad(gi, input, o, dims, keepdim) for gi, o in zip(g, out))
    return [low + high]


def _aminmax_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> tuple:
    return _amin_forward(a, dims, keepdim), _amax_forward(a, dims, keepdim)


AMINMAX = reduction("aminmax", _aminmax_forward, _aminmax_grad, multiple=True)


@public("torch", "Tensor", out=True)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> Any:
    """The smallest and the greatest element over ``dim``."""
    a = input._a
    dims = dims_of(dim, a.ndim)
    if not a.size and dim is not None and a.ndim and not a.shape[dims[0]]:
        raise IndexError(f"aminmax: Expected reduction dim {dims[0]} to have non-zero size.")
    if not a.size and dim is None:
        raise RuntimeError("aminmax(): cannot compute aminmax over an empty dimension as the "
                           "operation has no identity.")
    if a.dtype.kind == "c":
        raise NotImplementedError("\"aminmax_cpu\" not implemented for "
                                  f"'{FROM_NUMPY[a.dtype].title}'")
    found = apply(AMINMAX, (input,), {"dims": dims, "keepdim": keepdim})
    return return_types.ALL["aminmax"](found)


def _place_forward(find: Callable) -> Callable:
    larger = find is ndarray.argmax

    def forward(a: ndarray, dim: int, keepdim: bool) -> tuple:
        if not a.ndim:
            return np.array(a), np.zeros((), np.int64)
        if a.size >= LARGE and (found := axis_kernels.extremes(a, dim, larger)) is not None:
            return tuple([np.expand_dims(x, dim) if keepdim else x for x in found])
        if not keepdim and a.size and dim == a.ndim - 1 and a.flags.c_contiguous:
            index = find(a, dim)
            rows = flat_positions(a.shape, index[..., None], dim).reshape(index.shape)
            return a.reshape(-1).take(rows), np.asarray(index, np.int64)
        index = find(a, axis=dim, keepdims=True)
        values = take_along(a, index, dim)
        if not keepdim:
            values, index = values.squeeze(dim), index.squeeze(dim)
        return values, np.asarray(index, np.int64)

    return forward


def selecting_grad(g: Any, input_shape: tuple, out: Any, dim: int, keepdim: bool) -> list:
    """The gradient of a reduction that picks one element: back to where it came from."""
    if g[0] is None:
        return [None]
    return [spill_reduced(g[0], out[1].detach(), dim, keepdim, input_shape)]


def selecting_jvp(tangents: Any, out: Any, input: Tensor, *, dim: int, keepdim: bool,
                  **params: Any) -> tuple:
    """The tangent of a reduction that picks one element."""
    t, index = tangents[0], out[1]
    if not t._a.ndim:
        return t, None
    if keepdim:
        return pick(t, index, dim), None
    return pick(t, index.unsqueeze(dim), dim).squeeze(dim), None


def selecting_batch(op: Op, inputs: Any, dims: Any, dim: int, keepdim: bool,
                    **params: Any) -> tuple:
    """A batching rule: the batch in front, the dimension one further."""
    value = front(inputs[0], dims[0], 0)
    if value._a.ndim == 1:
        value, dim, keepdim = value.unsqueeze(1), 0, False
    return apply(op, (value,), {"dim": dim + 1, "keepdim": keepdim, **params}), 0


def selecting(name: str, forward: Callable, params: tuple = (), node: str | None = None) -> Op:
    """Declare a reduction over ``dim`` that gives elements of its input and their places."""
    return opaque(name, forward, joint=selecting_grad, params=("dim", "keepdim", *params),
                  multiple=True, widen=False, jvp=selecting_jvp, batch=selecting_batch, node=node)


MAX_DIM = selecting("max_dim", _place_forward(ndarray.argmax), node="Max")
MIN_DIM = selecting("min_dim", _place_forward(ndarray.argmin), node="Min")


def _refused(name: str, input: Any, other: Any) -> TypeError:
    """The error for arguments that are none of the forms of ``max`` and ``min``."""
    if other is None:
        return TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not "
                         f"{type(input).__name__}")
    return TypeError(f"{name}() received an invalid combination of arguments - got "
                     f"({type(input).__name__}, {type(other).__name__}), but expected one of:\n"
                     " * (Tensor input, *, Tensor out = None)\n"
                     " * (Tensor input, Tensor other, *, Tensor out = None)\n"
                     " * (Tensor input, int dim, bool keepdim = False, *, tuple of Tensors out = "
                     "None)")


def _extreme(name: str, ops: tuple[Op, Op], input: Tensor, other: Any, dim: Any,
             keepdim: bool) -> Any:
    if not isinstance(input, Tensor):
        raise _refused(name, input, other)
    if dim is None:
        if other is None:
            a = input._a
            if type(a) is ndarray and a.size and a.dtype.kind == "f" and not input.requires_grad:
                return wrap(ops[0].forward(a, None, False))
            _check_extreme(name, a, (), True, f"{name}_all")
            return apply(ops[0], (input,), {"dims": tuple(range(a.ndim)), "keepdim": False})
        if isinstance(other, Tensor):
            return FACES["torch"][f"{name}imum"](input, other)
        dim = other
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise _refused(name, input, dim)
    dim = wrap_dim(dim, input._a.ndim)
    check_nonempty(name, input._a, (dim,))
    if input._a.dtype.kind == "c":
        raise NotImplementedError(f"\"{name}\" not implemented for "
                                  f"'{FROM_NUMPY[input._a.dtype].title}'")
    found = apply(ops[1], (input,), {"dim": dim, "keepdim": keepdim})
    return return_types.ALL[name](found)


@public("torch", "Tensor", out=True)
def max(input: Tensor, other: Any = None, keepdim: bool = False, *, dim: Any = None) -> Any:
    """The greatest element of all, or over ``dim`` with its index, or of two tensors each.

    NaN counts as greatest. ``max(input)`` is a tensor; ``max(input, dim, keepdim)`` the named
    tuple (values, indices); ``max(input, other)`` is ``maximum(input, other)``.

    >>> import flambeau as torch
    >>> torch.tensor([[1, 5], [7, 2]]).max(1).indices
    tensor([1, 0])
    """
    return _extreme("max", (MAX_ALL, MAX_DIM), input, other, dim, keepdim)


@public("torch", "Tensor", out=True)
def min(input: Tensor, other: Any = None, keepdim: bool = False, *, dim: Any = None) -> Any:
    """The smallest element of all, or over ``dim`` with its index, or of two tensors each."""
    return _extreme("min", (MIN_ALL, MIN_DIM), input, other, dim, keepdim)


def _argument(name: str, find: Callable) -> Op:
    larger = find is ndarray.argmax

    def forward(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
        if a.size >= LARGE and len(dims) == 1 and a.ndim > 1:
            found = axis_kernels.extremes(a, dims[0], larger)
            if found is not None:
                return np.expand_dims(found[1], dims[0]) if keepdim else found[1]
        axis = dims[0] if len(dims) == 1 and a.ndim > 1 else None
        return np.asarray(find(a, axis=axis, keepdims=keepdim), np.int64)

    return reduction(name, forward, None, widen=False)


ARGMAX = _argument("argmax", ndarray.argmax)
ARGMIN = _argument("argmin", ndarray.argmin)


_FINDS = {"argmax": ndarray.argmax, "argmin": ndarray.argmin}


def _arg(op: Op, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    a = input._a
    if type(a) is ndarray and 0 < a.size < LARGE and (a.dtype is F32 or a.dtype is F64) and (
            not keepdim and (dim is None or type(dim) is int and 0 <= dim < a.ndim)):
        return wrap(np.asarray(_FINDS[op.name](a, dim), np.int64))
    if not a.size and dim is None:
        raise IndexError(f"{op.name}(): Expected reduction dim to be specified for "
                         "input.numel() == 0.")
    if a.dtype.kind == "b":
        raise RuntimeError(f"{op.name}(): does not support bool input")
    if a.dtype.kind == "c":
        raise RuntimeError(f"{op.name}(): does not support complex input")
    dims = tuple(range(a.ndim)) if dim is None else (wrap_dim(dim, a.ndim),)
    check_nonempty(op.name, a, dims)
    return apply(op, (input,), {"dims": dims if a.ndim else (), "keepdim": keepdim})


@public("torch", "Tensor", out=True)
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the greatest element over ``dim``, or in the flattened tensor; int64."""
    return _arg(ARGMAX, input, dim, keepdim)


@public("torch", "Tensor", out=True)
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the smallest element over ``dim``, or in the flattened tensor; int64."""
    return _arg(ARGMIN, input, dim, keepdim)


__all__ = ["AMAX", "AMIN", "amax", "amin", "aminmax", "argmax", "argmin",
           "check_nonempty", "max", "min", "selecting", "selecting_grad", "shared_grad"]
