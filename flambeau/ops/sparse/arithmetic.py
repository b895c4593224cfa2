"""Elementwise operators of sparse tensors: those that keep zero, and arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends.numpy import sparse as kernels
from flambeau.base.shapes import broadcast
from flambeau.core.op import Op
from flambeau.core.pointwise import apply_pointwise
from flambeau.core.promote import result_type
from flambeau.core.sparse_tensor import (
    Compressed,
    Coo,
    Sparse,
    finish,
    is_sparse,
    rule,
    unsupported,
)
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.sparse.layouts import coalesced, dense_array, from_coordinates, to_coordinates

__all__: list[str] = []

ndarray = np.ndarray
# What maps zero to zero is computed of the elements alone.
KEEP_ZERO = """abs asin asinh atan atanh ceil conj conj_physical deg2rad erf erfinv expm1 floor frac
isinf isnan isneginf isposinf log1p nan_to_num rad2deg real relu round round_decimals sgn sign
signbit sin sinh sqrt square tan tanh trunc imag angle"""
MESSAGE = "add(sparse, dense) is not supported. Use add(dense, sparse) instead."


def elements(handle: Sparse) -> Sparse:
    """``handle`` with one element per place."""
    return coalesced(handle) if isinstance(handle, Coo) else handle


def _on_values(op: Op, operands: Sequence[Any], params: dict[str, Any]) -> ndarray:
    """The operator on plain operands, without history."""
    return apply_pointwise(op, operands, params)._a


@rule(*KEEP_ZERO.split())
def _keep_zero(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = elements(inputs[0]._a)
    if op.kind == "pointwise":
        out = _on_values(op, (handle.value,), params)
    else:
        out = op.forward(handle.values, **params)
    return finish(op, inputs, params, handle.with_values(out))


@rule("neg")
def _negate(op: Op, inputs: Any, params: Any) -> Tensor:
    handle = inputs[0]._a
    return finish(op, inputs, params, handle.with_values(_on_values(op, (handle.value,), params)))


@rule("pow")
def _power(op: Op, inputs: Any, params: Any) -> Tensor:
    base, exponent = inputs
    if not is_sparse(base) or isinstance(exponent, Tensor):
        raise unsupported("pow", inputs)
    if exponent == 0:
        raise RuntimeError("pow: cannot raise to zeroth power on sparse tensor; it would make the "
                           "result tensor dense")
    handle = elements(base._a)
    return finish(op, inputs, params,
                  handle.with_values(_on_values(op, (handle.value, exponent), params)))


# Division and products


def _is_scalar(x: Any) -> bool:
    return not isinstance(x, Tensor) or x.ndim == 0 and not is_sparse(x)


@rule("div", "div_floor", "div_trunc", "floor_divide")
def _divide(op: Op, inputs: Any, params: Any) -> Tensor:
    dividend, divisor = inputs
    if not is_sparse(dividend) or not _is_scalar(divisor):
        shape = list(divisor.shape) if isinstance(divisor, Tensor) else []
        raise RuntimeError("Sparse division requires a scalar or zero-dim dense tensor divisor (got"
                           f" shape {shape} for divisor)")
    handle = dividend._a
    handle = elements(handle) if op.name != "div" else handle
    return finish(op, inputs, params,
                  handle.with_values(_on_values(op, (handle.value, divisor), params)))


@rule("mul")
def _multiply(op: Op, inputs: Any, params: Any) -> Tensor:
    left, right = inputs
    if is_sparse(left) and is_sparse(right):
        out: Sparse = _both_sparse(op, left._a, right._a)
    else:
        handle, other = (left._a, right) if is_sparse(left) else (right._a, left)
        if not _is_scalar(other):
            other = wrap(_at_places(other._a, handle))
        pair = (handle.value, other) if is_sparse(left) else (other, handle.value)
        out = handle.with_values(_on_values(op, pair, params))
    return finish(op, inputs, params, out)


def _at_places(a: ndarray, handle: Sparse) -> ndarray:
    """The elements of a dense array, broadcast to the sizes of ``handle``, at its places."""
    whole = np.broadcast_to(a, broadcast(handle.sizes, a.shape))
    if whole.shape != handle.sizes:
        raise RuntimeError(f"mul(sparse, dense): the dense tensor of shape {list(a.shape)} must "
                           f"broadcast to the shape of the sparse one, {list(handle.sizes)}")
    places = handle.places()
    return whole[places] if places else whole[None]


def _both_sparse(op: Op, a: Sparse, b: Sparse) -> Sparse:
    if isinstance(a, Compressed) and isinstance(b, Compressed) and a.kind is b.kind:
        if np.array_equal(a.pointers, b.pointers) and np.array_equal(a.plain, b.plain):
            return a.with_values(_on_values(op, (a.value, b.value), {}))
        product = _both_sparse(op, to_coordinates(a), to_coordinates(b))
        assert isinstance(product, Coo)
        return from_coordinates(product, a.kind)
    if not isinstance(a, Coo) or not isinstance(b, Coo):
        raise unsupported("mul.Tensor", (wrap(a), wrap(b)))
    if a.sparse_dim != b.sparse_dim or a.sizes != b.sizes:
        raise RuntimeError("sparse_binary_op_intersection_cpu(): expects sparse inputs with equal "
                           "dimensionality, number of sparse dimensions, and shape of sparse "
                           "dimensions")
    probe_first = a.coalesced if a.coalesced != b.coalesced else a.count >= b.count
    probed, source = (a, b) if probe_first else (b, a)
    at, there = _found(source, coalesced(probed))
    theirs = wrap(coalesced(probed).values[at[there]])
    ours = wrap(source.values[there])
    values = _on_values(op, (theirs, ours) if probe_first else (ours, theirs), {})
    return Coo(np.ascontiguousarray(source.indices[:, there]), values, a.sizes, source.coalesced)


def _found(source: Coo, probed: Coo) -> tuple[ndarray, ndarray]:
    sizes = source.sizes[:source.sparse_dim]
    return kernels.matches(kernels.keys_of(source.indices, sizes),
                           kernels.keys_of(probed.indices, sizes))


# Sums


@rule("add", "sub")
def _add(op: Op, inputs: Any, params: Any) -> Tensor:
    left, right = inputs
    held = result_type(inputs).np
    if is_sparse(left) and is_sparse(right):
        out: Any = _sum_of(op, left._a, right._a, held)
    elif is_sparse(right):
        out = _dense_plus(op, left, right._a)
    elif isinstance(left._a, Compressed) and isinstance(right, Tensor):
        out = _on_values(op, (wrap(dense_array(left._a)), right), params)
    else:
        raise RuntimeError(MESSAGE)
    return finish(op, inputs, params, out)


def _dense_plus(op: Op, dense: Any, handle: Sparse) -> ndarray:
    if not isinstance(dense, Tensor):
        raise RuntimeError(MESSAGE)
    if tuple(dense.shape) != handle.sizes:
        raise RuntimeError("add: expected 'self' and 'other' to have same size, but self has size "
                           f"{list(dense.shape)} while other has size {list(handle.sizes)} (FYI: "
                           "op2-sparse addition does not currently support broadcasting)")
    return _on_values(op, (dense.detach(), wrap(dense_array(handle))), {})


def _sum_of(op: Op, a: Sparse, b: Sparse, held: np.dtype) -> Sparse:
    if a.sizes != b.sizes:
        raise RuntimeError("add: expected sizes of 'self' and 'other' to match, but "
                           f"{list(a.sizes)} != {list(b.sizes)}")
    if isinstance(a, Compressed) and isinstance(b, Compressed) and a.kind is b.kind:
        if np.array_equal(a.pointers, b.pointers) and np.array_equal(a.plain, b.plain):
            return a.with_values(_on_values(op, (a.value, b.value), {}))
        both = _sum_of(op, to_coordinates(a), to_coordinates(b), held)
        assert isinstance(both, Coo)
        return from_coordinates(both, a.kind)
    if not isinstance(a, Coo) or not isinstance(b, Coo):
        raise unsupported("add.Tensor", (wrap(a), wrap(b)))
    if a.sparse_dim != b.sparse_dim:
        raise RuntimeError("add: expected 'self' and 'other' to have same number of sparse "
                           f"dimensions, but {a.sparse_dim} != {b.sparse_dim}")
    x, y = a.values.astype(held, copy=False), b.values.astype(held, copy=False)
    if op.name == "sub":
        y = np.negative(y)
    if not (x.flags.c_contiguous and y.flags.c_contiguous):
        return Coo(np.concatenate([a.indices, b.indices], 1), np.concatenate([x, y]), a.sizes)
    return _merged(a, b, x, y)


def _merged(a: Coo, b: Coo, x: ndarray, y: ndarray) -> Coo:
    sizes = a.sizes[:a.sparse_dim]
    first, second = kernels.merge(kernels.keys_of(a.indices, sizes),
                                  kernels.keys_of(b.indices, sizes))
    mine, theirs = first >= 0, second >= 0
    indices = np.empty((a.sparse_dim, first.size), np.int64)
    indices[:, theirs] = b.indices[:, second[theirs]]
    indices[:, mine] = a.indices[:, first[mine]]
    values = np.zeros((first.size, *x.shape[1:]), x.dtype)
    values[mine] = x[first[mine]]
    values[theirs] += y[second[theirs]]
    return Coo(indices, values, a.sizes, a.coalesced and b.coalesced)
