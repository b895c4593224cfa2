"""Dimensions in another order: movedim, and the properties T, mT, mH and H."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from flambeau.base.shapes import wrap_dim
from flambeau.core import dispatch
from flambeau.core.dispatch import apply
from flambeau.core.face import public, show
from flambeau.core.index_ops import basic
from flambeau.core.tensor import Tensor
from flambeau.ops.shape import PERMUTE, TRANSPOSE, permute, permuted, transpose

__all__ = ["adjoint", "movedim"]

ndarray = np.ndarray


def moved(source: Any, destination: Any, rank: int) -> tuple[int, ...]:
    """The order of dimensions that ``movedim`` asks for."""
    sources = (source,) if isinstance(source, int) else tuple(source)
    places = (destination,) if isinstance(destination, int) else tuple(destination)
    if isinstance(source, int) != isinstance(destination, int):
        kinds = type(source).__name__, type(destination).__name__
        raise TypeError("movedim() received an invalid combination of arguments - got (Tensor, "
                        f"{kinds[0]}, {kinds[1]})")
    if len(sources) != len(places):
        raise RuntimeError("movedim: Invalid source or destination dims: source "
                           f"({list(sources)} dims) should contain the same number of dims as "
                           f"destination ({list(places)} dims)")
    src = [wrap_dim(d, rank) for d in sources]
    dst = [wrap_dim(d, rank) for d in places]
    for name, given, found in (("source", sources, src), ("destination", places, dst)):
        if len(set(found)) != len(found):
            raise RuntimeError(f"movedim: repeated dim in `{name}` ({list(given)})")
    order = [-1] * rank
    for s, d in zip(src, dst):
        order[d] = s
    rest = iter([d for d in range(rank) if d not in src])
    return tuple([next(rest) if d < 0 else d for d in order])


@functools.lru_cache(256)
def _moved_one(source: int, destination: int, rank: int) -> tuple[int, ...]:
    order = list(range(rank))
    order.insert(wrap_dim(destination, rank), order.pop(wrap_dim(source, rank)))
    return tuple(order)


@public(aliases=("moveaxis",))
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """A view with dimensions ``source`` moved to ``destination``."""
    rank = input._a.ndim
    if not rank:
        return basic(input, (...,))
    if type(source) is int and type(destination) is int:
        dims = _moved_one(source, destination, rank)
    else:
        dims = moved(source, destination, rank)
    found = permuted(input, dims)
    return apply(PERMUTE, (input,), {"dims": dims}) if found is None else found


def _reversed(self: Tensor) -> Tensor:
    rank = self._a.ndim
    if rank not in (0, 2):
        warnings.warn("The use of `x.T` on tensors of dimension other than 2 to reverse their "
                      "shape is deprecated and it will throw an error in a future release. "
                      "Consider `x.mT` to transpose batches of matrices or `x.permute(*"
                      "torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor.",
                      stacklevel=2)
    if rank == 2:
        if type(self._a) is ndarray:
            return dispatch.make_view(TRANSPOSE, self, self._a.T, {"dim0": 0, "dim1": 1})
        return transpose(self, 0, 1)
    return permute(self, tuple(range(rank))[::-1])


def _need_matrices(self: Tensor, name: str) -> None:
    rank = self._a.ndim
    if rank == 1:
        raise RuntimeError(f"tensor.{name} is only supported on matrices or batches of matrices. "
                           "Got 1-D tensor.")


def _matrix_transpose(self: Tensor) -> Tensor:
    a = self._a
    rank = a.ndim
    if rank > 1 and type(a) is ndarray:
        params = {"dim0": rank - 2, "dim1": rank - 1}
        return dispatch.make_view(TRANSPOSE, self, a.mT, params)
    _need_matrices(self, "mT")
    return transpose(self, -2, -1) if self._a.ndim else permute(self, ())


def _conjugated(t: Tensor) -> Tensor:
    return t.conj() if t.dtype.is_complex else t


def _matrix_adjoint(self: Tensor) -> Tensor:
    _need_matrices(self, "mH")
    return _conjugated(transpose(self, -2, -1)) if self._a.ndim else _conjugated(self)


def _adjoint_of_matrix(self: Tensor) -> Tensor:
    rank = self._a.ndim
    if rank not in (0, 2):
        more = (" For batches of matrices, consider using tensor.mH" if rank > 2 else "")
        raise RuntimeError("tensor.H is only supported on matrices (2-D tensors). Got "
                           f"{rank}-D tensor.{more}")
    return _conjugated(transpose(self, 0, 1)) if rank else _conjugated(self)


@public()
def adjoint(input: Tensor) -> Tensor:
    """Matrices transposed and conjugated."""
    if input._a.ndim == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of "
                           "matrices. Got 1-D tensor.")
    return _matrix_adjoint(input)


for _property, _name, _doc in (
        (_reversed, "T", "The dimensions reversed."),
        (_matrix_transpose, "mT", "Matrices transposed."),
        (_matrix_adjoint, "mH", "Matrices transposed and conjugated."),
        (_adjoint_of_matrix, "H", "The matrix transposed and conjugated.")):
    show(property(_property, doc=_doc), _name, "Tensor")
