"""Convolution (cross-correlation, as in neural networks) over any number of axes.

Three maps of two arguments, each linear in both:

    conv_nd(x, w)              = C   (N, O, *out)
    conv_nd_input_grad(g, w)   = I   shaped like x
    conv_nd_weight_grad(g, x)  = W   shaped like w

They are one trilinear form <g, C(x, w)> with one argument left out, so they are closed under
differentiation. With h the cotangent of the result:

    of C(x, w):  x gets I(h, w),  w gets W(h, x)
    of I(g, w):  g gets C(h, w),  w gets W(g, h)
    of W(g, x):  g gets C(x, h),  x gets I(g, h)

Nothing is conjugated here: for complex arrays the caller conjugates, as its rule asks.
The transposed convolution of x by w is I(x, w) with the output's shape.

All take stride, dilation (an int, or one per axis) and padding (an int, or one per axis, each an
int or a (before, after) pair). Arrays share a dtype: float32, float64, complex, integers (which
wrap), or float16 and bfloat16, which are accumulated in float32 and rounded once.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from flambeau.backends.numpy.windows import (
    Pairs,
    pad_last,
    pad_pairs,
    per_axis,
    slices,
    widen,
    window_count,
    window_view,
)

Ints = int | Sequence[int]
Padding = int | Sequence[int] | Pairs

# Columns of one block: small enough to stay in cache, wide enough to keep the GEMM busy.
BLOCK_BYTES = 1 << 20
BLOCK_COLUMNS = 256
DEPTHWISE_BYTES = 1 << 18


class Geometry(NamedTuple):
    """The sizes of one convolution."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: Pairs
    groups: int
    out: tuple[int, ...]


class Layout(NamedTuple):
    """How the windows of an array of one shape are laid out, and how many to take at a time."""

    padded: tuple[int, ...]
    inner: tuple[slice, ...] | None  # where the input lies within the padding; None: no padding
    crop: tuple[slice, ...] | None  # what a negative padding leaves of the input; None: all
    windows: tuple[int, ...]  # (C, *K, N, *out), a view of the padded array
    steps: tuple[int, ...]  # its strides, in elements
    images: int
    rows: int


@lru_cache(maxsize=512)
def _layout(shape: tuple[int, ...], itemsize: int, geo: Geometry) -> Layout:
    n = len(geo.out)
    grown, inner, crop = [], [slice(None)] * 2, [slice(None)] * 2
    for size, (before, after) in zip(shape[2:], geo.pads, strict=True):
        first, last = max(-before, 0), size - max(-after, 0)
        crop.append(slice(first, last))
        inner.append(slice(max(before, 0), max(before, 0) + last - first))
        grown.append(size + before + after)
    padded = (*shape[:2], *grown)
    strides = [prod(padded[i + 1 :]) for i in range(n + 2)]
    hops = [step * d for step, d in zip(strides[2:], geo.dilation, strict=True)]
    jumps = [step * s for step, s in zip(strides[2:], geo.stride, strict=True)]
    whole = all(pair == (0, 0) for pair in geo.pads)
    cut = any(before < 0 or after < 0 for before, after in geo.pads)
    images, rows = _block(geo, shape[0], shape[1] * prod(geo.kernel), itemsize)
    return Layout(
        padded,
        None if whole else tuple(inner),
        tuple(crop) if cut else None,
        (shape[1], *geo.kernel, shape[0], *geo.out),
        (strides[1], *hops, strides[0], *jumps),
        images,
        rows,
    )


