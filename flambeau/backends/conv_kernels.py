"""Convolutions of any number of axes up to three: kernels where the work is large, else NumPy.

The functions are those of `backends.numpy.conv`, with the same arguments and results, but that
`conv_nd` takes a bias as well. Kernels take float32, float64 and, by way of float32, the half
types; other dtypes, negative padding and more axes are NumPy's.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.backends import conv_products, large
from flambeau.backends.conversions import HALVES, astype
from flambeau.backends.numpy import conv as plain
from flambeau.backends.numpy.conv import Geometry, Ints, Padding, geometry_of

# multiplications from which a kernel is sooner done
MIN_WORK = 1 << 18
FLOATS = (np.float32, np.float64)


def _kernels(arrays: Sequence[np.ndarray], geo: Geometry, work: int) -> Any:
    """The module of kernels; None where NumPy is to do it."""
    if work < MIN_WORK or len(geo.out) > 3 or 0 in geo.out:
        return None
    d = arrays[0].dtype
    if any(a.dtype != d or a.size == 0 for a in arrays):
        return None
    if not (d.type in FLOATS or d.name in HALVES) or any(p < 0 for pair in geo.pads for p in pair):
        return None
    if large.load() is None:
        return None
    # llvmlite is there, and imported
    from flambeau.backends.llvm import conv_ways

    return conv_ways


def _three(values: Sequence[int], fill: int) -> tuple[int, int, int]:
    return (*[fill] * (3 - len(values)), *values)  # type: ignore[return-value]


def _cube(size: Sequence[int], geo: Geometry) -> Any:
    """The geometry on three axes."""
    from flambeau.backends.llvm import conv  # it is imported where there are kernels

    before = [pair[0] for pair in geo.pads]
    return conv.Geometry(_three(size, 1), _three(geo.kernel, 1), _three(geo.out, 1),
                         _three(geo.stride, 1), _three(geo.dilation, 1), _three(before, 0),
                         geo.groups)


def _wide(a: np.ndarray) -> np.ndarray:
    """The array on three axes, in what it is computed in."""
    a = astype(a, np.dtype(np.float32)) if a.dtype.name in HALVES else a
    return a.reshape(*a.shape[:2], *_three(a.shape[2:], 1))


def _done(found: np.ndarray, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    found = found.reshape(shape)
    return found if found.dtype == dtype else astype(found, dtype)


def conv_nd(
    x: np.ndarray,
    w: np.ndarray,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Cross-correlate x (N, C, *S) with w (O, C / groups, *K): (N, O, *out), plus bias (O).

    >>> conv_nd(np.arange(5.0).reshape(1, 1, 5), np.ones((1, 1, 2)))
    array([[[1., 3., 5., 7.]]])
    """
    geo = geometry_of(x.shape[2:], w.shape[2:], stride, padding, dilation, groups)
    work = x.shape[0] * math.prod(geo.out) * w.size
    kernels = _kernels((x, w), geo, work)
    if kernels is None:
        return add_bias(plain.conv_nd(x, w, stride, padding, dilation, groups), bias)
    start = None
    if conv_products.fits(geo, x.shape[2:]):
        found = conv_products.forward(_wide(x), _wide(w))
    else:
        if bias is not None and bias.dtype == x.dtype and x.dtype in FLOATS:
            start = bias
        found = kernels.forward(_wide(x), _wide(w), _cube(x.shape[2:], geo), start)
    found = _done(found, (x.shape[0], w.shape[0], *geo.out), x.dtype)
    return found if start is not None else add_bias(found, bias)


def add_bias(out: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Add a number to each channel of out (N, O, *out), in place; returns it."""
    if bias is not None:
        out += bias.reshape(-1, *(1,) * (out.ndim - 2))
    return out


def conv_nd_input_grad(
    g: np.ndarray,
    w: np.ndarray,
    input_shape: Sequence[int],
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> np.ndarray:
    """The transpose of conv_nd in x: g (N, O, *out) and w give an array of input_shape.

    >>> conv_nd_input_grad(np.ones((1, 1, 4)), np.ones((1, 1, 2)), (1, 1, 5))
    array([[[1., 2., 2., 2., 1.]]])
    """
    geo = geometry_of(input_shape[2:], w.shape[2:], stride, padding, dilation, groups)
    geo = geo._replace(out=g.shape[2:])
    work = g.shape[0] * math.prod(geo.out) * w.size
    kernels = _kernels((g, w), geo, work) if math.prod(input_shape) else None
    if kernels is None:
        return plain.conv_nd_input_grad(g, w, input_shape, stride, padding, dilation, groups)
    if conv_products.fits(geo, tuple(input_shape[2:])):
        found = conv_products.input_gradient(_wide(g), _wide(w))
    else:
        found = kernels.input_gradient(_wide(g), _wide(w), _cube(input_shape[2:], geo))
    return _done(found, input_shape, g.dtype)


def conv_nd_weight_grad(
    g: np.ndarray,
    x: np.ndarray,
    weight_shape: Sequence[int],
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> np.ndarray:
    """The transpose of conv_nd in w: g (N, O, *out) and x give an array of weight_shape.

    >>> conv_nd_weight_grad(np.ones((1, 1, 4)), np.arange(5.0).reshape(1, 1, 5), (1, 1, 2))
    array([[[ 6., 10.]]])
    """
    geo = geometry_of(x.shape[2:], weight_shape[2:], stride, padding, dilation, groups)
    geo = geo._replace(out=g.shape[2:])
    work = g.shape[0] * math.prod(geo.out) * math.prod(weight_shape)
    kernels = _kernels((g, x), geo, work)
    if kernels is None:
        return plain.conv_nd_weight_grad(g, x, weight_shape, stride, padding, dilation, groups)
    if conv_products.fits_weights(geo, x.shape[2:]):
        found = conv_products.weight_gradient(_wide(g), _wide(x))
    else:
        found = kernels.weight_gradient(_wide(g), _wide(x), _cube(x.shape[2:], geo))
    return _done(found, weight_shape, g.dtype)
