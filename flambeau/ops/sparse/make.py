"""Making sparse tensors from coordinates, and the checks of their invariants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends.numpy import sparse as kernels
from flambeau.base.device import as_device, strided
from flambeau.base.dtypes import dtype, int64
from flambeau.core.face import public
from flambeau.core.sparse_tensor import Coo
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.copy import cast
from flambeau.ops.create import tensor
from flambeau.ops.sparse.layouts import check_places, layout_name
from flambeau.ops.sparse.parts import with_values

__all__ = ["INVARIANTS", "as_values", "empty_coo", "sparse_coo_tensor"]


class _Invariants:
    """Whether tensors are checked when they are made."""

    checked = False


INVARIANTS = _Invariants()
_FORMS = ("expected one of:\n * (object indices, object values, *, torch.dtype dtype = None, "
          "torch.device device = None, bool pin_memory = False, bool requires_grad = False, bool "
          "check_invariants = None)\n * (object indices, object values, tuple of ints size, ...)\n"
          " * (tuple of ints size, ...)")


def as_values(values: Any, to: dtype | None) -> Tensor:
    """Elements as a tensor, sharing the memory of one; a number becomes one element."""
    t = values if isinstance(values, Tensor) else tensor(values)
    if t.layout is not strided:
        raise RuntimeError("expected values to be a dense tensor, but got values of layout "
                           f"{layout_name(t.layout)}")
    t = t if to is None else cast(t, to)
    return t if t.ndim else t.reshape(1)


def as_indices(indices: Any) -> np.ndarray:
    """Indices as an int64 array, sharing the memory of such a tensor."""
    t = indices if isinstance(indices, Tensor) else tensor(indices)
    return cast(t, int64)._a


def _sizes_in(size: Any) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple([int(n) for n in size])


def empty_coo(size: Sequence[int], held: np.dtype, sparse_dim: int | None = None) -> Coo:
    """A sparse value without elements."""
    sparse_dim = len(size) if sparse_dim is None else sparse_dim
    return Coo(np.zeros((sparse_dim, 0), np.int64), np.zeros((0, *size[sparse_dim:]), held), size,
               True)


def _parse(args: tuple, named: dict[str, Any]) -> tuple:
    """indices, values and size, from whichever form was used."""
    for at, name in enumerate(("indices", "values", "size")):
        if at < len(args) and name in named:
            raise TypeError(f"sparse_coo_tensor() got multiple values for argument '{name}'")
    found = dict(zip(("indices", "values", "size"), args), **named)
    if set(found) == {"indices"}:
        size = found["indices"]
        if isinstance(size, Tensor):
            raise TypeError("sparse_coo_tensor(): argument 'size' (position 1) must be tuple of "
                            "ints, not Tensor")
        found = {"size": size}
    if len(args) > 3 or not found or len(found.keys() & {"indices", "values"}) == 1:
        got = ", ".join([type(a).__name__ for a in args])
        raise TypeError("sparse_coo_tensor() received an invalid combination of arguments - got "
                        f"({got}), but {_FORMS}")
    return found.get("indices"), found.get("values"), found.get("size")


def _check_shapes(places: np.ndarray, values: np.ndarray) -> None:
    if places.ndim != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(places.shape)}")
    if places.shape[1] != values.shape[0]:
        raise RuntimeError("indices and values must have same nnz, but got nnz from indices: "
                           f"{places.shape[1]}, nnz from values: {values.shape[0]}")


def _check_size(places: np.ndarray, values: np.ndarray, sizes: tuple[int, ...]) -> None:
    sparse, dense = places.shape[0], values.ndim - 1
    if len(sizes) != sparse + dense:
        raise RuntimeError("'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = "
                           f"{len(sizes)}, sparse_dim = {sparse}, dense_dim = {dense}")
    want = [places.shape[1], *sizes[sparse:]]
    if want != list(values.shape):
        raise RuntimeError(f"values has incorrect size, expected {want}, got "
                           f"{list(values.shape)}")


def _inferred(places: np.ndarray, values: np.ndarray) -> tuple[int, ...]:
    if places.size and places.min() < 0:
        d, at = np.argwhere(places < 0)[0]
        raise RuntimeError(f"found negative index {places[d, at]} for dim {d}")
    lead = places.max(1) + 1 if places.shape[1] else np.zeros(places.shape[0], np.int64)
    return (*lead.tolist(), *values.shape[1:])


def _check_coalesced(a: Coo) -> None:
    keys = kernels.keys_of(a.indices, a.sizes[:a.sparse_dim])
    if (keys[1:] <= keys[:-1]).any():
        raise RuntimeError("cannot set is_coalesced to true if indices correspond to uncoalesced "
                           "COO tensor")


@public("torch")
def sparse_coo_tensor(*args: Any, dtype: dtype | None = None, device: Any = None,
                      pin_memory: bool = False, requires_grad: bool = False,
                      check_invariants: bool | None = None, is_coalesced: bool | None = None,
                      layout: Any = None, **named: Any) -> Tensor:
    """A sparse tensor by coordinates: ``sparse_coo_tensor(indices, values, size)``.

    ``indices`` is (sparse dimensions, elements), ``values`` (elements, ...); what of ``size``
    goes beyond the sparse dimensions is dense. Without ``size`` it is as large as the indices
    ask; ``size`` alone gives a tensor without elements. Elements of one place are added.
    ``check_invariants`` refuses indices outside of ``size``.

    >>> import flambeau as torch
    >>> torch.sparse_coo_tensor([[0, 1], [2, 0]], [3.0, 4.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 0.]])
    """
    as_device(device)
    indices, values, size = _parse(args, named)
    if indices is None:
        held = (dtype or tensor(0.0).dtype).np
        return wrap(empty_coo(_sizes_in(size), held)).requires_grad_(requires_grad)
    elements, places = as_values(values, dtype), as_indices(indices)
    _check_shapes(places, elements._a)
    sizes = _inferred(places, elements._a) if size is None else _sizes_in(size)
    _check_size(places, elements._a, sizes)
    order = places.shape[1] < 2 if is_coalesced is None else is_coalesced
    pattern = Coo(places, elements._a, sizes, order)
    if INVARIANTS.checked if check_invariants is None else check_invariants:
        check_places(pattern)
        if is_coalesced:
            _check_coalesced(pattern)
    made = with_values(elements, pattern)
    return made.requires_grad_(True) if requires_grad else made
