"""Whole Jacobians and Hessians of functions of tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.base.pytree import tree_flatten, tree_map, tree_unflatten
from flambeau.core.tensor import Tensor, wrap
from flambeau.func.transforms import chosen, jvp, vjp
from flambeau.func.vmap import vmap

__all__ = ["hessian", "jacfwd", "jacrev"]


def basis(leaves: Sequence[Tensor]) -> list[Tensor]:
    """Per leaf a batch of unit vectors: along dimension 0 the elements of all leaves in turn."""
    counts = [t._a.size for t in leaves]
    total = sum(counts)
    found, start = [], 0
    for t, n in zip(leaves, counts):
        block = np.zeros((total, n), np.dtype(t._a.dtype.type))
        block[start:start + n] = np.eye(n, dtype=block.dtype)
        found.append(wrap(block.reshape(total, *t._a.shape)))
        start += n
    return found


def _split(batch: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """``batch`` cut along dimension 0 into as many parts as there are elements in each leaf."""
    parts, start = [], 0
    for t in leaves:
        n = t._a.size
        parts.append(batch.narrow(0, start, n))
        start += n
    return parts


def _restricted(func: Callable, args: tuple, argnums: Any) -> tuple[Callable, tuple]:
    """``func`` of the arguments ``argnums`` alone, and those arguments."""
    places = chosen(args, argnums)

    def restricted(*some: Any) -> Any:
        full = list(args)
        for i, a in zip(places, some):
            full[i] = a
        return func(*full)

    return restricted, tuple([args[i] for i in places])


def jacrev(func: Callable, argnums: int | tuple[int, ...] = 0, *, has_aux: bool = False,
           chunk_size: int | None = None, _preallocate_and_copy: bool = False) -> Callable:
    """A function that returns the Jacobian of ``func``, by reverse mode.

    Its shape is that of the output, then that of the argument; outputs and arguments may be
    nested. ``chunk_size`` bounds how many rows are computed together.

    >>> import flambeau as torch
    >>> torch.func.jacrev(torch.square)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        whole = functools.partial(func, **kwargs)
        restricted, primals = _restricted(whole, args, argnums)
        output, back, *aux = vjp(restricted, *primals, has_aux=has_aux)
        outs, spec = tree_flatten(output)
        units = tree_unflatten(basis(outs), spec)
        rows = vmap(back, chunk_size=chunk_size)(units)
        single = isinstance(argnums, int)
        found = [_rows_of(rows, o, i, outs, single) for i, o in enumerate(outs)]
        jacobian = tree_unflatten(found, spec)
        return (jacobian, aux[0]) if has_aux else jacobian

    return wrapper


def _rows_of(rows: tuple, out: Tensor, at: int, outs: Sequence[Tensor], single: bool) -> Any:
    """The Jacobian of one output: its rows, of the nesting of the arguments."""
    own = tree_map(lambda r: _split(r, outs)[at].reshape(*out._a.shape, *r._a.shape[1:]), rows)
    return own[0] if single else own


def jacfwd(func: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False, *,
           randomness: str = "error") -> Callable:
    """A function that returns the Jacobian of ``func``, by forward mode; else as ``jacrev``.

    >>> import flambeau as torch
    >>> torch.func.jacfwd(torch.square)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        whole = functools.partial(func, **kwargs)
        restricted, primals = _restricted(whole, args, argnums)
        leaves, spec = tree_flatten(primals)
        kept: list = []

        def push(*units: Any) -> Any:
            _, tangent, *aux = jvp(restricted, primals, tree_unflatten(units, spec),
                                   has_aux=has_aux)
            kept[:] = aux
            return tangent

        columns = vmap(push, randomness=randomness)(*basis(leaves))
        single = isinstance(argnums, int)
        jacobian = tree_map(lambda c: _columns_of(c, leaves, spec, single), columns)
        return (jacobian, kept[0]) if has_aux else jacobian

    return wrapper


def _columns_of(columns: Tensor, leaves: Sequence[Tensor], spec: Any, single: bool) -> Any:
    shape = columns._a.shape[1:]
    parts = [part.movedim(0, -1).reshape(*shape, *t._a.shape)
             for part, t in zip(_split(columns, leaves), leaves)]
    found = tree_unflatten(parts, spec)
    return found[0] if single else found


def hessian(func: Callable, argnums: int | tuple[int, ...] = 0) -> Callable:
    """A function that returns the Hessian of ``func``: forward mode over reverse mode.

    >>> import flambeau as torch
    >>> torch.func.hessian(lambda x: (x ** 3).sum())(torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
