"""Joining tensors: cat, stack and the stacks along particular dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import memory
from flambeau.backends.conversions import in_format_of, in_rows, write
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply, finish
from flambeau.core.face import public
from flambeau.core.index_ops import linear_jvp
from flambeau.core.kinds import opaque
from flambeau.core.levels import front
from flambeau.core.op import Op
from flambeau.core.promote import result_type
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast
from flambeau.ops.shape import reshape
from flambeau.ops.split import split_parts, unbind

LARGE = 1 << 15


def _cat_grads(g: Tensor, inputs_shape: tuple, dim: int) -> list:
    empty = [shape == (0,) and g._a.ndim != 1 for shape in inputs_shape]
    sizes = [0 if skip else shape[dim] for shape, skip in zip(inputs_shape, empty)]
    parts = split_parts(g, sizes, dim)
    return [reshape(p, (0,)) if skip else p for p, skip in zip(parts, empty)]


def _aligned(inputs: Sequence[Tensor], dims: Sequence[Any]) -> list[Tensor]:
    """Every input with the batch dimension in front."""
    size = next(t._a.shape[d] for t, d in zip(inputs, dims) if d is not None)
    return [t.expand(size, *t._a.shape) if d is None else front(t, d, 0)  # type: ignore
            for t, d in zip(inputs, dims)]


def _batch_join(op: Any, inputs: Sequence[Tensor], bdims: Sequence[Any], dim: int) -> tuple:
    return apply(op, _aligned(inputs, bdims), {"dim": dim + 1}), 0


def _batch_cat(op: Any, inputs: Sequence[Tensor], bdims: Sequence[Any], dim: int) -> tuple:
    ranks = [t._a.ndim - (d is not None) for t, d in zip(inputs, bdims)]
    full = [(t, d) for t, d, n in zip(inputs, bdims, ranks) if n == max(ranks)]
    kept, places = [t for t, _ in full], [d for _, d in full]
    if all(d is None for d in places):
        return apply(op, kept, {"dim": dim}), None
    return _batch_join(op, kept, places, dim)


def _cat_forward(*arrays: np.ndarray, dim: int) -> np.ndarray:
    rank = max(a.ndim for a in arrays)
    if rank > 1:
        arrays = tuple([a for a in arrays if a.shape != (0,)])
    return joined(arrays, dim)


def joined(arrays: Sequence[np.ndarray], dim: int) -> np.ndarray:
    """``numpy.concatenate``; large results of one dtype in memory that is used again."""
    first = arrays[0] if arrays else None
    if first is not None and not first.flags.c_contiguous:
        return in_format_of(np.concatenate(arrays, dim), *arrays)
    if first is None or len(arrays) * first.nbytes < memory.THRESHOLD or not (
            -first.ndim <= dim < first.ndim) or any([a.ndim != first.ndim or
                                                     a.dtype != first.dtype for a in arrays]):
        return in_rows(np.concatenate(arrays, dim))
    shape = list(first.shape)
    shape[dim] = sum([a.shape[dim] for a in arrays])
    out = memory.empty(tuple(shape), first.dtype)
    if first.size < LARGE:
        return np.concatenate(arrays, dim, out=out)
    start, before = 0, (slice(None),) * (dim % first.ndim)
    for a in arrays:
        part = out[(*before, slice(start, start + a.shape[dim]))]
        start += a.shape[dim]
        if a.shape != part.shape:
            return np.concatenate(arrays, dim)
        if not write(part, a):
            part[...] = a
    return out


CAT: Op = opaque("cat", _cat_forward, inputs=("tensors",), joint=_cat_grads, params=("dim",),
             variadic=True, jvp=linear_jvp(lambda: CAT), batch=_batch_cat)


def _stack_forward(*arrays: np.ndarray, dim: int) -> np.ndarray:
    shape = arrays[0].shape
    if dim == len(shape) or dim and arrays[0].flags.c_contiguous:
        return in_rows(np.stack(arrays, axis=dim))
    return joined(arrays, dim).reshape(*shape[:dim], len(arrays), *shape[dim:])


STACK: Op = opaque("stack", _stack_forward, inputs=("tensors",),
               joint=lambda g, dim: list(unbind(g, dim)), params=("dim",), variadic=True,
               jvp=linear_jvp(lambda: STACK), batch=_batch_join)


def _plain(tensors: Any) -> list[np.ndarray] | None:
    """The arrays of plain tensors of one dtype; None for everything else."""
    if type(tensors) is not list and type(tensors) is not tuple or not tensors:
        return None
    try:
        arrays = [t._a for t in tensors]
    except AttributeError:
        return None
    held = arrays[0].dtype
    for a in arrays:
        if type(a) is not np.ndarray or a.dtype is not held:
            return None
    return arrays


def checked(name: str, tensors: Any) -> list[Tensor]:
    """The tensors to join, promoted to their common dtype."""
    if isinstance(tensors, Tensor) or not isinstance(tensors, (list, tuple)):
        kind = type(tensors).__name__
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
                        f"{kind}")
    first = tensors[0]._a.dtype if tensors and isinstance(tensors[0], Tensor) else None
    mixed = False
    for i, t in enumerate(tensors):
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got "
                            f"{type(t).__name__}")
        mixed = mixed or t._a.dtype is not first
    if mixed:
        held = [FROM_NUMPY[t._a.dtype] for t in tensors]
        if any(d is not held[0] for d in held):
            common = result_type(tensors)
            return [cast(t, common) for t in tensors]
    return list(tensors)


def _check_cat(tensors: Sequence[Tensor], dim: int) -> int:
    shapes = [t._a.shape for t in tensors]
    for i, shape in enumerate(shapes):
        if not shape:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    like = next((s for s in shapes if s != (0,)), (0,))
    dim = wrap_dim(dim, len(like))
    for i, shape in enumerate(shapes):
        if shape == (0,):
            continue
        if len(shape) != len(like):
            raise RuntimeError("Tensors must have same number of dimensions: got "
                               f"{len(like)} and {len(shape)}")
        for d, (n, m) in enumerate(zip(like, shape)):
            if n != m and d != dim:
                raise RuntimeError(f"Sizes of tensors must match except in dimension {dim}. "
                                   f"Expected size {n} but got size {m} for tensor number {i} in "
                                   "the list.")
    return dim


@public("torch", out=True, apart=True, aliases=("concat", "concatenate"))
def cat(tensors: Any, dim: int = 0) -> Tensor:
    """The tensors one after the other along dimension ``dim``; dtypes are promoted.

    >>> import flambeau as torch
    >>> torch.cat([torch.tensor([1, 2]), torch.tensor([3])])
    tensor([1, 2, 3])
    """
    arrays = _plain(tensors)
    if arrays is not None and type(dim) is int:
        try:
            r = joined(arrays, dim)
        except ValueError:  # which says it in PyTorch's words below
            pass
        else:
            return finish(CAT, tensors, {"dim": dim if dim >= 0 else dim + r.ndim}, r)
    found = checked("cat", tensors)
    if not found:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    return apply(CAT, found, {"dim": _check_cat(found, dim)})


@public("torch", out=True)
def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors of one shape joined along a new dimension ``dim``."""
    arrays = _plain(tensors)
    if arrays is not None and type(dim) is int and 0 <= dim <= arrays[0].ndim:
        shape = arrays[0].shape
        if all([a.shape == shape for a in arrays]):
            return finish(STACK, tensors, {"dim": dim}, _stack_forward(*arrays, dim=dim))
    found = checked("stack", tensors)
    if not found:
        raise RuntimeError("stack expects a non-empty TensorList")
    shape = found[0]._a.shape
    dim = wrap_dim(dim, len(shape) + 1)
    for i, t in enumerate(found):
        if t._a.shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got "
                               f"{list(shape)} at entry 0 and {list(t._a.shape)} at entry {i}")
    return apply(STACK, found, {"dim": dim})


