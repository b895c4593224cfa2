"""Sums with a scaled product or quotient, and interpolation between two tensors."""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.backends import fused
from flambeau.backends.updates import fma
from flambeau.base import dtypes
from flambeau.core.face import public
from flambeau.core.kinds import pointwise
from flambeau.core.promote import result_type
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import conj_of

ndarray = np.ndarray


def _product_added(x: Any, a: Any, b: Any, value: Any) -> Any:
    return x + a * b * value


def _quotient_added(x: Any, a: Any, b: Any, value: Any) -> Any:
    return x + a * value / b


def _addcmul(x: ndarray, a: ndarray, b: ndarray, value: Any) -> ndarray:
    if x.size >= fused.MIN_ITEMS:
        found = fused.pointwise(_product_added, (x, a, b, value), on=False)
        if found is not None:
            return found
    product = np.multiply(a, b, out=...)
    if value != 1:
        np.multiply(product, _as_scalar(value, x.dtype), product)
    return np.add(x, product, out=...)


def _addcdiv(x: ndarray, a: ndarray, b: ndarray, value: Any) -> ndarray:
    if x.size >= fused.MIN_ITEMS:
        found = fused.pointwise(_quotient_added, (x, a, b, value), on=False)
        if found is not None:
            return found
    scaled = a if value == 1 else np.multiply(a, _as_scalar(value, a.dtype), out=...)
    return np.add(x, np.divide(scaled, b, out=...), out=...)


fused_multiply_add = pointwise(
    "fma", fma,
    (lambda g, factor: g * conj_of(factor), lambda g, input: g * conj_of(input), lambda g: g),
    inputs=("input", "factor", "addend"), places=None)


def _as_scalar(value: Any, held: np.dtype) -> ndarray:
    return np.asarray(value, held) if held.kind in "fc" else np.asarray(value).astype(held)


_TRIPLE = ("input", "tensor1", "tensor2")
_addcmul_op = pointwise(
    "addcmul", _addcmul,
    (lambda g: g, lambda g, tensor2, value: g * conj_of(tensor2 * value),
     lambda g, tensor1, value: g * conj_of(tensor1 * value)),
    inputs=_TRIPLE, params=("value",), places=None, quick=True, refuses={"b": "addcmul_cpu_out"})
_addcdiv_op = pointwise(
    "addcdiv", _addcdiv,
    (lambda g: g, lambda g, tensor2, value: g * conj_of(value / tensor2),
     lambda g, tensor1, tensor2, value: -g * conj_of(value * tensor1 / (tensor2 * tensor2))),
    inputs=_TRIPLE, params=("value",), places=None, quick=True)


@public("torch", "Tensor", out=True, inplace=True)
def addcmul(input: Tensor, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``, broadcast."""
    return _addcmul_op(input, tensor1, tensor2, value=value)


@public("torch", "Tensor", out=True, inplace=True)
def addcdiv(input: Tensor, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``, broadcast; of floating tensors."""
    if result_type([tensor1, tensor2]).category < dtypes.FLOAT:
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release "
            "addcdiv will perform a true division of tensor1 and tensor2. The historic addcdiv "
            "behavior can be implemented as (input + value * torch.trunc(tensor1 / tensor2))"
            ".to(input.dtype) for integer inputs and as (input + value * tensor1 / tensor2) for "
            "float inputs. The future addcdiv behavior is just the latter implementation: (input "
            "+ value * tensor1 / tensor2), for all dtypes.")
    return _addcdiv_op(input, tensor1, tensor2, value=value)


def _from_start(start: Any, end: Any, weight: Any) -> Any:
    return start + weight * (end - start)


def _from_end(start: Any, end: Any, weight: Any) -> Any:
    return end - (end - start) * (1 - weight)


def _from_nearer(on: Any, start: Any, end: Any, weight: Any) -> Any:
    return on.where(on.abs(weight) < 0.5, _from_start(start, end, weight),
                    _from_end(start, end, weight))


def _lerp_large(start: ndarray, end: ndarray, weight: ndarray) -> ndarray | None:
    if weight.ndim:
        return fused.pointwise(_from_nearer, (start, end, weight))
    formula = _from_start if abs(weight) < 0.5 else _from_end
    return fused.pointwise(formula, (start, end, weight), on=False)


def _lerp(start: ndarray, end: ndarray, weight: ndarray) -> ndarray:
    # From the nearer end, so that weights 0 and 1 give exactly the ends.
    if start.size >= fused.MIN_ITEMS:
        found = _lerp_large(start, end, weight)
        if found is not None:
            return found
    step = np.subtract(end, start, out=...)
    if not weight.ndim:
        if abs(weight) < 0.5:
            return np.add(start, weight * step, out=...)
        return np.subtract(end, step * (1 - weight), out=...)
    near = np.abs(weight) < 0.5
    return np.where(near, start + weight * step, end - step * (1 - weight))


_lerp_op = pointwise(
    "lerp", _lerp,
    (lambda g, weight: g * conj_of(1 - weight), lambda g, weight: g * conj_of(weight),
     lambda g, input, end: g * conj_of(end - input)),
    inputs=("input", "end", "weight"), places=None, quick=True,
    refuses={"bi": "lerp_kernel_scalar"})


@public("torch", "Tensor", out=True, inplace=True)
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """``input + weight * (end - input)``; all tensors of one dtype.

    >>> import flambeau as torch
    >>> torch.lerp(torch.zeros(2), torch.ones(2), 0.25)
    tensor([0.2500, 0.2500])
    """
    for name, t in (("end", end), ("weight", weight)):
        if isinstance(t, Tensor) and t._a.dtype != input._a.dtype:
            have, want = (str(x.dtype).split(".")[-1].replace("32", "").replace("float64", "double")
                          for x in (t, input))
            raise RuntimeError(f"expected dtype {want} for `{name}` but got dtype {have}")
    return _lerp_op(input, end, weight)

__all__ = ["addcdiv", "addcmul", "fused_multiply_add", "lerp"]
