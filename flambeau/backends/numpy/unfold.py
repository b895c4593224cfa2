"""Sliding blocks as columns (im2col) and the sum of columns back into place (col2im)."""

from collections.abc import Sequence
from math import prod

import numpy as np

from flambeau.backends.numpy.windows import (
    pad_last,
    pad_pairs,
    per_axis,
    widen,
    window_count,
    window_view,
)

Ints = int | Sequence[int]


def unfold(
    x: np.ndarray, kernel: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1
) -> np.ndarray:
    """Blocks of x (N, C, *S) as columns: (N, C * prod(kernel), number of blocks).

    Linear in x; `fold` is the transpose. The kernel fixes the number of spatial axes: an int
    stands for x.ndim - 2 equal sizes. Any dtype.

    >>> unfold(np.arange(9.0).reshape(1, 1, 3, 3), 2)[0, :, 0]
    array([0., 1., 3., 4.])
    """
    n = x.ndim - 2
    kernel, stride, dilation = (per_axis(v, n) for v in (kernel, stride, dilation))
    padded = pad_last(x, pad_pairs(padding, n))
    windows = window_view(padded, kernel, stride, dilation)  # (N, C, *O, *K)
    order = (0, 1, *range(2 + n, 2 + 2 * n), *range(2, 2 + n))
    blocks = prod(windows.shape[2 : 2 + n])
    columns = np.ascontiguousarray(windows.transpose(order))
    return columns.reshape(x.shape[0], x.shape[1] * prod(kernel), blocks)


def fold(
    columns: np.ndarray,
    output_size: Sequence[int],
    kernel: Ints,
    dilation: Ints = 1,
    padding: Ints = 0,
    stride: Ints = 1,
) -> np.ndarray:
    """Columns (N, C * prod(kernel), blocks) added up into (N, C, *output_size).

    The transpose of `unfold`. The half types are summed in float32 and rounded once.

    >>> fold(np.ones((1, 4, 4)), (3, 3), 2)[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]])
    """
    n = len(output_size)
    kernel, stride, dilation = (per_axis(v, n) for v in (kernel, stride, dilation))
    pads = pad_pairs(padding, n)
    axes = zip(output_size, pads, kernel, stride, dilation, strict=True)
    counts = [window_count(*axis) for axis in axes]
    batch, channels = columns.shape[0], columns.shape[1] // prod(kernel)
    wide = widen(columns).reshape(batch, channels, *kernel, *counts)
    padded_size = [size + p[0] + p[1] for size, p in zip(output_size, pads, strict=True)]
    padded = np.zeros((batch, channels, *padded_size), wide.dtype)
    windows = window_view(padded, kernel, stride, dilation)
    for offset in np.ndindex(*kernel):
        windows[(..., *offset)] += wide[(slice(None), slice(None), *offset)]
    out = pad_last(padded, [(-before, -after) for before, after in pads])
    return np.ascontiguousarray(out.astype(columns.dtype, copy=False))
