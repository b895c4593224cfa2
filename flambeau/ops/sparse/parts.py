"""The parts of a sparse tensor: its indices, its elements, how many there are."""

from __future__ import annotations

from typing import Any

from flambeau.base.device import strided
from flambeau.core.face import public, show
from flambeau.core.op import Op
from flambeau.core.sparse_tensor import BY_ROW, Compressed, Coo, Sparse, finish, rule, run
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.sparse import layouts
from flambeau.ops.sparse.layouts import layout_name

__all__ = ["PICK", "WITH_VALUES", "need_coo", "need_tensor", "picked", "with_values"]

def need_tensor(name: str, argument: str, value: Any) -> None:
    """Raise where the first argument of a method is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}(): argument '{argument}' (position 1) must be Tensor, not "
                        f"{type(value).__name__}")


def need_coo(name: str, t: Tensor) -> Coo:
    """The handle of ``t``; RuntimeError where it is not in coordinates."""
    if not isinstance(t._a, Coo):
        raise RuntimeError(f"{name} expected sparse coordinate tensor layout but got "
                           f"{layout_name(t.layout)}")
    return t._a


def _refuse_dense(name: str, t: Tensor, kind: str) -> None:
    if t.layout is strided:
        raise RuntimeError(f"{name} expected {kind} tensor layout but got Strided")


# Elements in and out of the pattern of a sparse tensor: each is the other's derivative.


PICK = Op("sparse_pick", layouts.pick, ("input",), kind="sparse", params=("pattern",),
          formulas=(lambda g, pattern: with_values(g, pattern),), node="SparseMask")
PICK_DENSE = Op("sparse_pick_dense", layouts.pick, ("input",), kind="sparse", params=("pattern",),
                formulas=(lambda g, pattern: with_values(g, pattern).to_dense(),),
                node="SparseMask")
WITH_VALUES = Op("sparse_with_values", lambda a, pattern: pattern.with_values(a), ("values",),
                 kind="sparse", params=("pattern",),
                 formulas=(lambda g, pattern: picked(g, pattern),),
                 node="SparseCooTensorWithDimsAndTensors")


WITH_COMPRESSED = Op("sparse_with_compressed", lambda a, pattern: pattern.with_values(a),
                     ("values",), kind="sparse", params=("pattern",),
                     formulas=(lambda g, pattern: picked(g, pattern),),
                     node="SparseCompressedTensor")


def picked(t: Tensor, pattern: Sparse) -> Tensor:
    """The elements of ``t`` at the places of ``pattern``, as a plain tensor."""
    op = PICK if isinstance(t._a, Sparse) else PICK_DENSE
    return run(op, (t,), {"pattern": pattern})


def with_values(values: Tensor, pattern: Sparse) -> Tensor:
    """The sparse tensor with the places of ``pattern`` and these elements."""
    op = WITH_VALUES if isinstance(pattern, Coo) else WITH_COMPRESSED
    return run(op, (values,), {"pattern": pattern})


VALUES = Op("sparse_values", lambda a: a.values, ("input",), kind="sparse", node="Values",
            formulas=(lambda g, input: with_values(g, input._a),))


@public("Tensor")
def values(self: Tensor) -> Tensor:
    """The elements that are kept, in the memory of the tensor; gradients flow back."""
    _refuse_dense("values", self, "sparse")
    if isinstance(self._a, Coo) and not self._a.coalesced:
        raise RuntimeError("Cannot get values on an uncoalesced tensor, please call .coalesce() "
                           "first")
    return run(VALUES, (self,), {})


@public("Tensor")
def indices(self: Tensor) -> Tensor:
    """The coordinates, (sparse dimensions, elements), of a coalesced tensor."""
    handle = need_coo("indices", self)
    if not handle.coalesced:
        raise RuntimeError("Cannot get indices on an uncoalesced tensor, please call .coalesce() "
                           "first")
    return wrap(handle.indices)


@public("Tensor")
def _indices(self: Tensor) -> Tensor:
    """The coordinates as they are, coalesced or not."""
    return wrap(_need_sparse("_indices", self, Coo).indices)


@public("Tensor")
def _values(self: Tensor) -> Tensor:
    """The elements as they are, coalesced or not; without history."""
    return wrap(_need_sparse("_values", self, Sparse).values)


@public("Tensor")
def _nnz(self: Tensor) -> int:
    """How many elements (or blocks) are kept."""
    return _need_sparse("_nnz", self, Sparse).count


def _need_sparse(name: str, t: Tensor, kind: type) -> Any:
    if not isinstance(t._a, kind):
        raise NotImplementedError(f"Could not run 'aten::{name}' with arguments from the 'CPU' "
                                  "backend.\n\n  the tensor is not sparse: use to_sparse() first.")
    return t._a


@public("Tensor")
def is_coalesced(self: Tensor) -> bool:
    """Whether the coordinates are in order and each appears once."""
    return need_coo("is_coalesced", self).coalesced


@public("Tensor")
def _coalesced_(self: Tensor, coalesced: bool) -> Tensor:
    """Say whether the tensor is coalesced; nothing is checked."""
    need_coo("_coalesced_", self).coalesced = coalesced
    return self


@public("Tensor", aliases=("_dimI",))
def sparse_dim(self: Tensor) -> int:
    """How many dimensions are sparse; 0 for a dense tensor."""
    handle = self._a
    if isinstance(handle, Coo):
        return handle.sparse_dim
    return 2 if isinstance(handle, Compressed) else 0


@public("Tensor", aliases=("_dimV",))
def dense_dim(self: Tensor) -> int:
    """How many dimensions are dense; all of a dense tensor."""
    handle = self._a
    if isinstance(handle, Coo):
        return len(handle.sizes) - handle.sparse_dim
    if isinstance(handle, Compressed):
        return len(handle.sizes) - len(handle.batch) - 2
    return len(handle.shape)


def _compressed_part(name: str, by_row: bool, pointers: bool) -> None:
    def part(self: Tensor) -> Tensor:
        handle = self._a
        if not isinstance(handle, Compressed) or (handle.kind in BY_ROW) is not by_row:
            kind = "row" if by_row else "column"
            raise RuntimeError(f"{name} expected sparse {kind} compressed tensor layout but got "
                               f"{layout_name(self.layout)}")
        return wrap(handle.pointers if pointers else handle.plain)

    part.__name__ = part.__qualname__ = name
    what = "Where each row begins" if by_row else "Where each column begins"
    one = "The column of each element" if by_row else "The row of each element"
    part.__doc__ = f"{what if pointers else one}."
    show(part, name, "Tensor")


_compressed_part("crow_indices", True, True)
_compressed_part("col_indices", True, False)
_compressed_part("ccol_indices", False, True)
_compressed_part("row_indices", False, False)


@rule("detach", "alias")
def _detach(op: Op, inputs: Any, params: Any) -> Tensor:
    return finish(op, inputs, params, inputs[0]._a)


@rule("clone")
def _clone(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = inputs[0]._a
    copied = handle.with_values(handle.values.copy())
    if isinstance(copied, Coo):
        copied.indices = copied.indices.copy()
    else:
        copied.pointers, copied.plain = copied.pointers.copy(), copied.plain.copy()
    return finish(op, inputs, params, copied)


@rule("to_dtype")
def _to_dtype(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = inputs[0]._a
    if handle.values.dtype == params["dtype"].np:
        return inputs[0]
    return finish(op, inputs, params, handle.with_values(op.forward(handle.values, **params)))
