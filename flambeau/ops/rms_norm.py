"""Normalisation by the root mean square, as one operator where the input is large."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from flambeau.backends import large, norm_kernels
from flambeau.backends.row_kernels import MIN_ITEMS
from flambeau.base import dtypes
from flambeau.base.limits import finfo
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import composite
from flambeau.core.modes import MODES
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.activation import FUNCTIONAL, not_implemented, require_tensor
from flambeau.ops.norm import check_normalized

__all__ = ["rms_norm"]

ndarray = np.ndarray
FLOATS = (np.float32, np.float64)


def _composed(x: Tensor, w: Tensor | None, dims: tuple[int, ...], eps: float) -> Tensor:
    y = x * (x.pow(2).mean(dims, keepdim=True) + eps).rsqrt()
    return y if w is None else y * w


def _compose(x: Tensor, w: Tensor | None, dims: tuple[int, ...], eps: float) -> tuple:
    rstd = (x.pow(2).mean(dims, keepdim=True) + eps).rsqrt()
    return _composed(x, w, dims, eps), rstd.reshape(-1, 1)


def _forward(x: ndarray, w: ndarray | None, dims: tuple[int, ...], eps: float) -> tuple:
    found = norm_kernels.rms_norm(x, w, math.prod(x.shape[dims[0]:]), eps)
    assert found is not None, "asked for where the input is large"
    return found


def _slope_of_tensors(g: Tensor, x: Tensor, w: Tensor | None, rstd: Tensor, wanted: tuple,
                      dims: tuple[int, ...], eps: float) -> tuple:
    scale = (x.pow(2).mean(dims, keepdim=True) + eps).rsqrt()
    found = []
    if wanted[0]:
        gw = g if w is None else g * w
        found.append((gw - x * ((gw * x).mean(dims, keepdim=True) * scale.pow(2))) * scale)
    if wanted[1]:
        lead = tuple(range(dims[0]))
        found.append((g * (x * scale)).sum(lead) if lead else g * (x * scale))
    return tuple(found)


def _slope(g: ndarray, x: ndarray, w: ndarray | None, rstd: ndarray, wanted: tuple,
           dims: tuple[int, ...], eps: float) -> list:
    size = math.prod(x.shape[dims[0]:])
    found = norm_kernels.rms_norm_backward(g, x, w, rstd, size, wanted)
    assert found is not None, "asked for where the input is large"
    return found


RMS_NORM_BACKWARD = composite(
    "rms_norm_backward", _slope_of_tensors, _slope, multiple=True, widen=False,
    inputs=("grad", "input", "weight", "rstd"), params=("wanted", "dims", "eps"))


def _joint(g: tuple, needs: tuple, input: Tensor, weight: Tensor | None, out: tuple,
           dims: tuple[int, ...], eps: float) -> list:
    if g[0] is None:
        return [None, None]
    inputs = (g[0], input, weight, out[1].detach())
    params = {"wanted": needs, "dims": dims, "eps": eps}
    arrays = [None if t is None else t._a for t in inputs]
    if MODES.grad or any(a is not None and type(a) is not ndarray for a in arrays):
        found = list(apply(RMS_NORM_BACKWARD, inputs, params))
    else:
        found = [wrap(a) for a in RMS_NORM_BACKWARD.forward(*arrays, **params)]
    grads = [found.pop(0) if need else None for need in needs]
    if grads[1] is not None and grads[1]._a.shape != weight._a.shape:  # type: ignore[union-attr]
        grads[1] = grads[1].reshape(weight._a.shape)  # type: ignore[union-attr]
    return grads


RMS_NORM = composite("rms_norm", _compose, _forward, inputs=("input", "weight"), node="Mul",
                     params=("dims", "eps"), joint=_joint, multiple=True, widen=False)
RMS_NORM.node_type.materialize = False  # type: ignore[attr-defined]


def _is_large(x: ndarray, w: Tensor | None) -> bool:
    if type(x) is not ndarray or x.size < MIN_ITEMS or x.dtype.type not in FLOATS:
        return False
    fits = w is None or (type(w._a) is ndarray and w._a.dtype == x.dtype)
    return fits and large.available()


@public("torch", FUNCTIONAL)
def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:
    """Divide by the root mean square over the last dimensions (arXiv:1910.07467).

    ``eps`` is the dtype's smallest step from 1 where it is None.

    >>> import flambeau as torch
    >>> torch.nn.functional.rms_norm(torch.tensor([3.0, 3.0]), (2,))
    tensor([1., 1.])
    """
    a = require_tensor("rms_norm", input)
    shape = check_normalized("rms_norm", "*", a.shape, normalized_shape, weight)
    held = input.dtype
    if held.category < dtypes.FLOAT:
        raise not_implemented("rms_norm", input)
    wide = input.to(dtypes.float32) if held.itemsize < 4 else input
    if eps is None:
        eps = finfo(wide.dtype).eps
    dims = tuple(range(a.ndim - len(shape), a.ndim))
    if _is_large(wide._a, weight):
        y = apply(RMS_NORM, (wide, weight), {"dims": dims, "eps": eps})[0]
    else:
        y = _composed(wide, weight, dims, eps)
    return y if y.dtype is held else y.to(held)
