"""Views of another shape: expand, view, reshape, permute, squeeze and their kin."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends.conversions import dense, reshaped
from flambeau.base.dtypes import dtype as Dtype
from flambeau.base.shapes import Size, contiguous_strides, infer_size, wrap_dim, wrap_dims
from flambeau.core import dispatch
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.index_ops import basic
from flambeau.core.inplace import bump, check_inplace
from flambeau.core.kinds import linear, view
from flambeau.core.levels import front
from flambeau.core.node import OpNode
from flambeau.core.tensor import Tensor

ndarray = np.ndarray


def sizes_of(args: Sequence[Any]) -> tuple[int, ...]:
    """The sizes given as separate integers or as one sequence."""
    for n in args:
        if type(n) is not int:
            break
    else:
        return tuple(args)
    if len(args) == 1 and not isinstance(args[0], int):
        try:
            args = tuple(args[0])
        except TypeError:
            pass
    return tuple([n if type(n) is int else operator.index(n) for n in args])


def shifted(op: Any, inputs: Sequence[Any], bdims: Sequence[Any], /, **params: Any) -> tuple:
    """The batch rule of operators whose only shape parameter is ``shape``, or who have none."""
    t = front(inputs[0], bdims[0], 0)
    if "shape" in params:
        params["shape"] = (t._a.shape[0], *params["shape"])
    return apply(op, (t, *inputs[1:]), params), 0


def shifting(*names: str) -> Callable:
    """A batch rule that moves the dimensions named by the parameters ``names`` by one."""

    def rule(op: Any, inputs: Sequence[Any], bdims: Sequence[Any], /, **params: Any) -> tuple:
        t = front(inputs[0], bdims[0], 0)
        for name in names:
            d = params[name]
            params[name] = d + 1 if type(d) is int else tuple([n + 1 for n in d])
        if "shape" in params:
            params["shape"] = (t._a.shape[0], *params["shape"])
        out = apply(op, (t, *inputs[1:]), params)
        return out, 0

    return rule


def _expand_forward(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    lead = len(shape) - a.ndim
    strides = tuple([0 if n != m else s for n, m, s in zip(a.shape, shape[lead:], a.strides)])
    if shape == a.shape:
        return a[...]
    alone = a.size == math.prod(shape)
    if a.flags.c_contiguous and a.size and a.dtype.isbuiltin == 1:
        out = ndarray(shape, a.dtype, a, 0, (0,) * lead + strides)
        if not alone:
            out.flags.writeable = False
        return out
    return np.lib.stride_tricks.as_strided(a, shape, (0,) * lead + strides, writeable=alone)


def _batch_expand(op: Any, inputs: Sequence[Any], dims: Sequence[Any],
                  shape: tuple[int, ...]) -> tuple:
    t = front(inputs[0], dims[0], len(shape))
    return apply(op, (t,), {"shape": (t._a.shape[0], *shape)}), 0


# The engine sums a gradient over the dimensions that broadcasting added.
EXPAND = view("expand", _expand_forward, lambda g: g, params=("shape",), batch=_batch_expand)


@public("Tensor")
def expand(input: Tensor, *sizes: Any, implicit: bool = False, size: Any = None) -> Tensor:
    """A view with dimensions of size 1 (and new leading ones) repeated; -1 keeps a size.

    >>> import flambeau as torch
    >>> torch.tensor([[1], [2]]).expand(2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """
    if size is None:
        found = dispatch.expanded_view(input, sizes)
        if found is not None:
            return found
    shape = sizes_of(sizes if size is None else size)
    full = _full_shape(input, shape)
    return apply(EXPAND, (input,), {"shape": full})


def _full_shape(t: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """``shape`` without -1, checked: ``t`` can be expanded to it."""
    have = t._a.shape
    lead = len(shape) - len(have)
    if lead < 0:
        raise RuntimeError(f"expand(torch.{t.dtype.title}Tensor{{{list(have)}}}, "
                           f"size={list(shape)}): the number of sizes provided ({len(shape)}) "
                           "must be greater or equal to the number of dimensions in the tensor "
                           f"({len(have)})")
    full = list(shape)
    # the last dimension is the first that errors tell of
    for i in reversed(range(len(shape))):
        n, m = shape[i], have[i - lead] if i >= lead else None
        if n == -1:
            if m is None:
                raise RuntimeError(f"The expanded size of the tensor ({n}) isn't allowed in a "
                                   f"leading, non-existing dimension {i}")
            n = m
        elif n < 0 or m is not None and m not in (1, n):
            raise RuntimeError(f"The expanded size of the tensor ({n}) must match the existing "
                               f"size ({m}) at non-singleton dimension {i}.  Target sizes: "
                               f"{list(shape)}.  Tensor sizes: {list(have)}")
        full[i] = n
    return tuple(full)


@public("Tensor")
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor expanded to the shape of ``other``."""
    return expand(self, other._a.shape)


@public("torch", "Tensor")
def broadcast_to(input: Tensor, size: Any) -> Tensor:
    """A view broadcast to ``size``."""
    return expand(input, size)


def _view_forward(a: ndarray, shape: tuple[int, ...]) -> ndarray:
    # Without copy=False it is quicker, and dense arrays need no copy.
    return a.reshape(shape) if a.flags.c_contiguous else a.reshape(shape, copy=False)


def _reshape_grad(g: Any, input_shape: tuple[int, ...]) -> Any:
    return reshaped(g, input_shape) if type(g) is ndarray else g.reshape(input_shape)


VIEW = view("view", _view_forward, _reshape_grad, params=("shape",), batch=shifted)
RESHAPE = linear("reshape_copy", lambda a, shape: dense(a).reshape(shape), _reshape_grad,
                 params=("shape",), node="UnsafeView", batch=shifted)
VIEW_DTYPE = view("view_dtype", lambda a, dtype: a.view(dtype.np), None, params=("dtype",),
                  batch=shifted)


_FLAT = (-1,)
NO_VIEW = ("view size is not compatible with input tensor's size and stride (at least one "
           "dimension spans across two contiguous subspaces). Use .reshape(...) instead.")


@public("Tensor", name="view")
def view_of(self: Tensor, *shape: Any, dtype: Any = None, size: Any = None) -> Tensor:
    """The same memory in another shape, or read as another dtype.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3).view(-1).shape
    torch.Size([6])
    """
    if dtype is None and size is None and shape:
        found = dispatch.dense_view(self, shape)
        if found is not None:
            return found
        if len(shape) == 1 and isinstance(shape[0], Dtype):
            dtype = shape[0]
    if dtype is not None:
        return _view_dtype(self, dtype)
    sizes = infer_size(sizes_of(shape if size is None else size), self._a.size)
    try:
        return apply(VIEW, (self,), {"shape": sizes})
    except ValueError:
        raise RuntimeError(NO_VIEW) from None


def _view_dtype(t: Tensor, to: Dtype) -> Tensor:
    a = t._a
    have, want = a.itemsize, to.np.itemsize
    titles = f"view {t.dtype.title} as {to.title} (different element sizes)"
    if have != want:
        if not a.ndim:
            raise RuntimeError(f"self.dim() cannot be 0 to {titles}")
        if a.strides[-1] != have and a.shape[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 to {titles}, but got "
                               f"{a.strides[-1] // have}")
        if want > have and a.shape[-1] * have % want:
            raise RuntimeError(f"self.size(-1) must be divisible by {want // have} to {titles}, "
                               f"but got {a.shape[-1]}")
    return apply(VIEW_DTYPE, (t,), {"dtype": to})


@public("Tensor")
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """The same memory in the shape of ``other``."""
    shape = other._a.shape
    found = dispatch.dense_view(self, shape)
    return view_of(self, shape) if found is None else found


@public()
def reshape(input: Tensor, *sizes: Any, shape: Any = None) -> Tensor:
    """The same elements in another shape: a view where the strides allow it, else a copy.

    >>> import flambeau as torch
    >>> torch.arange(4).reshape(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """
    if shape is None and sizes:
        found = dispatch.dense_view(input, sizes)
        if found is not None:
            return found
    full = infer_size(sizes_of(sizes if shape is None else shape), input._a.size)
    if len(full) > 64:
        # Imported by the first such tensor.
        from flambeau.core.many_dims import in_many_dims
        return in_many_dims(input, full)
    try:
        return apply(VIEW, (input,), {"shape": full})
    except ValueError:
        return apply(RESHAPE, (input,), {"shape": full})


@public("Tensor")
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """This tensor in the shape of ``other``."""
    return reshape(self, other._a.shape)


@public()
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` made one."""
    a = input._a
    shape = a.shape
    if start_dim == 0 and end_dim == -1 and len(shape) > 1:
        found = dispatch.dense_view(input, _FLAT)
        return reshape(input, (a.size,)) if found is None else found
    if not shape:
        wrap_dim(start_dim, 0), wrap_dim(end_dim, 0)
        return reshape(input, (1,))
    start, end = wrap_dim(start_dim, len(shape)), wrap_dim(end_dim, len(shape))
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if start == end:
        return input
    count = 1
    for n in shape[start:end + 1]:
        count *= n
    return reshape(input, (*shape[:start], count, *shape[end + 1:]))


@public()
def ravel(input: Tensor) -> Tensor:
    """All elements in one dimension."""
    return reshape(input.contiguous(), (-1,)) if input._a.size else reshape(input, (0,))


@public()
def unflatten(input: Tensor, dim: int, sizes: Any) -> Tensor:
    """Dimension ``dim`` split into several of the given sizes; one may be -1."""
    shape = input._a.shape
    if isinstance(sizes, int):
        raise TypeError("unflatten(): argument 'sizes' (position 2) must be tuple of ints, not int")
    sizes = sizes_of((sizes,))
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    dim = wrap_dim(dim, len(shape), scalar_ok=False)
    n = shape[dim]
    try:
        full = infer_size(sizes, n)
    except RuntimeError as error:
        if sizes.count(-1) > 1:
            raise RuntimeError(f"unflatten got an unexpected error:\n{error}") from None
        raise RuntimeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the "
                           f"size of dim {dim} ({n}) in the input tensor") from None
    return reshape(input, (*shape[:dim], *full, *shape[dim + 1:]))


def inverse(dims: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes ``dims``."""
    back = [0] * len(dims)
    for i, d in enumerate(dims):
        back[d] = i
    return tuple(back)


def _batch_permute(op: Any, inputs: Sequence[Any], bdims: Sequence[Any],
                   dims: tuple[int, ...]) -> tuple:
    b = bdims[0]
    return apply(op, inputs, {"dims": (b, *[d + (d >= b) for d in dims])}), 0


def reordered(g: Any, dims: tuple[int, ...]) -> Any:
    """A tensor or an array, permuted back from the order ``dims``."""
    back = inverse(dims)
    return g.transpose(back) if type(g) is ndarray else permute(g, back)


PERMUTE = view("permute", lambda a, dims: a.transpose(dims),
               lambda g, dims: reordered(g, dims), params=("dims",), batch=_batch_permute)


@public()
def permute(input: Tensor, *order: Any, dims: Any = None) -> Tensor:
    """A view with its dimensions in the order ``dims``.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3, 4).permute(2, 0, 1).shape
    torch.Size([4, 2, 3])
    """
    a = input._a
    rank = a.ndim
    if dims is None and len(order) == rank and rank > 1:
        found = permuted(input, order)
        if found is not None:
            return found
    wanted = sizes_of(order if dims is None else dims)
    if len(wanted) != rank:
        raise RuntimeError("permute(sparse_coo): number of dimensions in the tensor input does "
                           f"not match the length of the desired ordering of dimensions i.e. "
                           f"input.dim() = {rank} is not equal to len(dims) = {len(wanted)}")
    found = permuted(input, wanted)
    if found is not None:
        return found
    full = tuple([wrap_dim(d, rank) for d in wanted])
    if len(set(full)) != rank:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return apply(PERMUTE, (input,), {"dims": full})


def permuted(t: Tensor, dims: tuple) -> Tensor | None:
    """The view with the dimensions ``dims``; None where that is not plain."""
    a = t._a
    if type(a) is not ndarray:
        return None
    for d in dims:
        if type(d) is not int or d < 0:
            return None
    try:
        r = a.transpose(dims)
    except ValueError:
        return None  # which dimension is wrong is said by who asked
    return dispatch.make_view(PERMUTE, t, r, {"dims": dims})


TRANSPOSE = view("transpose", lambda a, dim0, dim1: a.swapaxes(dim0, dim1),
                 lambda g, dim0, dim1: g.swapaxes(dim0, dim1), params=("dim0", "dim1"),
                 batch=shifting("dim0", "dim1"))


@public(aliases=("swapaxes", "swapdims"))
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged."""
    rank = input._a.ndim
    if not (type(dim0) is int and type(dim1) is int and 0 <= dim0 < rank and 0 <= dim1 < rank):
        dim0, dim1 = wrap_dim(dim0, rank), wrap_dim(dim1, rank)
    if not rank:
        return apply(PERMUTE, (input,), {"dims": ()})
    a = input._a
    params = {"dim0": dim0, "dim1": dim1}
    if type(a) is ndarray:
        return dispatch.make_view(TRANSPOSE, input, a.swapaxes(dim0, dim1), params)
    return apply(TRANSPOSE, (input,), params)


def _batch_t(op: Any, inputs: Sequence[Any], dims: Sequence[Any]) -> tuple:
    whole = front(inputs[0], dims[0], 0)
    return (apply(TRANSPOSE, (whole,), {"dim0": 1, "dim1": 2}) if whole._a.ndim == 3
            else basic(whole, (...,))), 0


T = view("t", lambda a: a.T, lambda g: g.swapaxes(0, 1) if g.ndim == 2 else g, batch=_batch_t)


@public()
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and numbers as they are."""
    a = input._a
    if type(a) is ndarray and a.ndim <= 2:
        return dispatch.make_view(T, input, a.T, {})
    if a.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is "
                           f"{input._a.ndim}D")
    return apply(T, (input,), {})


_NEW_AT = tuple([(*(slice(None),) * d, None, ...) for d in range(16)])


def _unsqueeze_forward(a: ndarray, dim: int) -> ndarray:
    return a[_NEW_AT[dim]] if dim < len(_NEW_AT) else np.expand_dims(a, dim)


UNSQUEEZE = view("unsqueeze", _unsqueeze_forward,
                 lambda g, dim: g.squeeze(dim), params=("dim",), batch=shifting("dim"))


@public()
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dimension of size 1 put in at ``dim``."""
    a = input._a
    dim = wrap_dim(dim, a.ndim + 1)
    if type(a) is ndarray:
        return dispatch.make_view(UNSQUEEZE, input, _unsqueeze_forward(a, dim), {"dim": dim})
    return apply(UNSQUEEZE, (input,), {"dim": dim})


SQUEEZE = view("squeeze", lambda a, dims: a.squeeze(dims),
               lambda g, input_shape: g.reshape(input_shape), params=("dims",),
               batch=shifting("dims"))
SQUEEZE_DIM = type("SqueezeBackward1", (SQUEEZE.node_type,), {})
SQUEEZE_DIMS = type("SqueezeBackward2", (SQUEEZE.node_type,), {})


@public()
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """A view without dimensions of size 1, or without those of ``dim`` that have it."""
    a = input._a
    plain = type(a) is ndarray
    if dim is None and plain:
        return dispatch.make_view(SQUEEZE, input, a.squeeze(), _ones(a.shape))
    shape = a.shape
    kind = SQUEEZE_DIM
    if dim is None:
        params, kind = _ones(shape), SQUEEZE.node_type
    elif isinstance(dim, (tuple, list)):
        dims = wrap_dims(dim, len(shape)) if dim else ()
        params, kind = {"dims": tuple([d for d in dims if shape and shape[d] == 1])}, SQUEEZE_DIMS
    else:
        if type(dim) is not int or not 0 <= dim < len(shape):
            dim = wrap_dim(dim, len(shape))
        params = {"dims": (dim,) if shape and shape[dim] == 1 else ()}
    if plain:
        return dispatch.make_view(SQUEEZE, input, a.squeeze(params["dims"]), params, True, kind)
    found = apply(SQUEEZE, (input,), params)
    if type(found._node) is SQUEEZE.node_type:
        found._node.__class__ = kind
    return found


@functools.lru_cache(256)
def _ones(shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The dimensions of size 1, as the operator's params."""
    return {"dims": tuple([d for d, n in enumerate(shape) if n == 1])}


@functools.cache
def _of_in_place(kind: type) -> type:
    """The node type of a view made in place: PyTorch numbers it after those of all others."""
    stem, number = kind.__name__.rsplit("Backward", 1)
    others = 3 if kind.__name__.startswith("Squeeze") else 1
    return type(f"{stem}Backward{int(number) + others}", (kind,), {})


def _in_place(function: Callable, name: str) -> None:
    """The method that turns a tensor itself into a view of its memory."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_inplace(self)
        found = function(self, *args, **kwargs)
        meta = self._x
        self._a, self._node = found._a, found._node
        node: Any = self._node
        if isinstance(node, OpNode):
            node.__class__ = _of_in_place(node.__class__)  # type: ignore[arg-type]
        if meta is not None and meta.base is not None:
            meta.replay = found._x.replay
        bump(self)
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"In-place version of ``{function.__name__}``: the same memory, seen anew."
    show(method, name, "Tensor")


for _function, _names in ((squeeze, ("squeeze_",)), (unsqueeze, ("unsqueeze_",)), (t, ("t_",)),
                          (transpose, ("transpose_", "swapaxes_", "swapdims_"))):
    for _name in _names:
        _in_place(_function, _name)


def _stride(self: Tensor, dim: int | None = None) -> Any:
    """The step in elements along each dimension, or along ``dim``."""
    a = self._a
    if a.size:
        steps = tuple([s // a.itemsize for s in a.strides])
        if 0 in steps and 1 in a.shape:
            steps = _with_new_dimensions(a.shape, steps)
    else:
        steps = contiguous_strides(a.shape)
    return steps if dim is None else steps[wrap_dim(dim, a.ndim)]


def _with_new_dimensions(shape: tuple[int, ...], steps: Sequence[int]) -> tuple[int, ...]:
    """The strides with those of dimensions of size 1 that were put in, for which NumPy has 0."""
    found, beyond = [], 1
    for n, step in zip(reversed(shape), reversed(steps)):
        step = beyond if n == 1 and step == 0 else step
        found.append(step)
        beyond = n * step
    return tuple(reversed(found))


show(_stride, "stride", "Tensor")

__all__ = ["EXPAND", "PERMUTE", "RESHAPE", "Size", "TRANSPOSE", "VIEW",
           "expand", "flatten", "inverse", "permute", "permuted", "reshape", "shifted", "shifting",
           "sizes_of", "squeeze", "t", "transpose", "unsqueeze", "view_of"]
