"""Convolutions of any number of axes up to three: kernels where the work is large, else NumPy.

The functions are those of `backends.numpy.conv`, with the same arguments and results, but that
`conv_nd` takes a bias as well. Kernels take float32, float64 and, by way of float32, the half
types; other dtypes, negative padding and more axes are NumPy's.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends import conv_products, large
from flambeau.backends.conversions import HALVES, astype
from flambeau.backends.numpy import conv as plain
from flambeau.backends.numpy.conv import Geometry, Ints, Padding, geometry_of

# multiplications from which a kernel is sooner done
MIN_WORK = 1 << 14
FLOATS = (np.float32, np.float64)
FORWARD, INPUT, WEIGHT = "forward", "input_gradient", "weight_gradient"

Shape = tuple[int, ...]
Run = Callable[..., np.ndarray]


def _run(name: str, a: np.ndarray, b: np.ndarray, geo: Geometry, result: Shape) -> Run | None:
    """How kernels compute a map of these arrays, or None where NumPy is to do it."""
    if a.dtype != b.dtype or large.load() is None:
        return None
    return _run_of(name, a.shape, b.shape, a.dtype, geo, result, MIN_WORK)


@functools.lru_cache(maxsize=512)
def _run_of(name: str, a: Shape, b: Shape, dtype: np.dtype, geo: Geometry, result: Shape,
            min_work: int) -> Run | None:
    if not _is_covered(dtype, geo) or 0 in (*a, *b, *result):
        return None
    weight = result if name == WEIGHT else b
    if a[0] * math.prod(geo.out) * math.prod(weight) < min_work:
        return None
    size = {FORWARD: a, INPUT: result, WEIGHT: b}[name][2:]
    compute, takes_bias = _computed(name, geo, size)
    first, second = _on_three_axes(a), _on_three_axes(b)
    if dtype.name not in HALVES:
        return _dense(compute, takes_bias, (first, second, result))
    single = np.dtype(np.float32)

    def by_single(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        wide = compute(astype(a, single).reshape(first), astype(b, single).reshape(second))
        return add_bias(astype(wide.reshape(result), dtype), bias)

    return by_single


def _dense(compute: Run, takes_bias: bool, shapes: tuple[Shape, Shape, Shape]) -> Run:
    first, second, result = shapes

    def run(a: np.ndarray, b: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        a, b = a.reshape(first), b.reshape(second)
        if bias is None:
            return compute(a, b).reshape(result)
        if takes_bias and bias.dtype == a.dtype:
            return compute(a, b, bias).reshape(result)
        return add_bias(compute(a, b).reshape(result), bias)

    return run


def _is_covered(dtype: np.dtype, geo: Geometry) -> bool:
    if len(geo.out) > 3 or 0 in geo.out or any(p < 0 for pair in geo.pads for p in pair):
        return False
    return dtype.type in FLOATS or dtype.name in HALVES


def _computed(name: str, geo: Geometry, size: Shape) -> tuple[Run, bool]:
    """The function of two arrays on three axes, and whether it takes a bias as well."""
    fits = conv_products.fits_weights if name == WEIGHT else conv_products.fits
    if fits(geo, size):
        found: Run = getattr(conv_products, name)
        return found, False
    # llvmlite is there, and imported
    from flambeau.backends.llvm import conv_ways

    by_kernels, cube = getattr(conv_ways, name), _cube(size, geo)
    return lambda a, b, *bias: by_kernels(a, b, cube, *bias), name == FORWARD


def _three(values: Sequence[int], fill: int) -> tuple[int, int, int]:
    return (*[fill] * (3 - len(values)), *values)  # type: ignore[return-value]


def _on_three_axes(shape: Shape) -> Shape:
    return (*shape[:2], *_three(shape[2:], 1))


def _cube(size: Sequence[int], geo: Geometry) -> Any:
    """The geometry on three axes."""
    from flambeau.backends.llvm import conv  # as above

    before = [pair[0] for pair in geo.pads]
    return conv.Geometry(_three(size, 1), _three(geo.kernel, 1), _three(geo.out, 1),
                         _three(geo.stride, 1), _three(geo.dilation, 1), _three(before, 0),
                         geo.groups)


def add_bias(out: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """Add a number to each channel of out (N, O, *out), in place; returns it."""
    if bias is not None:
        out += bias.reshape(-1, *(1,) * (out.ndim - 2))
    return out


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
    run = _run(FORWARD, x, w, geo, (x.shape[0], w.shape[0], *geo.out))
    if run is None:
        return add_bias(plain.conv_nd(x, w, stride, padding, dilation, groups), bias)
    return run(x, w, bias)


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
    run = _run(INPUT, g, w, geo._replace(out=g.shape[2:]), tuple(input_shape))
    if run is None:
        return plain.conv_nd_input_grad(g, w, input_shape, stride, padding, dilation, groups)
    return run(g, w)


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
    run = _run(WEIGHT, g, x, geo._replace(out=g.shape[2:]), tuple(weight_shape))
    if run is None:
        return plain.conv_nd_weight_grad(g, x, weight_shape, stride, padding, dilation, groups)
    return run(g, x)