def _block(geo: Geometry, batch: int, depth: int, itemsize: int) -> tuple[int, int]:
    """(images, rows of the first output axis) to take at a time."""
    columns = max(BLOCK_COLUMNS, BLOCK_BYTES // max(depth * itemsize, 1))
    per_image = prod(geo.out)
    if columns >= per_image:
        return max(min(columns // max(per_image, 1), batch), 1), max(geo.out[0], 1)
    return 1, max(columns // prod(geo.out[1:]), 1)


def _padded(x: np.ndarray, layout: Layout) -> np.ndarray:
    """x with its padding, row-major."""
    if layout.inner is None:
        return x if x.flags.c_contiguous else np.ascontiguousarray(x)
    out = np.zeros(layout.padded, x.dtype)
    out[layout.inner] = x if layout.crop is None else x[layout.crop]
    return out


def _windows(padded: np.ndarray, layout: Layout) -> np.ndarray:
    """All windows of a padded array as a view (C, *K, N, *out)."""
    strides = [step * padded.itemsize for step in layout.steps]
    return np.ndarray(layout.windows, padded.dtype, padded, 0, strides)


def geometry_of(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Ints,
    padding: Padding,
    dilation: Ints,
    groups: int,
) -> Geometry:
    try:
        return _plan(size, kernel, stride, padding, dilation, groups)
    except TypeError:  # lists cannot be remembered
        return _plan.__wrapped__(size, kernel, stride, padding, dilation, groups)


@lru_cache(maxsize=512)
def _plan(
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Ints,
    padding: Padding,
    dilation: Ints,
    groups: int,
) -> Geometry:
    n = len(size)
    stride, dilation = per_axis(stride, n), per_axis(dilation, n)
    pads: Pairs = tuple((before, after) for before, after in pad_pairs(padding, n))
    axes = zip(size, pads, kernel, stride, dilation, strict=True)
    out = tuple(window_count(*axis) for axis in axes)
    return Geometry(tuple(kernel), stride, dilation, pads, groups, out)


def conv_nd(
    x: np.ndarray,
    w: np.ndarray,
    stride: Ints = 1,
    padding: Padding = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> np.ndarray:
    """Cross-correlate x (N, C, *S) with w (O, C / groups, *K): (N, O, *out).

    >>> conv_nd(np.arange(5.0).reshape(1, 1, 5), np.ones((1, 1, 2)))
    array([[[1., 3., 5., 7.]]])
    """
    geo = geometry_of(x.shape[2:], w.shape[2:], stride, padding, dilation, groups)
    dtype = x.dtype
    x, w = widen(x), widen(w)
    shape = (x.shape[0], w.shape[0], *geo.out)
    if 0 in shape or x.size == 0 or w.size == 0:
        return np.zeros(shape, dtype)
    if prod(geo.kernel) == 1:
        out = _pointwise(x, w, geo)
    elif w.shape[1] == 1 and groups > 1:
        out = _depthwise(x, w, geo)
    else:
        out = _general(x, w, geo)
    return out.reshape(shape).astype(dtype, copy=False)


def _pointwise(x: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray:
    x = pad_last(x, geo.pads)
    x = x[(slice(None), slice(None), *(slice(None, None, s) for s in geo.stride))]
    batch, groups = x.shape[0], geo.groups
    return np.matmul(
        w.reshape(groups, -1, w.shape[1]),
        x.reshape(batch, groups, w.shape[1], prod(geo.out)),
    )


def _general(x: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray:
    weights = w.reshape(geo.groups, w.shape[0] // geo.groups, -1)
    out = np.empty((x.shape[0], w.shape[0], *geo.out), x.dtype)
    for images, rows, columns in _columns(x, geo):
        if x.shape[0] == 1 and columns.shape[2] == prod(geo.out):
            return np.matmul(weights, columns)
        part = out[images, :, rows]
        part[...] = _split(np.matmul(weights, columns), part.shape)
    return out


def _depthwise(x: np.ndarray, w: np.ndarray, geo: Geometry) -> np.ndarray:
    """One input channel per group: a sum of shifted, scaled copies."""
    batch, groups = x.shape[0], geo.groups
    many = w.shape[0] // groups
    out = np.empty((batch, groups, many, *geo.out), x.dtype)
    taps = w.reshape(groups, many, *geo.kernel)
    image_bytes = groups * many * prod(geo.out) * x.itemsize
    shifted = _flat_shifts if set(geo.stride) == {1} else _window_shifts
    for images in slices(batch, max(DEPTHWISE_BYTES // image_bytes, 1)):
        views, whole = shifted(pad_last(x[images], geo.pads), geo)
        total = term = None
        for offset, view in zip(np.ndindex(*geo.kernel), views, strict=True):
            factor = taps[(..., *offset)]
            factor = factor.reshape(factor.shape + (1,) * (view.ndim - 2))
            if total is None:
                total = view[:, :, None] * factor
                term = np.empty_like(total)
            else:
                total += np.multiply(view[:, :, None], factor, out=term)
        out[images] = whole(total)
    return out


def _window_shifts(x: np.ndarray, geo: Geometry) -> tuple[list, Callable]:
    """The input each kernel offset sees, in np.ndindex order, and the identity."""
    windows = window_view(x, *geo[:3])
    return [windows[(..., *offset)] for offset in np.ndindex(*geo.kernel)], lambda total: total


def _flat_shifts(x: np.ndarray, geo: Geometry) -> tuple[list, Callable]:
    """The same for stride 1, on flattened axes: long contiguous runs.

    Cells that straddle two rows are computed and dropped; the second result drops them.
    """
    flat = np.ascontiguousarray(x).reshape(*x.shape[:2], -1)
    steps = [prod(x.shape[i + 1 :]) for i in range(2, x.ndim)]
    length = sum((count - 1) * step for count, step in zip(geo.out, steps, strict=True)) + 1
    hops = [d * step for d, step in zip(geo.dilation, steps, strict=True)]
    views = []
    for offset in np.ndindex(*geo.kernel):
        start = sum(i * hop for i, hop in zip(offset, hops, strict=True))
        views.append(flat[..., start : start + length])

    def whole(total: np.ndarray) -> np.ndarray:
        strides = (*total.strides[:3], *(step * total.itemsize for step in steps))
        return as_strided(total, (*total.shape[:3], *geo.out), strides)

    return views, whole


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
    if geo.out != g.shape[2:]:
        geo = geo._replace(out=g.shape[2:])  # as many windows as g has: more may fit
    dtype = g.dtype
    g, w = widen(g), widen(w)
    out = np.zeros(input_shape, g.dtype)
    if g.size == 0 or w.size == 0 or out.size == 0:
        return out.astype(dtype, copy=False)
    # One pass of im2col over g beats a scatter per kernel cell, unless g is the larger array.
    if set(geo.stride) == {1} and w.shape[0] // groups <= w.shape[1]:
        return _flipped(g, w, geo, input_shape[2:]).astype(dtype, copy=False)
    batch = input_shape[0]
    weights = w.reshape(groups, w.shape[0] // groups, -1).swapaxes(1, 2)
    layout = _layout(tuple(input_shape), g.itemsize, geo)
    for images in slices(batch, layout.images):
        count = images.stop - images.start
        part = _layout((count, *input_shape[1:]), g.itemsize, geo)
        padded = np.zeros(part.padded, g.dtype)
        windows = _windows(padded, part)
        for rows in slices(geo.out[0], layout.rows):
            columns = np.matmul(weights, _join(g[images, :, rows], groups))
            cells = windows[_rows_of(rows, len(geo.out))]
            _add_columns(cells, columns.reshape(cells.shape), geo.kernel)
        _copy_inner(out[images], padded, part)
    return out.astype(dtype, copy=False)


def _rows_of(rows: slice, n: int) -> tuple:
    """The index of some output rows in (C, *K, N, *out)."""
    return (*(slice(None),) * (n + 2), rows)


def _add_columns(cells: np.ndarray, columns: np.ndarray, kernel: Sequence[int]) -> None:
    """Add columns into a view of windows; the cells of one kernel offset never overlap."""
    for offset in np.ndindex(*kernel):
        part = cells[(slice(None), *offset)]
        np.add(part, columns[(slice(None), *offset)], out=part)


def _copy_inner(out: np.ndarray, padded: np.ndarray, layout: Layout) -> None:
    """Take the padding off."""
    source = padded if layout.inner is None else padded[layout.inner]
    target = out if layout.crop is None else out[layout.crop]
    target[...] = source


def _flipped(g: np.ndarray, w: np.ndarray, geo: Geometry, size: Sequence[int]) -> np.ndarray:
    """The input gradient at stride 1: a convolution by the flipped, transposed kernel."""
    outs, width = w.shape[:2]
    split = w.reshape(geo.groups, outs // geo.groups, *w.shape[1:])
    turned = np.flip(split, tuple(range(3, split.ndim)))
    turned = turned.swapaxes(1, 2).reshape(geo.groups * width, -1, *geo.kernel)
    spans = [d * (k - 1) for d, k in zip(geo.dilation, geo.kernel, strict=True)]
    before = [span - p[0] for span, p in zip(spans, geo.pads, strict=True)]
    axes = zip(before, size, spans, geo.out, strict=True)
    pads = tuple((first, n + span - count - first) for first, n, span, count in axes)
    return conv_nd(g, turned, 1, pads, geo.dilation, geo.groups)


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
    if geo.out != g.shape[2:]:
        geo = geo._replace(out=g.shape[2:])
    dtype = g.dtype
    g, x = widen(g), widen(x)
    depth = prod(weight_shape[1:])
    out = np.zeros((groups, weight_shape[0] // groups, depth), g.dtype)
    if g.size and x.size and out.size:
        for images, rows, columns in _columns(x, geo):
            out += np.matmul(_join(g[images, :, rows], groups), columns.swapaxes(1, 2))
    return out.reshape(weight_shape).astype(dtype, copy=False)


def conv_transpose_nd(
    x: np.ndarray,
    w: np.ndarray,
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> np.ndarray:
    """The transposed convolution of x (N, C, *S) by w (C, O / groups, *K): (N, O, *out).

    >>> conv_transpose_nd(np.ones((1, 1, 2)), np.ones((1, 1, 2)), stride=2)
    array([[[1., 1., 1., 1.]]])
    """
    shape = conv_transpose_shape(
        x.shape, w.shape, stride, padding, output_padding, groups, dilation
    )
    return conv_nd_input_grad(x, w, shape, stride, padding, dilation, groups)


def conv_transpose_shape(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    stride: Ints = 1,
    padding: Padding = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> tuple[int, ...]:
    """The shape of conv_transpose_nd's result."""
    n = len(x_shape) - 2
    stride, dilation, extra = (per_axis(v, n) for v in (stride, dilation, output_padding))
    pads = pad_pairs(padding, n)
    axes = zip(x_shape[2:], w_shape[2:], stride, dilation, extra, pads, strict=True)
    sizes = ((i - 1) * s - p[0] - p[1] + d * (k - 1) + e + 1 for i, k, s, d, e, p in axes)
    return (x_shape[0], w_shape[1] * groups, *sizes)


def _columns(x: np.ndarray, geo: Geometry) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Blocks of windows as matrices: (images, rows, (groups, C / groups * K, cells))."""
    batch = x.shape[0]
    layout = _layout(x.shape, x.itemsize, geo)
    depth = x.shape[1] * prod(geo.kernel) // geo.groups
    if layout.images >= batch and layout.rows >= geo.out[0]:
        windows = _windows(_padded(x, layout), layout)
        yield slice(0, batch), slice(0, geo.out[0]), windows.reshape(geo.groups, depth, -1)
        return
    for images in slices(batch, layout.images):
        part = _layout((images.stop - images.start, *x.shape[1:]), x.itemsize, geo)
        windows = _windows(_padded(x[images], part), part)
        for rows in slices(geo.out[0], layout.rows):
            block = windows[_rows_of(rows, len(geo.out))]
            yield images, rows, block.reshape(geo.groups, depth, -1)


def _join(part: np.ndarray, groups: int) -> np.ndarray:
    """(N, C, *out) as (groups, C / groups, N * out)."""
    batch, channels = part.shape[:2]
    split = part.reshape(batch, groups, channels // groups, -1)
    return split.transpose(1, 2, 0, 3).reshape(groups, channels // groups, -1)


def _split(matrix: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The inverse of _join: (groups, C / groups, N * out) as a view of shape (N, C, *out)."""
    return matrix.reshape(shape[1], shape[0], *shape[2:]).swapaxes(0, 1)