def _at_least(t: Tensor, rank: int) -> Tensor:
    shape = t._a.shape
    n = len(shape)
    if n >= rank:
        return t
    if rank == 1:
        return reshape(t, (1,))
    if rank == 2:
        return reshape(t, (1, 1)) if not n else t.unsqueeze(0)  # type: ignore[attr-defined]
    if n == 2:
        return t.unsqueeze(-1)  # type: ignore[attr-defined]
    return reshape(t, (1, 1, 1) if not n else (1, shape[0], 1))


def _declare_at_least(rank: int) -> None:
    def at_least(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
            return tuple([_at_least(t, rank) for t in tensors[0]])
        if len(tensors) == 1:
            return _at_least(tensors[0], rank)
        return tuple([_at_least(t, rank) for t in tensors])

    at_least.__doc__ = f"Each tensor as a view with at least {rank} dimensions."
    public("torch", name=f"atleast_{rank}d")(at_least)


for _rank in (1, 2, 3):
    _declare_at_least(_rank)


def _stacked(name: str, tensors: Any, rank: int, dim: int) -> Tensor:
    found = checked(name, tensors)
    if not found:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    raised = [_at_least(t, rank) for t in found]
    return cat(raised, 0 if dim and raised[0]._a.ndim == 1 else dim)


@public("torch", out=True)
def hstack(tensors: Any) -> Tensor:
    """Tensors joined along dimension 1 (vectors along 0)."""
    return _stacked("hstack", tensors, 1, 1)


@public("torch", out=True, aliases=("row_stack",))
def vstack(tensors: Any) -> Tensor:
    """Tensors joined along dimension 0, vectors as rows."""
    return _stacked("vstack", tensors, 2, 0)


@public("torch", out=True)
def dstack(tensors: Any) -> Tensor:
    """Tensors joined along dimension 2."""
    return _stacked("dstack", tensors, 3, 2)


@public("torch", out=True)
def column_stack(tensors: Any) -> Tensor:
    """Tensors joined along dimension 1, vectors as columns."""
    found = checked("column_stack", tensors)
    if not found:
        raise RuntimeError("column_stack expects a non-empty TensorList")
    return hstack([reshape(t, (t._a.size, 1)) if t._a.ndim < 2 else t for t in found])


def _corners(shapes: Sequence[tuple]) -> list[tuple]:
    corners, row, column = [], 0, 0
    for n, m in shapes:
        corners.append((slice(row, row + n), slice(column, column + m), ...))
        row, column = row + n, column + m
    return corners


def _block_forward(*arrays: np.ndarray) -> np.ndarray:
    shapes = [a.shape for a in arrays]
    whole = np.zeros((sum(n for n, _ in shapes), sum(m for _, m in shapes)), arrays[0].dtype)
    for a, corner in zip(arrays, _corners(shapes)):
        whole[corner] = a
    return whole


def _block_grads(g: Tensor, inputs_shape: tuple) -> list:
    return [g[corner] for corner in _corners(inputs_shape)]  # type: ignore[index]


BLOCK: Op = opaque("block_diag", _block_forward, inputs=("tensors",), joint=_block_grads,
               node="BlockDiag", variadic=True, jvp=linear_jvp(lambda: BLOCK))


@public("torch")
def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix with the given matrices along its diagonal and zeros elsewhere."""
    for i, t in enumerate(tensors):
        if t._a.ndim > 2:
            raise RuntimeError("torch.block_diag: Input tensors must have 2 or fewer dimensions. "
                               f"Input {i} has {t._a.ndim} dimensions")
    if not tensors:
        return wrap(np.zeros((1, 0), np.float32))
    found = checked("block_diag", list(tensors))
    return apply(BLOCK, [_at_least(t, 2) for t in found], {})


__all__ = ["CAT", "STACK", "block_diag", "cat", "checked", "column_stack", "dstack", "hstack",
           "stack", "vstack"]
