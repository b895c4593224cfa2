"""Reductions over dimensions: sum, mean, prod, any, all and their kin."""

from __future__ import annotations

from collections.abc import Callable
from math import prod as prod_of
from typing import Any

import numpy as np

from flambeau.backends import fills, reductions
from flambeau.backends.replay import as_array
from flambeau.backends.small import ORDERED, mean_of, sum_of
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, dtype
from flambeau.base.shapes import wrap_dims
from flambeau.core.dispatch import apply, record, saved_hooks
from flambeau.core.face import public
from flambeau.core.kinds import reduction
from flambeau.core.levels import TRACED
from flambeau.core.modes import INFERENCE, MODES
from flambeau.core.node import LEAF, next_sequence
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, mark_inference, new_tensor, wrap
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.copy import cast

ndarray = np.ndarray
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
BOOL = np.dtype(np.bool_)
LARGE = 1 << 15
_add = np.add.reduce


def kept(shape: tuple[int, ...], dims: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` with the dimensions ``dims`` at size 1."""
    return tuple([1 if i in dims else n for i, n in enumerate(shape)])


def spread(g: Tensor, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """``g``, of a result reduced over ``dims``, expanded to ``shape``."""
    return unreduced(g, shape, dims, keepdim).expand(shape)


def unreduced(g: Tensor, shape: tuple[int, ...], dims: tuple[int, ...], keepdim: bool) -> Tensor:
    """``g``, of a result reduced over ``dims``, with those dimensions at size 1."""
    if not keepdim and dims and g._a.ndim:
        g = g.reshape(kept(shape, dims))
    return g


def count_of(shape: tuple[int, ...], dims: tuple[int, ...]) -> int:
    """The number of elements that each result of a reduction over ``dims`` comes from."""
    n = 1
    for d in dims:
        n *= shape[d]
    return n


def dims_of(dim: Any, rank: int) -> tuple[int, ...]:
    """The dimensions ``dim`` means, counted from the front; all where it is None or empty."""
    if type(dim) is int and 0 <= dim < rank:
        return (dim,)
    dims = wrap_dims(dim, rank)
    return dims if rank else ()


def whole(a: ndarray) -> ndarray:
    """The sum of all of a float32 or float64 array, a 0-dim array."""
    n = a.size
    if 0 < n <= ORDERED and a.flags.c_contiguous:
        return sum_of(a)
    if n >= LARGE:
        found = reductions.reduce("sum", a, None, False)
        if found is not None:
            return found
    return _add(a, axis=None, out=...)


def _sum_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool,
                 dtype: np.dtype | None = None) -> ndarray:
    every = a.ndim == len(dims) and not keepdim
    if every and (a.dtype is F32 or a.dtype is F64) and (dtype is None or dtype is a.dtype):
        return whole(a)
    if a.size >= LARGE:
        found = reductions.reduce("sum", a, dims, keepdim)
        if found is not None and (dtype is None or found.dtype == dtype):
            return found
    if every:
        return _add(a, axis=None, dtype=dtype, out=...)
    return _add(a, axis=dims, dtype=dtype, keepdims=keepdim, out=...)


def _filled(g: Any, shape: tuple[int, ...], n: int = 1) -> Any:
    """A gradient of ``shape`` that is ``g / n``, a number, everywhere."""
    if type(g) is not ndarray:
        return (g if n == 1 else g / n).expand(shape)
    size = prod_of(shape)
    if not size:
        return np.empty(shape, g.dtype)
    # numbers of half types would divide in their own precision
    number = g if n == 1 else (g.item() if g.dtype.kind in "fc" else float(g)) / n
    if size >= LARGE:
        return fills.full(shape, g.dtype, number)
    r = np.empty(shape, g.dtype)
    r.fill(number)
    return r


def plain_result(op: Op, input: Tensor, r: ndarray, saved: tuple, params: Any = None) -> Tensor:
    """The tensor over ``r``, which ``op`` gave; ``saved`` fills the slots of its node."""
    t = new_tensor(Tensor)
    t._a = r
    t._v = None
    t._x = None
    edge = input._node
    if edge is None or not MODES.grad:
        t._node = None
        if INFERENCE:
            mark_inference(t)
        return t
    if saved_hooks or MODES.anomaly:
        record(op, (input,), params or {}, t)
        return t
    node = op.node_type()
    node.next = (input if edge is LEAF else edge,)
    node.saved = saved
    node.seq = next_sequence()
    node.shape = r.shape
    node.dtype = r.dtype
    t._node = node
    return t


SUM = reduction("sum", _sum_forward,
                lambda g, input_shape, dims, keepdim: spread(g, input_shape, dims, keepdim),
                params=("dims", "keepdim", "dtype"), program="sum")
SUM_ALL = reduction("sum_all", lambda a: whole(a), lambda g, input_shape: _filled(g, input_shape),
                    params=(), node="Sum", program="sum")
SUM.node_type.__name__ = "SumBackward1"
assert SUM.slots == ("input_shape", "dims", "keepdim")


def _is_traced_float(a: Any) -> bool:
    """Whether ``a`` stands in, while a step is traced or noted, for what has a short path."""
    return (type(a) is not ndarray and a.dtype in (F32, F64)
            and (MODES.tracer is not None and a.level == TRACED or not a.readable))


def _along(op: Op, input: Tensor, a: ndarray, dim: int, keepdim: bool) -> Tensor | None:
    """A sum or mean of a small array over one dimension, None where there is no such one."""
    shape = a.shape
    rank = len(shape)
    if dim < 0:
        dim += rank
    if not 0 <= dim < rank:
        return None
    r = _add(a, axis=dim, keepdims=keepdim, out=...)
    if op is not SUM:
        np.divide(r, shape[dim], out=r)
    if rank > 2 and not r.flags.c_contiguous:
        r = r.copy()
    dims = (dim,)
    saved = (shape, dims, keepdim)
    if input._node is None:
        return plain_result(op, input, r, saved)
    return plain_result(op, input, r, saved, {"dims": dims, "keepdim": keepdim, "dtype": None})


@public("torch", "Tensor", out=True)
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *,
        dtype: dtype | None = None) -> Tensor:
    """The sum over ``dim`` (every dimension where it is None); integers sum as int64.

    >>> import flambeau as torch
    >>> torch.ones(2, 3).sum(dim=1)
    tensor([3., 3.])
    """
    a = input._a
    d = a.dtype
    if dtype is None and (d is F32 or d is F64):
        if dim is None and not keepdim:
            return plain_result(SUM_ALL, input, whole(a), (a.shape,))
        if type(dim) is int and a.size < LARGE:
            found = _along(SUM, input, a, dim, keepdim)
            if found is not None:
                return found
    if dim is None and not keepdim and dtype is None and _is_traced_float(a):
        return apply(SUM_ALL, (input,))
    held = None
    if dtype is not None:
        input = cast(input, dtype)
        held = dtype.np if dtype.category < dtypes.FLOAT else None
    elif d.kind in "biu":
        held = dtypes.int64.np
    if dim is None and not keepdim and held is None and type(input._a) is ndarray:
        return apply(SUM_ALL, (input,))
    dims = dims_of(dim, a.ndim)
    return apply(SUM, (input,), {"dims": dims, "keepdim": keepdim, "dtype": held})


def _mean_all(a: ndarray) -> ndarray:
    n = a.size
    if 0 < n <= ORDERED and a.flags.c_contiguous:
        return mean_of(a)
    return np.divide(whole(a), a.dtype.type(n), out=...)


def _mean_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
    r = _sum_forward(a, dims, keepdim)
    n = count_of(a.shape, dims)
    r = as_array(r)
    return np.divide(r, r.dtype.type(n), out=r if n else ...)


MEAN = reduction("mean", _mean_forward,
                 lambda g, input_shape, dims, keepdim: spread(
                     g / count_of(input_shape, dims), input_shape, dims, keepdim), program="mean")
MEAN_ALL = reduction(
    "mean_all", _mean_all, lambda g, input_shape: _filled(g, input_shape, prod_of(input_shape)),
    params=(), node="Mean", program="mean")
MEAN.node_type.__name__ = "MeanBackward1"
SUM_ALL.bare = MEAN_ALL.bare = True


@public("torch", "Tensor", out=True)
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *,
         dtype: dtype | None = None) -> Tensor:
    """The mean over ``dim`` (every dimension where it is None) of floating or complex numbers.

    >>> import flambeau as torch
    >>> torch.tensor([[1., 2.], [3., 6.]]).mean(0)
    tensor([2., 4.])
    """
    a = input._a
    d = a.dtype
    if dtype is None and (d is F32 or d is F64):
        if dim is None and not keepdim:
            return plain_result(MEAN_ALL, input, _mean_all(a), (a.shape,))
        if type(dim) is int and a.size < LARGE:
            found = _along(MEAN, input, a, dim, keepdim)
            if found is not None:
                return found
    if dim is None and not keepdim and dtype is None and _is_traced_float(a):
        return apply(MEAN_ALL, (input,))
    given = "Input" if dtype is None else "Optional"
    held = FROM_NUMPY[d] if dtype is None else dtype
    if held.category < dtypes.FLOAT:
        raise RuntimeError(
            f"mean(): could not infer output dtype. {given} dtype must be either a floating point "
            f"or complex dtype. Got: {held.title}")
    input = cast(input, held)
    if dim is None and not keepdim and type(input._a) is ndarray:
        return apply(MEAN_ALL, (input,))
    return apply(MEAN, (input,), {"dims": dims_of(dim, a.ndim), "keepdim": keepdim})


def _nansum_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
    if a.size >= LARGE:
        found = reductions.reduce("nansum", a, dims, keepdim)
        if found is not None:
            return found
    return _sum_forward(np.where(np.isnan(a), 0, a).astype(a.dtype), dims, keepdim)


NANSUM = reduction("nansum", _nansum_forward, lambda g, input, dims, keepdim: spread(
    g, input._a.shape, dims, keepdim) * input.isnan().logical_not(), program="nansum")


@public("torch", "Tensor", out=True)
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *,
           dtype: dtype | None = None) -> Tensor:
    """The sum over ``dim``, NaN counting as zero."""
    if input._a.dtype.kind == "c":
        raise RuntimeError("nansum does not support complex inputs")
    if input._a.dtype.kind in "biu":
        return sum(input, dim, keepdim, dtype=dtype)
    held = FROM_NUMPY[input._a.dtype] if dtype is None else dtype
    return apply(NANSUM, (cast(input, held),),
                 {"dims": dims_of(dim, input._a.ndim), "keepdim": keepdim})


@public("torch", "Tensor", out=True)
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *,
            dtype: dtype | None = None) -> Tensor:
    """The mean over ``dim`` of what is not NaN."""
    if input._a.dtype.kind in "biu":
        raise RuntimeError("nanmean(): expected input to have floating point or complex dtype but "
                           f"got {FROM_NUMPY[input._a.dtype].title}")
    count = sum(input.detach().isnan().logical_not(), dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


def _prod_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool,
                  dtype: np.dtype | None = None) -> ndarray:
    if a.size >= LARGE:
        found = reductions.reduce("prod", a, dims, keepdim)
        if found is not None and (dtype is None or found.dtype == dtype):
            return found
    return np.multiply.reduce(a, axis=dims, dtype=dtype, keepdims=keepdim, out=...)


def _prod_grad(g: Tensor, input: Tensor, out: Tensor, dims: tuple[int, ...],
               keepdim: bool) -> Tensor:
    shape = input._a.shape
    g = unreduced(g, shape, dims, keepdim)
    a = input._a
    if type(a) is ndarray and a.all():
        return g * conj_of(unreduced(out, shape, dims, keepdim) / input)
    if not shape:
        return g
    return g * conj_of(_product_of_others(input, dims))


def _product_of_others(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Per element the product of all others over ``dims``: right also where some are zero."""
    shape = x._a.shape
    rest = [i for i in range(len(shape)) if i not in dims]
    moved = x.permute([*rest, *dims])
    order = np.argsort([*rest, *dims])
    n = count_of(shape, dims)
    flat = moved.reshape([*[shape[i] for i in rest], 1, n])
    others = flat.expand(*flat._a.shape[:-2], n, n)
    others = others.masked_fill(wrap(np.eye(n, dtype=bool)), 1)
    found = prod(others, -1)
    return found.reshape(tuple(moved._a.shape)).permute([int(i) for i in order])


PROD = reduction("prod", _prod_forward, _prod_grad, params=("dims", "keepdim", "dtype"),
                 program="prod")
_WHOLE_PROD = type("ProdBackward0", (PROD.node_type,), {})
PROD.node_type.__name__ = "ProdBackward1"


@public("torch", "Tensor", out=True)
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *,
         dtype: dtype | None = None) -> Tensor:
    """The product over ``dim`` (all elements where it is None); integers multiply as int64.

    >>> import flambeau as torch
    >>> torch.tensor([2, 3, 4]).prod()
    tensor(24)
    """
    if isinstance(dim, (tuple, list)):
        raise TypeError("prod() received an invalid combination of arguments - got "
                        f"({type(dim).__name__})")
    held = None
    if dtype is not None:
        input = cast(input, dtype)
        held = dtype.np if dtype.category < dtypes.FLOAT else None
    elif input._a.dtype.kind in "biu":
        held = dtypes.int64.np
    t = apply(PROD, (input,), {"dims": dims_of(dim, input._a.ndim), "keepdim": keepdim,
                               "dtype": held})
    if dim is None:
        rename(t, PROD, _WHOLE_PROD)
    return t


def rename(t: Tensor, op: Op, node_type: type) -> None:
    """Give the node that ``op`` just made another of PyTorch's names for it."""
    node = getattr(t._node, "node", t._node)
    if type(node) is op.node_type:
        node.__class__ = node_type


def _logical(name: str, ufunc: np.ufunc) -> Callable:
    forward = ufunc.reduce

    def compute(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
        if a.size >= LARGE:
            found = reductions.reduce(name, a, dims, keepdim)
            if found is not None:
                return found.astype(np.uint8) if a.dtype == np.uint8 else found
        r = forward(a if a.dtype.kind == "b" else a != 0, axis=dims, keepdims=keepdim, out=...)
        return r.astype(np.uint8) if a.dtype == np.uint8 else r

    op = reduction(name, compute, None, program=name)

    @public("torch", "Tensor", out=True, name=name)
    def function(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        a = input._a
        if dim is None and type(a) is ndarray and a.dtype is BOOL and not keepdim and (
                a.size < LARGE):
            return wrap(forward(a, None, out=...))
        dims = () if dim == () else dims_of(dim, input._a.ndim)
        return apply(op, (input,), {"dims": dims, "keepdim": keepdim})

    return function


any = _logical("any", np.logical_or)
any.__doc__ = """Whether any element over ``dim`` is not zero; bool (uint8 of uint8)."""
all = _logical("all", np.logical_and)
all.__doc__ = """Whether all elements over ``dim`` are not zero; bool (uint8 of uint8)."""


def _count_forward(a: ndarray, dims: tuple[int, ...], keepdim: bool) -> ndarray:
    if a.size >= LARGE:
        found = reductions.reduce("count", a, dims, keepdim)
        if found is not None:
            return found
    return np.asarray(_add(a != 0, axis=dims, dtype=np.int64))


COUNT = reduction("count_nonzero", _count_forward, None, widen=False)


@public("torch", "Tensor")
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """The number of elements over ``dim`` that are not zero, int64."""
    dims = dims_of(dim, input._a.ndim)
    return apply(COUNT, (input,), {"dims": dims, "keepdim": False})


__all__ = ["FROM_NUMPY", "MEAN", "PROD", "SUM", "SUM_ALL", "all", "any", "count_nonzero",
           "count_of", "dims_of", "kept", "mean", "nanmean", "nansum", "plain_result", "prod",
           "rename", "spread", "sum", "unreduced"]
